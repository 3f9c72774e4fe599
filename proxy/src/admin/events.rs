//! `/v1/events`: what happens, as server-sent events (WHATWG HTML, 9.2).

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::sse::{Event as Sent, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use serde_json::Value;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    task::spawn_blocking,
};
use weir_api::events::Event;

use super::{AdminState, guard::Place};

/// How often something is written when nothing happens, so that both ends notice a lost connection.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often the states of servers are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Who reads a stream.
struct Reader {
    first: Option<Event>,
    receiver: Receiver<Event>,
    closing: watch::Receiver<bool>,
    /// Held as long as the stream lasts.
    _place: Place,
}

/// Marks an answer that is a stream of events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streaming;

pub(super) async fn read(
    State(state): State<AdminState>,
    Extension(place): Extension<Place>,
) -> (
    Extension<Streaming>,
    Sse<impl Stream<Item = Result<Sent, Infallible>>>,
) {
    // Subscribed first: nothing that happens after the revision named is missed.
    let receiver = state.store.subscribe();
    let reader = Reader {
        first: Some(Event::Hello {
            revision: state.store.revision(),
        }),
        receiver,
        closing: state.closing.subscribe(),
        _place: place,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        let sent = Sent::default().event(event.name());
        // Events have nothing that JSON has not.
        let sent = sent.json_data(&event).unwrap_or_default();
        Some((Ok(sent), reader))
    });
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    (Extension(Streaming), events)
}

impl Reader {
    /// The next event; none when the proxy stops.
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        tokio::select! {
            biased;
            received = self.receiver.recv() => match received {
                Ok(event) => Some(event),
                Err(RecvError::Lagged(count)) => Some(Event::Missed { count }),
                Err(RecvError::Closed) => None,
            },
            _ = self.closing.wait_for(|closing| *closing) => None,
        }
    }
}

/// Upstream, server and address, and the state.
type States = BTreeMap<(String, String, String), Seen>;

/// The state of a server, and what its last health check said.
#[derive(Debug, Clone)]
struct Seen {
    state: String,
    check: Option<String>,
}

/// Tells when servers change their states. Runs until it is dropped. It also looks when nobody reads, so
/// that a reader sees a change that comes right after its subscription.
pub(super) async fn watch_servers(state: AdminState) {
    let mut last: Option<States> = None;
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let look = Arc::clone(&state.upstreams);
        // With many servers, or a lock that is held, it may take a while.
        let Ok(now) = spawn_blocking(move || states(&look())).await else {
            continue;
        };
        if let Some(last) = &last {
            for event in changes(last, &now, &state.store.timestamp()) {
                state.store.tell(event);
            }
        }
        last = Some(now);
    }
}

/// The states in the report of `/v1/upstreams`.
fn states(report: &Value) -> States {
    let list = |value: &Value, name: &str| -> Vec<Value> {
        let list = value.get(name).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let text = |value: &Value, name: &str| -> String {
        let text = value.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let mut states = States::new();
    for upstream in list(report, "upstreams") {
        for server in list(&upstream, "servers") {
            let key = (
                text(&upstream, "name"),
                text(&server, "name"),
                text(&server, "address"),
            );
            let check = server.pointer("/check/last/why").and_then(Value::as_str);
            let seen = Seen {
                state: text(&server, "state"),
                check: check.map(str::to_owned),
            };
            states.insert(key, seen);
        }
    }
    states
}

fn changes(old: &States, new: &States, at: &str) -> Vec<Event> {
    let keys = old
        .keys()
        .chain(new.keys().filter(|k| !old.contains_key(*k)));
    let state = |states: &States, key| states.get(key).map(|seen| seen.state.clone());
    let unhealthy = |state: &Option<String>| state.as_deref() == Some("unhealthy");
    keys.map(|key| (key, state(old, key), state(new, key)))
        .filter(|(_, before, now)| before != now)
        .map(|(key, before, now)| {
            let by_checks = unhealthy(&before) || unhealthy(&now);
            let said = new.get(key).and_then(|seen| seen.check.clone());
            Event::Server {
                at: at.to_owned(),
                upstream: key.0.clone(),
                server: key.1.clone(),
                address: key.2.clone(),
                old: before,
                new: now,
                why: said.filter(|_| by_checks),
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tokio::sync::Semaphore;
    use weir_api::settings::Settings;

    use super::*;
    use crate::settings::{Author, Conditions, Store};

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_and_is_told() {
        let store = Store::new(&Settings::default(), Arc::default()).unwrap();
        let closing = watch::Sender::new(false);
        let mut reader = Reader {
            first: None,
            receiver: store.subscribe(),
            closing: closing.subscribe(),
            _place: Place::take(&Arc::new(Semaphore::new(1))).unwrap(),
        };
        for n in 0..300 {
            let patch = json!({"connections": {"max": 100 + n}});
            let author = Author::new("test", "");
            store.patch(&patch, author, Conditions::default()).unwrap();
        }
        assert_eq!(reader.next().await, Some(Event::Missed { count: 44 }));
        let mut last = 0;
        for _ in 0..256 {
            if let Some(Event::Settings { revision, .. }) = reader.next().await {
                last = revision;
            }
        }
        assert_eq!(last, 301);
        closing.send_replace(true);
        assert_eq!(reader.next().await, None);
    }

    #[test]
    fn servers_that_change_come_and_go_are_told() {
        let report =
            |servers: Value| states(&json!({"upstreams": [{"name": "api", "servers": servers}]}));
        let server = |n: u32, state: &str| {
            let address = format!("127.0.0.1:{n}");
            json!({"name": address, "address": address, "state": state})
        };
        let old = report(json!([server(1, "up"), server(2, "up"), server(3, "up")]));
        let new = report(json!([
            server(1, "failed"),
            server(2, "up"),
            server(4, "up")
        ]));
        let told: Vec<_> = changes(&old, &new, "now")
            .into_iter()
            .map(|event| match event {
                Event::Server {
                    server, old, new, ..
                } => (server, old, new),
                other => (other.name().to_owned(), None, None),
            })
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("127.0.0.1:1".to_owned(), some("up"), some("failed")),
                ("127.0.0.1:3".to_owned(), some("up"), None),
                ("127.0.0.1:4".to_owned(), None, some("up")),
            ]
        );
        assert!(changes(&new, &new, "now").is_empty());
    }

    #[test]
    fn what_a_check_said_is_told_where_checks_made_the_change() {
        let report = |state: &str, why: &str| {
            let check = json!({"state": "up", "last": {"why": why}});
            let server = json!({"name": "a:1", "address": "a:1", "state": state, "check": check});
            states(&json!({"upstreams": [{"name": "api", "servers": [server]}]}))
        };
        let why = |old: &States, new: &States| match changes(old, new, "now").as_slice() {
            [Event::Server { why, .. }] => why.clone(),
            other => Some(format!("{other:?}")),
        };
        let up = report("up", "answered 200");
        let out = report("unhealthy", "answered 500");
        assert_eq!(why(&up, &out).as_deref(), Some("answered 500"));
        assert_eq!(why(&out, &up).as_deref(), Some("answered 200"));
        assert_eq!(why(&up, &report("failed", "answered 200")), None);
        let later = report("up", "answered 204");
        assert!(changes(&up, &later, "now").is_empty(), "the same state");
    }
}
