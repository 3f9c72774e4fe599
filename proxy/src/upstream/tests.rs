//! Properties of the choice and of the counts, against a plain model of nginx's algorithm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use weir_api::settings::{Balance, HealthCheck, Retry, Server, Upstream};

use super::*;

mod health;

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
    let addresses: Vec<SocketAddr> = (1..4)
        .map(|n| SocketAddr::from(([127, 0, 0, n], 80)))
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

// === a plain model of nginx's algorithm ===

#[derive(Debug, Clone)]
struct ModelPeer {
    weight: i64,
    effective: i64,
    current: i64,
    conns: i64,
    max_conns: i64,
    max_fails: i64,
    fail_timeout: i64,
    fails: i64,
    failed_at: i64,
    checked: i64,
    down: bool,
    /// By health checks.
    out: bool,
}

#[derive(Debug, Clone)]
struct Model {
    least_conn: bool,
    /// Regular, backup.
    lists: [Vec<ModelPeer>; 2],
}

#[derive(Debug, Clone, Default)]
struct ModelRequest {
    list: usize,
    tried: Vec<usize>,
}

impl Model {
    fn new(balance: Balance, servers: &[Server]) -> Self {
        let list = |backup| {
            servers
                .iter()
                .filter(|server| server.backup == backup)
                .map(|server| ModelPeer {
                    weight: server.weight.into(),
                    effective: server.weight.into(),
                    current: 0,
                    conns: 0,
                    max_conns: server.max_conns.into(),
                    max_fails: server.max_fails.into(),
                    fail_timeout: server.fail_timeout.as_millis() as i64,
                    fails: 0,
                    failed_at: -1_000_000_000,
                    checked: -1_000_000_000,
                    down: server.down,
                    out: false,
                })
                .collect()
        };
        Self {
            least_conn: balance == Balance::LeastConn,
            lists: [list(false), list(true)],
        }
    }

    fn lone(&self) -> bool {
        self.lists[0].len() == 1 && self.lists[1].is_empty()
    }

    fn pick(&mut self, request: &mut ModelRequest, now: i64) -> Option<(usize, usize)> {
        let lone = self.lone();
        let mut able: Vec<usize> = Vec::new();
        for (i, peer) in self.lists[request.list].iter().enumerate() {
            let resting = peer.max_fails > 0
                && peer.fails >= peer.max_fails
                && now - peer.checked <= peer.fail_timeout;
            let full = peer.max_conns > 0 && peer.conns >= peer.max_conns;
            if !request.tried.contains(&i) && !peer.down && !peer.out && !full && (lone || !resting)
            {
                able.push(i);
            }
        }
        let peers = &mut self.lists[request.list];
        if able.is_empty() {
            if request.list == 0 && !self.lists[1].is_empty() {
                *request = ModelRequest {
                    list: 1,
                    tried: Vec::new(),
                };
                return self.pick(request, now);
            }
            return None;
        }
        if self.least_conn {
            // The minimum of conns/weight as a fraction over the product of all weights.
            let all: i64 = peers.iter().map(|peer| peer.weight).product();
            let load = |i: &usize| peers[*i].conns * (all / peers[*i].weight);
            let least = able.iter().map(load).min().unwrap();
            able.retain(|i| load(i) == least);
        }
        let chosen = if able.len() == 1 && (self.least_conn || lone) {
            able[0]
        } else {
            let total: i64 = able.iter().map(|i| peers[*i].effective).sum();
            for i in &able {
                peers[*i].current += peers[*i].effective;
                peers[*i].effective = (peers[*i].effective + 1).min(peers[*i].weight);
            }
            let most = able.iter().map(|i| peers[*i].current).max().unwrap();
            let chosen = able
                .into_iter()
                .find(|i| peers[*i].current == most)
                .unwrap();
            peers[chosen].current -= total;
            chosen
        };
        let peer = &mut peers[chosen];
        if now - peer.checked > peer.fail_timeout {
            peer.checked = now;
        }
        peer.conns += 1;
        request.tried.push(chosen);
        Some((request.list, chosen))
    }

    /// One check decides; `which` counts the regular servers first.
    fn check(&mut self, which: usize, passed: bool) {
        let [regular, backup] = &mut self.lists;
        let peer = regular.iter_mut().chain(backup).nth(which).unwrap();
        if passed && peer.out {
            peer.fails = 0;
            peer.effective = peer.weight;
        }
        peer.out = !passed;
    }

