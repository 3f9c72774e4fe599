//! Properties of the choice and of the counts, against a plain model of nginx's algorithm.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::{collection::vec, prelude::*};

use super::*;

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
