//! Rolling back, single servers, paths, events.

use proptest::prelude::*;
use tokio::sync::broadcast::error::TryRecvError;
use weir_api::{
    events::Event,
    settings::{Server, Upstream},
};

use super::*;
use crate::settings::paths;

fn lasting(store: &Store) -> Settings {
    store.lock().layers.effective_lasting().unwrap()
}

fn back(store: &Store, revision: u64) -> Result<Changed, StoreError> {
    store.rollback(revision, ops(), Conditions::default())
}

#[test]
fn rolling_back_makes_a_new_revision_of_old_settings() {
    let (store, _) = store();
    patch(&store, set_rate("50r/s"));
    patch(
        &store,
        json!({"timeouts": {"connect": "10s"}, "rate_limit": {"api_limit": {"nodelay": false, "delay": 3}}}),
    );
    let changed = back(&store, 2).unwrap();
    assert_eq!(changed.revision, 4);
    assert_eq!(changed.diff.len(), 3, "{:?}", changed.diff);
    assert_eq!(rate(&store), "50r/s");
    assert_eq!(
        store.view().sources.len(),
        1,
        "only what differs from the file is patched"
    );
    assert!(store.revisions(1)[0].why.contains("back to revision 2"));
    back(&store, 3).unwrap();
    assert_eq!(value(&store, "/rate_limit/api_limit/delay"), 3);
    back(&store, 1).unwrap();
    assert_eq!(lasting(&store), file());
    assert!(store.view().sources.is_empty());
}

#[test]
fn overrides_stay_on_top_of_a_rollback() {
    let (store, clock) = store();
    patch(&store, set_rate("50r/s"));
    raise(&store, set_rate("100r/s"), 60);
    let changed = back(&store, 1).unwrap();
    assert!(
        changed.diff.is_empty(),
        "the override still holds the field"
    );
    assert_eq!(rate(&store), "100r/s");
    clock.pass(60);
    assert_eq!(store.expire_due(), 1);
    assert_eq!(rate(&store), "10r/s");
    // A revision under an override is rolled back to without it.
    back(&store, 3).unwrap();
    assert_eq!(rate(&store), "50r/s");
}

#[test]
fn a_rollback_that_cannot_be_changes_nothing() {
    let (store, _) = store();
    assert!(matches!(back(&store, 9), Err(StoreError::NoRevision(9))));
    let stale = Conditions {
        expected: Some(7),
        dry_run: false,
    };
    assert!(matches!(
        store.rollback(1, ops(), stale),
        Err(StoreError::Stale { .. })
    ));
    let mut other = file();
    other.rate_limit.clear();
    store.reload(&other, &[], ops(), false).unwrap();
    let error = back(&store, 1).unwrap_err().to_string();
    assert!(
        error.contains("rate_limit.api_limit") && error.contains("file"),
        "{error}"
    );
    assert_eq!(store.revision(), 2);
}

#[test]
fn what_the_file_has_got_since_stays_when_rolling_back() {
    let (store, _) = store();
    let mut more = file();
    more.upstream.insert(
        "new".to_owned(),
        Upstream::new(vec![Server::new("127.0.0.1:9")]),
    );
    more.timeouts.connect = Duration::from_secs(3);
    store.reload(&more, &[], ops(), false).unwrap();
    back(&store, 1).unwrap();
    let now = lasting(&store);
    assert!(now.upstream.contains_key("new"));
    assert_eq!(now.timeouts.connect, file().timeouts.connect);
}

fn servers(store: &Store, change: ServerChange) -> Result<Changed, StoreError> {
    store.change_servers("api", &change, ops(), Conditions::default())
}

fn listed(settings: &Settings) -> Vec<(String, u32, bool)> {
    let servers = &settings.upstream["api"].servers;
    servers
        .iter()
        .map(|s| (s.address.clone(), s.weight, s.down))
        .collect()
}

fn set(address: &str, fields: Value) -> ServerChange {
    ServerChange::Set(address.to_owned(), fields)
}

#[test]
fn servers_come_change_and_go() {
    let (store, _) = store();
    let (first, second) = ("127.0.0.1:8000", "127.0.0.1:8001");
    servers(
        &store,
        ServerChange::Add(json!({"address": second, "weight": 2})),
    )
    .unwrap();
    servers(&store, set(first, json!({"down": true}))).unwrap();
    assert_eq!(
        listed(&store.current().settings),
        [(first.to_owned(), 1, true), (second.to_owned(), 2, false)]
    );
    servers(&store, set(first, json!({"down": null}))).unwrap();
    servers(&store, ServerChange::Remove(second.to_owned())).unwrap();
    assert_eq!(lasting(&store), file());
    assert!(
        store.view().sources.is_empty(),
        "it is as the file has it again"
    );
    back(&store, 3).unwrap();
    assert_eq!(listed(&store.current().settings).len(), 2);
}

