//! Which server is chosen, what takes one out, and what outlives a change of settings.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use weir_api::settings::{Balance, HealthCheck, Retry, Server, Upstream, UpstreamProtocol};

use super::*;

mod health;
mod properties;

fn server(port: u16) -> Server {
    Server {
        address: format!("127.0.0.1:{port}"),
        weight: 1,
        max_fails: 3,
        fail_timeout: Duration::from_secs(30),
        max_conns: 0,
        backup: false,
        down: false,
    }
}

fn weighted(port: u16, weight: u32) -> Server {
    Server {
        weight,
        ..server(port)
    }
}

fn upstream(balance: Balance, servers: &[Server]) -> Upstream {
    Upstream {
        balance,
        protocol: UpstreamProtocol::Http1,
        keepalive: 32,
        keepalive_timeout: Duration::from_secs(60),
        retry: Retry {
            tries: 2,
            timeout: Duration::from_secs(5),
        },
        health_check: HealthCheck::default(),
        servers: servers.to_vec(),
    }
}

fn apply(registry: &Registry, balance: Balance, servers: &[Server]) -> Arc<UpstreamState> {
    let resolved: Vec<Resolved> = servers
        .iter()
        .map(|server| (server.clone(), vec![server.address.parse().unwrap()]))
        .collect();
    registry.apply("api", &upstream(balance, servers), &resolved)
}

fn group(balance: Balance, servers: &[Server]) -> Arc<UpstreamState> {
    apply(&Registry::default(), balance, servers)
}

/// The port that a request with no history is sent to, without finishing it.
fn port(pick: &Pick) -> u16 {
    pick.address().port()
}

fn pick(upstream: &Arc<UpstreamState>, now_ms: u64) -> Option<Pick> {
    upstream.pick(&mut Tried::new(), now_ms)
}

/// The ports of `count` requests, each of which succeeds before the next.
fn sequence(upstream: &Arc<UpstreamState>, count: usize, now_ms: u64) -> Vec<u16> {
    (0..count)
        .map(|_| {
            let pick = pick(upstream, now_ms).unwrap();
            pick.succeed();
            port(&pick)
        })
        .collect()
}

fn fail_once(upstream: &Arc<UpstreamState>, port_to_fail: u16, now_ms: u64) {
    let mut tried = Tried::new();
    loop {
        let pick = upstream.pick(&mut tried, now_ms).unwrap();
        if port(&pick) == port_to_fail {
            pick.fail(now_ms);
            return;
        }
    }
}

fn condition(upstream: &UpstreamState, port: u16, now_ms: u64) -> Condition {
    let view = upstream.view(now_ms);
    let server = view.servers.iter().find(|s| s.address.port() == port);
    server.unwrap().state
}

#[test]
fn round_robin_spreads_weights_smoothly() {
    let upstream = group(
        Balance::RoundRobin,
        &[weighted(1, 5), weighted(2, 1), weighted(3, 1)],
    );
    assert_eq!(sequence(&upstream, 7, 0), [1, 1, 2, 1, 3, 1, 1]);
    assert_eq!(sequence(&upstream, 7, 0), [1, 1, 2, 1, 3, 1, 1]);
}

#[test]
fn least_conn_takes_the_least_loaded_relative_to_weight() {
    let upstream = group(Balance::LeastConn, &[weighted(1, 1), weighted(2, 3)]);
    let held: Vec<_> = (0..40).map(|_| pick(&upstream, 0).unwrap()).collect();
    assert_eq!(held.iter().filter(|p| port(p) == 2).count(), 30);
    let (one, two): (Vec<_>, Vec<_>) = held.into_iter().partition(|p| port(p) == 1);
    drop(one);
    let next: Vec<_> = (0..5).map(|_| pick(&upstream, 0).unwrap()).collect();
    assert!(next.iter().all(|p| port(p) == 1));
    drop(two);
}