    fn end(&mut self, (list, at): (usize, usize), outcome: Outcome, now: i64) {
        let lone = self.lone();
        let peer = &mut self.lists[list][at];
        peer.conns -= 1;
        match outcome {
            Outcome::Fail if !lone => {
                peer.fails += 1;
                peer.failed_at = now;
                peer.checked = now;
                if peer.max_fails > 0 {
                    peer.effective = (peer.effective - peer.weight / peer.max_fails).max(0);
                }
            }
            Outcome::Succeed if peer.failed_at < peer.checked => peer.fails = 0,
            _ => {}
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Succeed,
    Fail,
    Abort,
    Panic,
}

#[derive(Debug, Clone)]
enum Step {
    Start,
    /// Ends the n-th open try in this way; a failure or time-out may be followed by another try.
    End {
        which: usize,
        outcome: Outcome,
        retry: bool,
    },
    /// A health check of the n-th server ends.
    Check {
        which: usize,
        passed: bool,
    },
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Succeed),
        4 => Just(Outcome::Fail),
        1 => Just(Outcome::Abort),
        1 => Just(Outcome::Panic),
    ];
    let step = prop_oneof![
        6 => Just(Step::Start),
        5 => (any::<usize>(), outcome, any::<bool>())
            .prop_map(|(which, outcome, retry)| Step::End { which, outcome, retry }),
        1 => (any::<usize>(), prop::bool::weighted(0.7))
            .prop_map(|(which, passed)| Step::Check { which, passed }),
        2 => prop_oneof![0..50_u64, 0..3000_u64].prop_map(Step::Wait),
    ];
    vec(step, 1..200)
}

fn servers() -> impl Strategy<Value = Vec<Server>> {
    let one = (
        1..6_u32,
        0..4_u32,
        0..2000_u64,
        0..5_u32,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
    );
    vec(one, 1..6).prop_map(|all| {
        (1..)
            .zip(all)
            .map(
                |(port, (weight, max_fails, timeout, max_conns, backup, down))| Server {
                    weight,
                    max_fails,
                    fail_timeout: Duration::from_millis(timeout),
                    max_conns,
                    backup,
                    down,
                    ..server(port)
                },
            )
            .collect()
    })
}

fn balances() -> impl Strategy<Value = Balance> {
    prop_oneof![Just(Balance::LeastConn), Just(Balance::RoundRobin)]
}

/// A panic that tests expect, without the noise of a message.
fn panic_with(pick: Pick) {
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _held = pick;
        std::panic::resume_unwind(Box::new("expected"));
    }));
    assert!(unwound.is_err());
}

proptest! {
    #[test]
    fn chooses_as_the_model_does_and_every_count_returns_to_zero(
        balance in balances(), servers in servers(), steps in steps()
    ) {
        // Positions within a list to ports.
        let port_of = |(list, at): (usize, usize)| {
            let of_list: Vec<_> = servers.iter().filter(|s| s.backup == (list == 1)).collect();
            of_list[at].address.parse::<SocketAddr>().unwrap().port()
        };
        let upstream = group(balance, &servers);
        let mut model = Model::new(balance, &servers);
        let mut open: Vec<(Pick, Tried, (usize, usize), ModelRequest)> = Vec::new();
        let mut now = 5_u64;
        for step in steps {
            let mut start = None;
            match step {
                Step::Wait(ms) => now += ms,
                Step::Check { which, passed } => {
                    let which = which % servers.len();
                    health::check(&upstream, which, passed);
                    model.check(which, passed);
                }
                Step::Start => start = Some((Tried::new(), ModelRequest::default())),
                Step::End { .. } if open.is_empty() => {}
                Step::End { which, outcome, retry } => {
                    let (pick, tried, at, request) = open.swap_remove(which % open.len());
                    match outcome {
                        Outcome::Succeed => pick.succeed(),
                        Outcome::Fail => pick.fail(now),
                        Outcome::Abort => {}
                        Outcome::Panic => panic_with(pick),
                    }
                    model.end(at, outcome, now as i64);
                    if retry && matches!(outcome, Outcome::Fail) {
                        start = Some((tried, request));
                    }
                }
            }
            if let Some((mut tried, mut request)) = start {
                let pick = upstream.pick(&mut tried, now);
                let at = model.pick(&mut request, now as i64);
                prop_assert_eq!(pick.as_ref().map(port), at.map(port_of));
                if let (Some(pick), Some(at)) = (pick, at) {
                    open.push((pick, tried, at, request));
                }
            }
            let in_flight: u32 = upstream.servers().map(|(_, server)| server.in_flight()).sum();
            prop_assert_eq!(in_flight as usize, open.len());
        }
        drop(open);
        prop_assert!(upstream.servers().all(|(_, server)| server.in_flight() == 0));
    }

    #[test]
    fn round_robin_is_proportional_to_weight(weights in vec(1..20_u32, 1..6), rounds in 1..5_usize) {
        let servers: Vec<_> = (1..).zip(&weights).map(|(port, weight)| weighted(port, *weight)).collect();
        let total: u32 = weights.iter().sum();
        let ports = sequence(&group(Balance::RoundRobin, &servers), total as usize * rounds, 0);
        for (port, weight) in (1..).zip(weights) {
            prop_assert_eq!(ports.iter().filter(|p| **p == port).count(), weight as usize * rounds);
        }
    }

    #[test]
    fn held_requests_are_proportional_to_weight(weights in vec(1..20_u32, 1..6), rounds in 1..5_usize) {
        let servers: Vec<_> = (1..).zip(&weights).map(|(port, weight)| weighted(port, *weight)).collect();
        let upstream = group(Balance::LeastConn, &servers);
        let total: u32 = weights.iter().sum();
        let held: Vec<_> = (0..total as usize * rounds).map(|_| pick(&upstream, 0).unwrap()).collect();
        for (port_number, weight) in (1..).zip(weights) {
            prop_assert_eq!(held.iter().filter(|p| port(p) == port_number).count(), weight as usize * rounds);
        }
    }
}