#[test]
fn changes_to_servers_that_cannot_be_say_why() {
    let (store, _) = store();
    let here = "127.0.0.1:8000";
    for (change, says) in [
        (ServerChange::Add(json!({"address": here})), "there already"),
        (
            ServerChange::Add(json!({"weight": 1})),
            "servers[1].address",
        ),
        (ServerChange::Add(json!("x")), "not an object"),
        (
            ServerChange::Add(json!({"address": "nowhere"})),
            "servers[1].address",
        ),
        (
            ServerChange::Remove(here.to_owned()),
            "an upstream needs servers",
        ),
        (
            ServerChange::Remove("127.0.0.1:1".to_owned()),
            "has no server",
        ),
        (set(here, json!({"weight": 0})), "servers[0].weight"),
        (set(here, json!({"wieght": 2})), "wieght"),
        (
            set(here, json!({"address": "127.0.0.1:2"})),
            "add another one",
        ),
        (
            set(here, json!({"backup": true})),
            "every server is a backup",
        ),
        (set(here, json!([])), "not an object"),
    ] {
        let error = servers(&store, change.clone()).unwrap_err().to_string();
        assert!(error.contains(says), "{change:?}: {error}");
    }
    let missing = store.change_servers(
        "web",
        &ServerChange::Remove(here.to_owned()),
        ops(),
        Conditions::default(),
    );
    assert!(matches!(missing, Err(StoreError::NoUpstream(_))));
    assert_eq!((store.revision(), lasting(&store)), (1, file()));
}

#[test]
fn a_server_that_is_taken_down_stays_down_when_an_override_of_the_list_ends() {
    let (store, clock) = store();
    let (first, second) = ("127.0.0.1:8000", "127.0.0.1:8001");
    servers(&store, ServerChange::Add(json!({"address": second}))).unwrap();
    let weights = json!([{"address": first, "weight": 9}, {"address": second, "weight": 9}, {"address": "127.0.0.1:7"}]);
    raise(
        &store,
        json!({"upstream": {"api": {"servers": weights}}}),
        60,
    );
    servers(&store, set(first, json!({"down": true}))).unwrap();
    // At once, and what else the override says still holds.
    assert_eq!(
        listed(&store.current().settings)[..2],
        [(first.to_owned(), 9, true), (second.to_owned(), 9, false)]
    );
    // A server that only the override has.
    servers(&store, ServerChange::Remove("127.0.0.1:7".to_owned())).unwrap();
    clock.pass(60);
    store.expire_due();
    assert_eq!(
        listed(&store.current().settings),
        [(first.to_owned(), 1, true), (second.to_owned(), 1, false)]
    );
}

#[test]
fn paths_lead_to_settings() {
    let settings = file().to_json();
    let look = |path: &str| paths::lookup(&settings, &path.split('/').collect::<Vec<_>>()).cloned();
    assert_eq!(look("rate_limit/api_limit/burst").unwrap(), 20);
    assert_eq!(
        look("upstream/api/servers/0/address").unwrap(),
        "127.0.0.1:8000"
    );
    assert_eq!(
        look("rate_limit/api_limit/delay").unwrap(),
        Value::Null,
        "it exists and has no value"
    );
    for (path, says) in [
        ("timeouts/conect", "connect, read"),
        ("upstream/api/servers/1", "0 to 0"),
        ("upstream/api/servers/x", "a number"),
        ("connections/max/x", "single value"),
        ("rate_limit/other", "api_limit"),
    ] {
        let error = look(path).unwrap_err().to_string();
        assert!(error.contains(says), "{path}: {error}");
    }
}

