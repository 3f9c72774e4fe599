//! The proxy itself is restarted while clients read and write.

use std::time::Instant;

use super::{
    engine::{compose_with_engine, docker},
    load::{Class, Failure, Load},
    stack::{Stack, configuration, is_serving, lasting_port, slow_down},
};

/// How long a write takes that is in flight when the proxy is told to stop: shorter than `timeouts.drain`.
const A_WHILE: &str = "5s";
/// As many of them.
const IN_FLIGHT: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_it_finishes_what_is_in_flight_and_refuses_until_it_is_back() {
    let Some(compose) = compose_with_engine() else {
        return;
    };
    // The first check decides alone, and this machine may be busy.
    let config = configuration("upstream.api.health_check.timeout = '30s'");
    let port = lasting_port();
    let variables = [
        ("WEIR_CONFIG", config.path().to_str().unwrap()),
        ("WEIR_PORT", &*port),
    ];
    let stack = Stack::up(compose, "compose.prod.yml", 1, &variables);
    let (api, weir) = (stack.id("api"), stack.id("weir"));
    let load = Load::start(&port).await;
    load.reaches(1);

    slow_down(&api, A_WHILE);
    let held = load.writes_at_once(IN_FLIGHT);
    // With that of the client that writes all the time.
    is_serving(&api, IN_FLIGHT as u64 + 1);
    let started = Instant::now();
    docker(&["restart", "-t", "35", &weir]);
    slow_down(&api, "0ms");
    for held in held {
        // Answered, and by a proxy that was about to stop.
        assert_eq!(held.await.unwrap(), Some(true));
    }
    stack.is_healthy(&weir);
    let back = Instant::now();
    load.goes_on(100);

    let counted = load.stop().await;
    // Whoever is connected while the container's network goes away hears nothing any more.
    let unheard = |failure: &&Failure| failure.class == Class::TimedOut;
    assert!(
        counted.failures.iter().filter(unheard).count() <= 2,
        "{counted:?}"
    );
    for failure in &counted.failures {
        // Clients on this machine are connected by the engine, which closes when the proxy does not accept.
        let refused = [Class::Refused, Class::Dropped, Class::TimedOut].contains(&failure.class);
        let meanwhile = (started..back).contains(&failure.sent);
        assert!(refused && meanwhile, "{failure:?} of {counted:?}");
    }
    // What the replica received was answered, and nothing was made twice.
    let received: u64 = stack.received().values().sum();
    let written: u64 = counted.written.values().sum();
    assert_eq!(received, written, "{counted:?}");
}
