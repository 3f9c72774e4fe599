//! `weir ctl`: reads and changes a running proxy, or several, through the admin API.

mod args;
mod input;
mod nodes;
mod show;
mod top;
mod watch;

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use weir_api::{
    admin::OverrideRequest,
    client::{AdminClient, Terms},
};

pub(crate) use args::CtlArgs;

use args::{Command, DrainArgs, How, OverrideAction, OverrideArgs, ServerCommand, WithHow};
use nodes::{Fault, Nodes};

use crate::output::{Printed, complain, print_line};

/// Does what the command line says; the exit code tells how it went.
pub(crate) fn run(args: CtlArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(execute(args)),
        Err(error) => Err(Fault::failed(format!("cannot start: {error}"))),
    };
    match done {
        Ok(code) => code,
        Err(fault) => {
            complain(&format!("weir ctl: {}", fault.message));
            ExitCode::from(fault.code)
        }
    }
}

async fn execute(args: CtlArgs) -> Result<ExitCode, Fault> {
    let nodes = Nodes::new(&args)?;
    match args.command {
        Command::Get { path } => get(&nodes, path.as_deref()).await,
        Command::Set { assignments, how } => {
            patch(&nodes, &input::merged(&assignments)?, &how.terms()).await
        }
        Command::Diff { file } => {
            let terms = Terms {
                dry_run: true,
                ..Terms::default()
            };
            patch(&nodes, &input::file(&file)?, &terms).await
        }
        Command::Apply { file, how } => patch(&nodes, &input::file(&file)?, &how.terms()).await,
        Command::Override(args) => temporary(&nodes, args).await,
        Command::Revisions { limit } => {
            let read = async |node: &AdminClient| {
                let mut list = node.revisions().await?;
                list.revisions.truncate(limit);
                Ok(list)
            };
            nodes.read(read, show::revisions).await
        }
        Command::Rollback { revision, how } => {
            let back =
                async |node: &AdminClient, terms: &Terms| node.rollback(revision, terms).await;
            nodes.change(&how.terms(), back, show::change).await
        }
        Command::Save { how } => {
            let save = async |node: &AdminClient, terms: &Terms| node.save(terms).await;
            nodes.change(&how.terms(), save, show::saved).await
        }
        Command::Discard { how } => {
            let discard = async |node: &AdminClient, terms: &Terms| node.discard(terms).await;
            nodes.change(&how.terms(), discard, show::change).await
        }
        Command::Reload { how } => {
            let reload = async |node: &AdminClient, terms: &Terms| node.reload(terms).await;
            nodes.change(&how.terms(), reload, show::reloaded).await
        }
        Command::Drain(drain) => server(&nodes, ServerCommand::Drain(drain)).await,
        Command::Profile {
            seconds,
            frequency,
            output,
        } => profile(&nodes, seconds, frequency, &output).await,
        Command::Upstreams => {
            nodes
                .read(async |node| node.upstreams().await, show::upstreams)
                .await
        }
        Command::Limits => {
            nodes
                .read(async |node| node.limits().await, show::limits)
                .await
        }
        Command::Server { command } => server(&nodes, command).await,
        Command::Top { once } => top::top(&nodes, once).await,
        Command::Watch => watch::watch(&nodes).await,
    }
}

async fn get(nodes: &Nodes, path: Option<&str>) -> Result<ExitCode, Fault> {
    let Some(path) = path else {
        let read = async |node: &AdminClient| node.get_settings().await;
        return nodes.read(read, show::settings).await;
    };
    let names = input::names(path)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let read = async |node: &AdminClient| node.get_setting(&names).await;
    nodes
        .read(read, |value| show::setting(&names.join("."), value))
        .await
}

async fn patch(nodes: &Nodes, patch: &Value, terms: &Terms) -> Result<ExitCode, Fault> {
    let change =
        async |node: &AdminClient, terms: &Terms| node.patch_settings_on(patch, terms).await;
    nodes.change(terms, change, show::change).await
}