#[test]
fn least_conn_without_load_is_round_robin() {
    let upstream = group(Balance::LeastConn, &[weighted(1, 2), weighted(2, 1)]);
    assert_eq!(sequence(&upstream, 6, 0), [1, 2, 1, 1, 2, 1]);
}

#[test]
fn a_server_that_is_down_is_never_chosen() {
    let down = Server {
        down: true,
        ..server(1)
    };
    let upstream = group(Balance::LeastConn, &[down.clone(), server(2)]);
    assert_eq!(sequence(&upstream, 3, 0), [2, 2, 2]);
    assert_eq!(condition(&upstream, 1, 0), Condition::Down);
    assert!(pick(&group(Balance::LeastConn, &[down]), 0).is_none());
}

#[test]
fn backups_serve_only_when_nobody_else_can() {
    let backup = Server {
        backup: true,
        ..server(9)
    };
    let upstream = group(Balance::LeastConn, &[server(1), server(2), backup]);
    assert_eq!(sequence(&upstream, 4, 0), [1, 2, 1, 2]);
    let mut tried = Tried::new();
    let ports: Vec<_> =
        std::iter::from_fn(|| upstream.pick(&mut tried, 0).map(|p| port(&p))).collect();
    assert_eq!(ports, [1, 2, 9]);
    assert_eq!(tried.count(), 3);
}

#[test]
fn max_conns_is_exact() {
    for balance in [Balance::LeastConn, Balance::RoundRobin] {
        let full = Server {
            max_conns: 2,
            ..server(1)
        };
        let lone = group(balance, std::slice::from_ref(&full));
        let held = [pick(&lone, 0).unwrap(), pick(&lone, 0).unwrap()];
        assert!(pick(&lone, 0).is_none());
        assert_eq!(condition(&lone, 1, 0), Condition::Full);
        drop(held);
        assert!(pick(&lone, 0).is_some());

        let pair = group(balance, &[full, server(2)]);
        let held: Vec<_> = (0..9).map(|_| pick(&pair, 0).unwrap()).collect();
        assert_eq!(held.iter().filter(|p| port(p) == 1).count(), 2);
    }
}

#[test]
fn max_fails_takes_a_server_out_and_one_trial_brings_it_back() {
    let upstream = group(Balance::LeastConn, &[server(1), server(2)]);
    for _ in 0..3 {
        assert_eq!(condition(&upstream, 1, 1000), Condition::Up);
        fail_once(&upstream, 1, 1000);
    }
    assert_eq!(condition(&upstream, 1, 1000), Condition::Failed);
    assert_eq!(sequence(&upstream, 5, 31_000), [2; 5]);
    assert_eq!(upstream.view(1000).servers[0].retry_in_ms, Some(30_000));

    // After the rest one request tries it, the others stay away until that has an answer.
    let trial: Vec<_> = (0..6).map(|_| pick(&upstream, 31_001).unwrap()).collect();
    assert_eq!(trial.iter().filter(|p| port(p) == 1).count(), 1);
    trial.iter().for_each(Pick::succeed);
    drop(trial);
    assert_eq!(condition(&upstream, 1, 31_001), Condition::Up);
    assert_eq!(upstream.view(31_001).servers[0].fails, 0);
}

#[test]
fn a_failed_trial_means_another_rest() {
    let upstream = group(Balance::LeastConn, &[server(1), server(2)]);
    for _ in 0..3 {
        fail_once(&upstream, 1, 0);
    }
    fail_once(&upstream, 1, 30_001);
    assert_eq!(condition(&upstream, 1, 60_001), Condition::Failed);
    assert_eq!(condition(&upstream, 1, 60_002), Condition::Up);
}

#[test]
fn an_abandoned_trial_says_nothing() {
    let upstream = group(Balance::LeastConn, &[server(1), server(2)]);
    for _ in 0..3 {
        fail_once(&upstream, 1, 0);
    }
    let mut tried = Tried::new();
    let mut ports = Vec::new();
    while let Some(pick) = upstream.pick(&mut tried, 30_001) {
        ports.push(port(&pick));
    }
    assert!(ports.contains(&1));
    assert_eq!(condition(&upstream, 1, 30_002), Condition::Failed);
}

