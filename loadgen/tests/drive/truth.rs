//! Percentiles against theory, within two percent: every engine, both versions of HTTP.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use weir_load::summary::Summary;

use crate::{
    ENGINES,
    h2_server::{Act, H2Server},
    run,
    server::{Server, ok},
};

const MS: Duration = Duration::from_millis(1);
/// How far a percentile may be from theory.
const TOLERANCE: f64 = 0.02;
/// A machine that is busy with other things makes answers late, which no theory knows. It does not do
/// so every time; a generator that measures wrong does.
const ATTEMPTS: usize = 4;

/// A server whose answers are ready at the time that `ready` says for a request's number and arrival.
enum Known {
    Http1(Server),
    Http2(H2Server),
}

impl Known {
    fn start(
        version: &str,
        ready: impl Fn(u64, Instant) -> Instant + Send + Sync + 'static,
    ) -> Self {
        if version == "2" {
            return Self::Http2(H2Server::start(move |number| {
                Act::Answer(ready(number, Instant::now()))
            }));
        }
        Self::Http1(Server::start(move |seen| {
            let at = ready(seen.number, Instant::now());
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            ok("x")
        }))
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Http1(server) => server.address,
            Self::Http2(server) => server.address,
        }
    }
}

/// The value that a share `quantile` of the values does not exceed (nearest rank).
fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.max(1) - 1]
}

/// A name, what was measured, and what theory says.
type Claim = (&'static str, f64, f64);

/// Measures until every claim holds within the tolerance, a few times at most.
fn holds(what: &str, measure: impl Fn() -> Vec<Claim>) {
    let mut last = Vec::new();
    for _ in 0..ATTEMPTS {
        last = measure();
        let off = |(_, measured, theory): &Claim| (measured / theory - 1.0).abs();
        if last.iter().all(|claim| off(claim) <= TOLERANCE) {
            return;
        }
    }
    panic!("{what}: not within {TOLERANCE} of theory in {ATTEMPTS} attempts: {last:?}");
}

fn every_way(check: impl Fn(&str, &str)) {
    for engine in ENGINES {
        for version in ["1.1", "2"] {
            check(engine, version);
        }
    }
}

fn measured(engine: &str, version: &str, top: &str, load: &str, server: &Known) -> Summary {
    let scenario = crate::scenario(
        &format!("{top}\nengine = \"{engine}\""),
        &format!("{load}\n[http]\nversion = \"{version}\""),
    );
    let summary = run(&scenario, server.address()).summary;
    assert_eq!(
        summary.errors, 0,
        "{engine} {version} {:?}",
        summary.failures
    );
    summary
}

#[test]
fn a_constant_delay_is_what_is_measured() {
    every_way(|engine, version| {
        holds(&format!("{engine} {version}"), || {
            let server = Known::start(version, |_, now| now + MS * 400);
            let load = "model = \"closed\"\nusers = 8";
            let summary = measured(engine, version, "duration = \"2s\"", load, &server);
            vec![
                ("p50", summary.response.p50_ms, 400.0),
                ("p99", summary.response.p99_ms, 400.0),
                ("mean", summary.service.mean_ms, 400.0),
            ]
        });
    });
}

#[test]
fn two_modes_are_told_apart() {
    every_way(|engine, version| {
        holds(&format!("{engine} {version}"), || {
            // Every fifth answer takes three times as long.
            let delay = |number: u64| MS * if number % 5 == 4 { 450 } else { 150 };
            let server = Known::start(version, move |number, now| now + delay(number));
            let top = "duration = \"3s\"\nconnections = 64";
            let load = "model = \"open\"\nrate = \"100/s\"";
            let summary = measured(engine, version, top, load, &server);
            let theory: Vec<f64> = (0..summary.requests)
                .map(|number| delay(number).as_secs_f64() * 1e3)
                .collect();
            vec![
                ("p50", summary.response.p50_ms, quantile(&theory, 0.50)),
                ("p90", summary.response.p90_ms, quantile(&theory, 0.90)),
                ("p99", summary.service.p99_ms, quantile(&theory, 0.99)),
                (
                    "mean",
                    summary.response.mean_ms,
                    theory.iter().sum::<f64>() / theory.len() as f64,
                ),
            ]
        });
    });
}

#[test]
fn a_stall_of_one_second_shows_as_theory_says() {
    const RATE: f64 = 500.0;
    const ARRIVALS: u32 = 2_000;
    const STALL_FROM_S: f64 = 1.0;
    const STALL_S: f64 = 1.0;
    // An arrival in the stall waits for its end; all others are answered at once.
    let theory: Vec<f64> = (0..ARRIVALS)
        .map(|n| f64::from(n) / RATE - STALL_FROM_S)
        .map(|t| {
            if (0.0..STALL_S).contains(&t) {
                STALL_S - t
            } else {
                0.0
            }
        })
        .map(|seconds| seconds * 1e3)
        .collect();
    every_way(|engine, version| {
        for connections in [1, 64] {
            holds(&format!("{engine} {version} {connections}"), || {
                let first = Arc::new(Mutex::new(None));
                let server = Known::start(version, move |_, now| {
                    let start = *first.lock().unwrap().get_or_insert(now);
                    let from = start + Duration::from_secs_f64(STALL_FROM_S);
                    let to = from + Duration::from_secs_f64(STALL_S);
                    if now >= from && now < to { to } else { now }
                });
                let top = format!("duration = \"4s\"\nconnections = {connections}");
                let load = format!("model = \"open\"\nrate = \"{RATE}/s\"");
                let summary = measured(engine, version, &top, &load, &server);
                assert_eq!(summary.requests + summary.unsent, u64::from(ARRIVALS));
                if connections == 1 {
                    // One request met the stall while it was being served: service time hides the rest.
                    assert!(summary.service.p99_ms < 500.0, "{:?}", summary.service);
                }
                let mut claims =
                    vec![("p99.9", summary.response.p999_ms, quantile(&theory, 0.999))];
                // Behind one connection the queue is answered one by one: that takes its time, too.
                if connections > 1 {
                    let p99 = quantile(&theory, 0.99);
                    claims.push(("p99", summary.response.p99_ms, p99));
                }
                claims
            });
        }
    });
}