#[test]
fn a_table_that_is_put_replaces_the_old_one() {
    let (store, _) = store();
    let put = |path: &str, value: Value| {
        let settings = store.current().settings.to_json();
        let patch = paths::replacing(&settings, &path.split('/').collect::<Vec<_>>(), value)?;
        store.patch(&patch, ops(), Conditions::default())
    };
    put("rate_limit/api_limit/rate", json!("50r/s")).unwrap();
    put("rate_limit/api_limit/nodelay", json!(false)).unwrap();
    put("rate_limit/api_limit/delay", json!(4)).unwrap();
    put("timeouts", json!({"connect": "3s"})).unwrap();
    assert_eq!(value(&store, "/timeouts/connect"), "3s");
    assert_eq!(value(&store, "/timeouts/read"), "60s");
    put("rate_limit/api_limit", json!({"rate": "7r/s"})).unwrap();
    let limit = lasting(&store).rate_limit["api_limit"].clone();
    assert_eq!(limit, RateLimit::new(Rate::per_second(7).unwrap()));
    for (path, value, says) in [
        ("rate_limit/api_limit", json!({}), "no default"),
        (
            "upstream/api/servers/0/weight",
            json!(2),
            "a list is one value",
        ),
        ("timeouts/conect", json!("1s"), "connect"),
        ("timeouts", json!(5), "not a table"),
        ("upstream", json!({}), "no default"),
    ] {
        let error = put(path, value).unwrap_err().to_string();
        assert!(error.contains(says), "{path}: {error}");
    }
}

#[test]
fn events_tell_what_happened_in_order() {
    let (store, clock) = store();
    let mut events = store.subscribe();
    patch(&store, set_rate("50r/s"));
    let id = raise(&store, set_rate("100r/s"), 60);
    store.renew_override(&id, None).unwrap();
    clock.pass(60);
    store.expire_due();
    let id = raise(&store, set_rate("100r/s"), 60);
    store.delete_override(&id, "ana").unwrap();
    let _ = store.patch(&set_rate("0r/s"), ops(), Conditions::default());
    let dry = Conditions {
        expected: None,
        dry_run: true,
    };
    store.patch(&set_rate("9r/s"), ops(), dry).unwrap();
    let mut told = Vec::new();
    loop {
        match events.try_recv() {
            Ok(Event::Override { action, .. }) => told.push(format!("{action:?}")),
            Ok(Event::Settings { revision, diff, .. }) => {
                told.push(format!("{revision} {}", diff[0].new))
            }
            Ok(other) => panic!("{other:?}"),
            Err(TryRecvError::Empty) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(
        told,
        [
            "2 \"50r/s\"",
            "3 \"100r/s\"",
            "Created",
            "Renewed",
            "4 \"50r/s\"",
            "Ended",
            "5 \"100r/s\"",
            "Created",
            "6 \"50r/s\"",
            "Ended"
        ]
    );
}

#[derive(Debug, Clone)]
enum Step {
    Rate(u32),
    Delay(Option<u32>),
    Raise(u32, u64),
    Pass(u64),
    Server(u16, Option<bool>),
    Back(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..50u32).prop_map(Step::Rate),
        proptest::option::of(0..9u32).prop_map(Step::Delay),
        (50..99u32, 1..20u64).prop_map(|(rate, ttl)| Step::Raise(rate, ttl)),
        (1..10u64).prop_map(Step::Pass),
        (8000..8004u16, proptest::option::of(any::<bool>()))
            .prop_map(|(port, down)| Step::Server(port, down)),
        (1..20u64).prop_map(Step::Back),
    ]
}

proptest! {
    /// Whatever happened: back at a revision, the lasting settings are what they were then.
    #[test]
    fn every_revision_can_be_returned_to(steps in prop::collection::vec(step(), 1..30)) {
        let (store, clock) = store();
        let mut history = vec![lasting(&store)];
        for step in steps {
            match step {
                Step::Rate(rate) => {
                    patch(&store, set_rate(&format!("{rate}r/s")));
                }
                Step::Delay(delay) => {
                    patch(&store, json!({"rate_limit": {"api_limit": {"nodelay": delay.is_none(), "delay": delay}}}));
                }
                Step::Raise(rate, ttl) => {
                    raise(&store, set_rate(&format!("{rate}r/s")), ttl);
                }
                Step::Pass(seconds) => {
                    clock.pass(seconds);
                    store.expire_due();
                }
                Step::Server(port, down) => {
                    let address = format!("127.0.0.1:{port}");
                    let change = match down {
                        Some(down) => set(&address, json!({"down": down})),
                        None => ServerChange::Add(json!({"address": address})),
                    };
                    // There already, or not there: refused.
                    let _ = servers(&store, change);
                }
                Step::Back(revision) => {
                    if let Ok(changed) = back(&store, revision) {
                        let then = &history[usize::try_from(revision).unwrap() - 1];
                        prop_assert_eq!(&lasting(&store), then);
                        prop_assert_eq!(changed.revision, history.len() as u64 + 1);
                    } else {
                        prop_assert!(revision > history.len() as u64);
                    }
                }
            }
            prop_assert!(store.revision() <= history.len() as u64 + 1);
            if store.revision() > history.len() as u64 {
                history.push(lasting(&store));
            }
        }
    }
}
