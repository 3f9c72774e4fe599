//! Replicas come, go, die, hang and fall silent while clients read and write.

use std::{collections::BTreeMap, time::Instant};

use serde_json::Value;

use super::{
    engine::{compose_with_engine, docker, run},
    limits::is_hardened,
    load::{Class, Kind, Load, Tally},
    stack::{Stack, configuration, count, is_serving, name, slow_down},
};

/// Longer than a test lasts: a replica that is this slow does not answer.
const FOR_EVER: &str = "10m";
/// How long the slowed replica works on a write; long enough to be met meanwhile.
const A_WHILE: &str = "3s";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_come_and_go_under_load_and_nobody_notices() {
    let Some(compose) = compose_with_engine() else {
        return;
    };
    let stack = Stack::up(compose, "compose.prod.yml", 1, &[]);
    is_hardened(&stack, Some("unless-stopped"));

    // The documented limit would end this load; it is lifted while the proxy runs, for a time.
    let weir = stack.id("weir");
    docker(&[
        "exec",
        &weir,
        "weir",
        "ctl",
        "override",
        "--ttl",
        "5m",
        "--owner",
        "e2e",
        "rate_limit.api_limit.enabled=false",
    ]);
    stack.sends_to(1);
    let load = Load::start(&stack.address()).await;

    stack.scale(2);
    stack.sends_to(2);
    load.reaches(2);
    let counted = load.so_far();
    assert!(counted.failures.is_empty(), "{counted:?}");

    // One replica dies under load, with a write in its hands. That one must not be made again; reads are.
    let (killed, survivor) = two(&stack);
    slow_down(&killed, FOR_EVER);
    is_serving(&killed, 1);
    let moment = Instant::now();
    docker(&["kill", &killed]);
    // Forgotten, so that it comes back as a new one: otherwise it would rest for `fail_timeout`.
    stack.finds(1);
    load.goes_on(50);
    let counted = load.stop().await;
    let sent_before = counted.failures.iter().filter(|f| f.sent < moment);
    let lost: Vec<_> = sent_before.map(|f| (f.kind, f.class)).collect();
    assert_eq!(lost, [(Kind::Write, Class::Status(502))], "{counted:?}");
    // None besides has been seen to fail. A write on a connection that was just dying may.
    assert!(counted.failures.len() <= 3, "{counted:?}");
    let survivor = (name(&survivor), count(&survivor, "requests"));
    assert_eq!(
        counted.written.get(&survivor.0),
        Some(&survivor.1),
        "{counted:?}"
    );

    // It comes back, and one of them goes in order.
    let load = Load::start(&stack.address()).await;
    docker(&["start", &killed]);
    stack.sends_to(2);
    load.reaches(2);
    stack.scale(1);
    stack.sends_to(1);
    load.goes_on(50);
    let counted = load.stop().await;
    // None has been seen to fail. A write that meets a connection which its server is closing may.
    assert!(counted.failures.len() <= 2, "{counted:?}");
    arrived_once(&stack, &BTreeMap::from([survivor]), &counted);

    // Told to stop, it drains and ends by itself, well before Compose would kill it.
    run(stack.compose().args(["stop", "weir"]));
    let state = docker(&["inspect", "--format", "{{.State.ExitCode}}", &weir]);
    assert_eq!(state.trim(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hangs_or_is_cut_off_loses_no_request() {
    let Some(compose) = compose_with_engine() else {
        return;
    };
    let config = configuration("");
    let variables = [("WEIR_CONFIG", config.path().to_str().unwrap())];
    // As many as the file says.
    let stack = Stack::up(compose, "compose.prod.yml", 2, &variables);
    stack.sends_to(2);
    let load = Load::start(&stack.address()).await;
    load.reaches(2);

    // Paused with a write in its hands: that one waits, the others go elsewhere.
    let (stopped, _) = two(&stack);
    slow_down(&stopped, A_WHILE);
    is_serving(&stopped, 1);
    docker(&["pause", &stopped]);
    load.goes_on(50);
    // Health checks notice.
    stack.sends_to(1);
    load.goes_on(100);
    docker(&["unpause", &stopped]);
    stack.sends_to(2);
    load.reaches(2);

    // Cut off with a write in its hands: nothing that it sends arrives, nor is anything refused.
    let network = network(&stopped);
    is_serving(&stopped, 1);
    docker(&["network", "disconnect", &network, &stopped]);
    stack.sends_to(1);
    load.goes_on(100);
    docker(&["network", "connect", "--alias", "api", &network, &stopped]);
    slow_down(&stopped, "0ms");
    stack.sends_to(2);
    load.reaches(2);

    let counted = load.stop().await;
    assert!(counted.failures.is_empty(), "{counted:?}");
    arrived_once(&stack, &BTreeMap::new(), &counted);
}

/// Every replica has received those writes since `before` that it answered, and no other.
#[track_caller]
fn arrived_once(stack: &Stack, before: &BTreeMap<String, u64>, counted: &Tally) {
    for (name, received) in stack.received() {
        let since = received - before.get(&name).copied().unwrap_or_default();
        let answered = counted.written.get(&name).copied().unwrap_or_default();
        assert_eq!(since, answered, "{name}: {counted:?}");
    }
}

/// The two replicas of a stack.
fn two(stack: &Stack) -> (String, String) {
    let ids = stack.ids("api");
    let [one, other] = &ids[..] else {
        panic!("two replicas: {ids:?}")
    };
    (one.clone(), other.clone())
}

/// The only network of a container.
fn network(id: &str) -> String {
    let inspected: Value = serde_json::from_str(&docker(&["inspect", id])).unwrap();
    let networks = inspected[0]["NetworkSettings"]["Networks"]
        .as_object()
        .unwrap();
    assert_eq!(networks.len(), 1);
    networks.keys().next().unwrap().clone()
}