#[test]
fn failures_far_apart_do_not_add_up() {
    let upstream = group(Balance::LeastConn, &[server(1), server(2)]);
    for round in 0..10 {
        let now = round * 30_002;
        fail_once(&upstream, 1, now);
        assert_eq!(condition(&upstream, 1, now), Condition::Up);
        // The next success after the window forgets them.
        sequence(&upstream, 4, now + 30_001);
    }
}

#[test]
fn a_success_forgets_failures_only_after_the_whole_window() {
    for (at, fails) in [(30_000, 1), (30_001, 0)] {
        let upstream = group(Balance::RoundRobin, &[server(1), server(2)]);
        fail_once(&upstream, 1, 0);
        sequence(&upstream, 4, at);
        assert_eq!(upstream.view(at).servers[0].fails, fails, "at {at}");
    }
}

#[test]
fn a_lone_server_is_never_taken_out() {
    let upstream = group(Balance::LeastConn, &[server(1)]);
    for _ in 0..10 {
        let mut tried = Tried::new();
        upstream.pick(&mut tried, 0).unwrap().fail(0);
        assert!(
            upstream.pick(&mut tried, 0).is_none(),
            "not twice by one request"
        );
    }
    assert_eq!(condition(&upstream, 1, 0), Condition::Up);
    let view = &upstream.view(500).servers[0];
    assert_eq!(
        (view.failures, view.fails, view.last_failure_ms_ago),
        (10, 0, Some(500))
    );
}

#[test]
fn max_fails_of_zero_never_takes_out() {
    let upstream = group(
        Balance::RoundRobin,
        &[
            Server {
                max_fails: 0,
                ..server(1)
            },
            server(2),
        ],
    );
    for _ in 0..10 {
        fail_once(&upstream, 1, 0);
    }
    assert_eq!(condition(&upstream, 1, 0), Condition::Up);
}

#[test]
fn when_all_have_failed_there_is_no_live_upstream_until_the_rest_is_over() {
    let quick = |port| Server {
        max_fails: 1,
        fail_timeout: Duration::from_secs(1),
        ..server(port)
    };
    let upstream = group(Balance::LeastConn, &[quick(1), quick(2)]);
    fail_once(&upstream, 1, 0);
    fail_once(&upstream, 2, 0);
    assert!(pick(&upstream, 1000).is_none());
    assert!(pick(&upstream, 1001).is_some());
}

#[test]
fn an_outcome_counts_once_and_the_first_one_counts() {
    let upstream = group(Balance::LeastConn, &[server(1), server(2)]);
    let first = pick(&upstream, 0).unwrap();
    first.fail(0);
    first.fail(0);
    first.succeed();
    assert_eq!(first.server().failures(), 1);
    assert_eq!(first.server().fails(), 1);
    let second = pick(&upstream, 0).unwrap();
    second.succeed();
    second.fail(0);
    assert_eq!(second.server().failures(), 0);
}

#[test]
fn a_stale_connection_may_go_to_the_same_server_again() {
    let upstream = group(Balance::LeastConn, &[server(1)]);
    let mut tried = Tried::new();
    let stale = upstream.pick(&mut tried, 0).unwrap();
    assert!(upstream.pick(&mut tried, 0).is_none());
    stale.allow_again(&mut tried);
    assert!(upstream.pick(&mut tried, 0).is_some());
}

#[test]
fn more_than_64_servers_are_each_tried_once() {
    let servers: Vec<_> = (1..=150).map(server).collect();
    let upstream = group(Balance::RoundRobin, &servers);
    let mut tried = Tried::new();
    let mut ports: Vec<_> =
        std::iter::from_fn(|| upstream.pick(&mut tried, 0).map(|p| port(&p))).collect();
    ports.sort_unstable();
    assert_eq!(ports, (1..=150).collect::<Vec<_>>());
}

