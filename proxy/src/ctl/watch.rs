//! Events as they come.

use std::process::ExitCode;

use tokio::sync::mpsc;
use weir_api::{
    client::{AdminClient, ClientError},
    events::{Event, OverrideAction},
};

use super::{
    nodes::{Fault, Nodes},
    show::brief,
};
use crate::exit::EXIT_FAILED;
use crate::output::{Printed, complain, print_json, print_line};

/// Prints the events of every node until it is interrupted (exit code 0) or all of them are gone (1).
pub(super) async fn watch(nodes: &Nodes) -> Result<ExitCode, Fault> {
    let several = nodes.clients().len() > 1;
    let (sender, mut received) = mpsc::channel(16);
    for (name, client) in nodes.clients() {
        let (name, client, sender) = (name.clone(), client.clone(), sender.clone());
        tokio::spawn(async move {
            let ended = follow(&name, &client, &sender).await;
            let reason = match ended {
                Ok(()) => "the proxy has ended the stream".to_owned(),
                Err(error) => error.to_string(),
            };
            // The reader is gone only when this program ends.
            let _ = sender.send((name, Err(reason))).await;
        });
    }
    drop(sender);
    loop {
        tokio::select! {
            it = received.recv() => match it {
                Some((name, Ok(event))) => {
                    let printed = if nodes.json() {
                        print_json(&json_line(several, &name, &event))
                    } else {
                        let at = if several { format!("{name}  ") } else { String::new() };
                        print_line(&format!("{at}{}", line(&event)))
                    };
                    if printed != Printed::Whole {
                        return Ok(printed.code(0));
                    }
                }
                Some((name, Err(reason))) => complain(&format!("weir ctl: {name}: {reason}")),
                None => return Ok(ExitCode::from(EXIT_FAILED)),
            },
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

type Message = (String, Result<Event, String>);

async fn follow(
    name: &str,
    client: &AdminClient,
    sender: &mpsc::Sender<Message>,
) -> Result<(), ClientError> {
    let mut events = client.events().await?;
    while let Some(event) = events.next().await? {
        if sender.send((name.to_owned(), Ok(event))).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn json_line(several: bool, name: &str, event: &Event) -> String {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let Some(fields) = value.as_object_mut().filter(|_| several) {
        fields.insert("node".to_owned(), name.into());
    }
    format!("{value}\n")
}

/// An event in one line.
fn line(event: &Event) -> String {
    match event {
        Event::Hello { revision } => format!("connected, revision {revision}"),
        Event::Settings {
            revision,
            at,
            who,
            why,
            diff,
        } => {
            let changes: Vec<_> = diff.iter().map(brief).collect();
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(" ({why})")
            };
            let changes = if changes.is_empty() {
                "no other values".to_owned()
            } else {
                changes.join(", ")
            };
            format!("{at}  settings  revision {revision} by {who}{why}: {changes}")
        }
        Event::Override {
            at,
            action,
            id,
            owner,
            reason,
            expires_at,
            ..
        } => {
            let action = match action {
                OverrideAction::Created => "created",
                OverrideAction::Renewed => "renewed",
                OverrideAction::Ended => "ended",
            };
            let until = expires_at
                .as_ref()
                .map_or_else(String::new, |it| format!(" until {it}"));
            let reason = if reason.is_empty() {
                String::new()
            } else {
                format!(" ({reason})")
            };
            format!("{at}  override  {id} of {owner} {action}{until}{reason}")
        }
        Event::Saved {
            at,
            who,
            file,
            revision,
        } => {
            format!("{at}  saved     revision {revision} to {file} by {who}")
        }
        Event::Server {
            at,
            upstream,
            server,
            address,
            old,
            new,
            why,
        } => {
            let state = |it: &Option<String>| it.clone().unwrap_or_else(|| "-".to_owned());
            let resolved = if server == address {
                String::new()
            } else {
                format!(" ({address})")
            };
            let why = why
                .as_ref()
                .map_or_else(String::new, |it| format!(" ({it})"));
            format!(
                "{at}  server    {upstream} {server}{resolved} {} -> {}{why}",
                state(old),
                state(new)
            )
        }
        Event::Missed { count } => format!("{count} events were lost: this reader was too slow"),
    }
}