async fn temporary(nodes: &Nodes, args: OverrideArgs) -> Result<ExitCode, Fault> {
    match args.action {
        Some(OverrideAction::Ls) => {
            nodes
                .read(async |node| node.list_overrides().await, show::overrides)
                .await
        }
        Some(OverrideAction::Renew { id, ttl }) => {
            let renew = async |node: &AdminClient| node.renew_override(&id, ttl).await;
            nodes
                .read(renew, |view| show::overrides_of(std::slice::from_ref(view)))
                .await
        }
        Some(OverrideAction::Rm { id }) => {
            let terms = How::default().terms();
            let end = async |node: &AdminClient| node.delete_override_on(&id, &terms).await;
            nodes
                .read(end, |done| {
                    show::differences(done.revision, false, &done.diff)
                })
                .await
        }
        None => {
            let Some(ttl) = args.ttl else {
                return Err(Fault::usage("--ttl is missing: how long, such as 10m"));
            };
            let terms = args.how.terms();
            let request = OverrideRequest {
                settings: input::merged(&args.assignments)?,
                ttl,
                owner: args.owner.unwrap_or_else(|| terms.who.clone()),
                reason: terms.why.clone(),
            };
            let create = async |node: &AdminClient, terms: &Terms| {
                node.create_override_on(&request, terms).await
            };
            nodes.change(&terms, create, show::created).await
        }
    }
}

async fn server(nodes: &Nodes, command: ServerCommand) -> Result<ExitCode, Fault> {
    match command {
        ServerCommand::Add {
            upstream,
            address,
            fields,
            how,
        } => {
            let mut server = input::merged_or_none(&fields)?;
            server.insert("address".to_owned(), json!(address));
            let server = Value::Object(server);
            let add = async |node: &AdminClient, terms: &Terms| {
                node.add_server(&upstream, &server, terms).await
            };
            nodes.change(&how.terms(), add, show::change).await
        }
        ServerCommand::Rm {
            upstream,
            address,
            how,
        } => {
            let remove = async |node: &AdminClient, terms: &Terms| {
                node.remove_server(&upstream, &address, terms).await
            };
            nodes.change(&how.terms(), remove, show::change).await
        }
        ServerCommand::Set {
            upstream,
            address,
            fields,
            how,
        } => {
            let fields = input::merged(&fields)?;
            let set = async |node: &AdminClient, terms: &Terms| {
                node.patch_server(&upstream, &address, &fields, terms).await
            };
            nodes.change(&how.terms(), set, show::change).await
        }
        ServerCommand::Drain(DrainArgs {
            upstream,
            address,
            wait,
            how,
        }) => {
            let drain = async |node: &AdminClient, terms: &Terms| {
                node.drain_server(&upstream, &address, wait, terms).await
            };
            let mut remain = false;
            let told = |done: &weir_api::admin::DrainView| {
                remain |= !done.drained && !done.dry_run;
                show::drained(done)
            };
            let code = nodes.change(&how.terms(), drain, told).await?;
            Ok(if remain {
                ExitCode::from(crate::exit::EXIT_FAILED)
            } else {
                code
            })
        }
    }
}

/// Takes a flame graph of each node; with several nodes, a file for each.
async fn profile(
    nodes: &Nodes,
    seconds: u32,
    frequency: u32,
    output: &std::path::Path,
) -> Result<ExitCode, Fault> {
    let several = nodes.clients().len() > 1;
    let mut printed = Printed::Whole;
    for (n, (name, node)) in nodes.clients().iter().enumerate() {
        let svg = node.profile(seconds, frequency).await?;
        let path = if several {
            let stem = output.with_extension("");
            std::path::PathBuf::from(format!("{}-{}.svg", stem.display(), n + 1))
        } else {
            output.to_owned()
        };
        std::fs::write(&path, svg)
            .map_err(|error| Fault::failed(format!("cannot write {}: {error}", path.display())))?;
        printed = printed.max(print_line(&format!("{name}: {}", path.display())));
    }
    Ok(printed.code(0))
}

/// An object with one field on each level.
fn nested(names: &[String], value: Value) -> Value {
    names.iter().rev().fold(value, |inner, name| {
        Value::Object(Map::from_iter([(name.clone(), inner)]))
    })
}