#[test]
fn state_outlives_a_change_of_settings() {
    let registry = Registry::default();
    let before = apply(&registry, Balance::LeastConn, &[server(1), server(2)]);
    for _ in 0..3 {
        fail_once(&before, 1, 0);
    }
    let held = pick(&before, 0).unwrap();
    assert_eq!(port(&held), 2);
    let sent = held.server().requests();

    let after = apply(
        &registry,
        Balance::RoundRobin,
        &[server(3), server(2), server(1)],
    );
    assert_eq!(condition(&after, 1, 0), Condition::Failed);
    let view = after.view(0);
    assert_eq!(
        (view.servers[1].in_flight, view.servers[1].requests),
        (1, sent)
    );
    drop(held);
    assert_eq!(after.view(0).servers[1].in_flight, 0);
}

#[test]
fn a_server_that_comes_back_while_requests_are_in_flight_is_the_same_server() {
    let registry = Registry::default();
    let held = pick(&apply(&registry, Balance::LeastConn, &[server(1)]), 0).unwrap();
    let without = apply(&registry, Balance::LeastConn, &[server(2)]);
    let with = apply(&registry, Balance::LeastConn, &[server(1), server(2)]);
    assert_eq!(with.view(0).servers[0].in_flight, 1);
    drop((held, without));
    assert_eq!(with.view(0).servers[0].in_flight, 0);
}

#[test]
fn a_new_weight_applies_to_the_next_request() {
    let registry = Registry::default();
    let before = apply(&registry, Balance::RoundRobin, &[server(1), server(2)]);
    sequence(&before, 3, 0);
    let after = apply(&registry, Balance::RoundRobin, &[weighted(1, 3), server(2)]);
    let ports = sequence(&after, 8, 0);
    assert_eq!(ports.iter().filter(|p| **p == 1).count(), 6);
}

#[test]
fn an_address_listed_twice_is_two_servers() {
    let upstream = group(Balance::RoundRobin, &[server(1), server(1), server(2)]);
    let ports = sequence(&upstream, 6, 0);
    assert_eq!(ports.iter().filter(|p| **p == 1).count(), 4);
}

#[test]
fn a_name_with_several_addresses_is_several_servers() {
    let name = Server {
        address: "replicas:80".into(),
        ..server(1)
    };
    let addresses: Vec<Endpoint> = (1..4)
        .map(|n| SocketAddr::from(([127, 0, 0, n], 80)).into())
        .collect();
    let upstream = Registry::default().apply(
        "api",
        &upstream(Balance::RoundRobin, std::slice::from_ref(&name)),
        &[(name, addresses.clone())],
    );
    let picked: Vec<_> = (0..3)
        .map(|_| pick(&upstream, 0).unwrap().address())
        .collect();
    assert_eq!(picked, addresses);
    assert_eq!(upstream.view(0).servers[2].name, "replicas:80");
}

#[test]
fn the_view_is_json_with_plain_names() {
    let view = group(Balance::LeastConn, &[server(1)]).view(0);
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["name"], "api");
    assert_eq!(json["balance"], "least_conn");
    assert_eq!(json["servers"][0]["state"], "up");
    assert_eq!(json["servers"][0]["address"], "127.0.0.1:1");
}

#[test]
fn threads_leave_no_count_behind_and_respect_max_conns() {
    let limited = |port| Server {
        max_conns: 3,
        ..server(port)
    };
    let upstream = group(Balance::LeastConn, &[limited(1), limited(2)]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..5000 {
                    let held: Vec<_> = (0..3).filter_map(|_| pick(&upstream, i)).collect();
                    assert!(
                        upstream
                            .servers()
                            .all(|(_, server)| server.in_flight() <= 3)
                    );
                    if let Some(pick) = held.first() {
                        pick.succeed();
                    }
                }
            });
        }
    });
    assert!(
        upstream
            .servers()
            .all(|(_, server)| server.in_flight() == 0)
    );
}
