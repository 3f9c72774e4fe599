//! The documented contradictions, figure by figure, and what must hold for any input.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use weir_lab::sample::growth::{MemoryAssumption, smallest_detectable_growth};

use super::*;
use crate::judge::Thresholds;

/// 100 users, 0.5 to 2 s think time, 5 minutes, the documented gate.
fn documented() -> Facts {
    closed("documented", 100, 1.25, 300.0)
}

fn closed(name: &str, users: u32, mean_think_s: f64, duration_s: f64) -> Facts {
    let weights = [
        ("statistics", 60.0),
        ("blockchain", 20.0),
        ("analysis", 10.0),
        ("alerts", 10.0),
        ("audit", 5.0),
        ("risk", 3.0),
        ("cases", 2.0),
    ];
    Facts {
        scenario: name.to_owned(),
        offered: Offered {
            max_rps: Some(f64::from(users) / mean_think_s),
            peak_rps: Some(f64::from(users) / mean_think_s),
            closed: Some(Closed {
                users,
                mean_think_s,
            }),
            requests_per_arrival: None,
        },
        duration_s,
        requests_total: None,
        weights: weights
            .map(|(name, weight)| (name.to_owned(), weight))
            .to_vec(),
        thresholds: Thresholds::documented(),
        client_timeout_s: 10.0,
        source_addresses: 1,
        connections: users,
        proxy: None,
    }
}

fn limit(rps: f64, burst: u32, delayed_beyond: Option<u32>) -> LimitFacts {
    LimitFacts {
        name: "api_limit".to_owned(),
        rps,
        burst,
        delayed_beyond,
        buckets: 1,
    }
}

fn proxy(limit: LimitFacts) -> ProxyFacts {
    ProxyFacts {
        limits: vec![limit],
        connections_max: 1024,
        keepalive: vec![("api".to_owned(), 32)],
        connect_timeout_s: 30.0,
    }
}

fn find(facts: &Facts, code: &str) -> Option<Finding> {
    lint(facts).into_iter().find(|finding| finding.code == code)
}

#[test]
fn contradiction_1_the_profile_offers_80_and_the_gate_asks_for_500() {
    let finding = find(&documented(), "offered-rate").unwrap();
    assert_eq!(finding.numbers["max_rps"], 80.0);
    assert_eq!(finding.numbers["users_needed"], 625.0);
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.title.contains("at most 80/s"), "{}", finding.title);
    let ci = find(&closed("ci", 20, 1.25, 60.0), "offered-rate").unwrap();
    assert_eq!(ci.numbers["max_rps"], 16.0);
    assert!(find(&closed("many", 626, 1.25, 300.0), "offered-rate").is_none());
}

#[test]
fn contradiction_2_one_address_is_limited_to_3021_of_24000() {
    let mut facts = documented();
    facts.proxy = Some(proxy(limit(10.0, 20, None)));
    let finding = find(&facts, "rate-limit").unwrap();
    assert_eq!(finding.numbers["admitted"], 3021.0);
    assert_eq!(finding.numbers["max_requests"], 24_000.0);
    assert_eq!(finding.numbers["rejected_percent"].round(), 87.0);
    assert!(
        finding.detail.contains("3,021 of at most 24,000"),
        "{}",
        finding.detail
    );

    facts.proxy = Some(proxy(limit(50.0, 50, None)));
    let finding = find(&facts, "rate-limit").unwrap();
    assert_eq!(finding.numbers["rejected_percent"].round(), 37.0);

    // 100/s burst 200 rejects nothing at 80/s, and still lies below the throughput threshold.
    facts.proxy = Some(proxy(limit(100.0, 200, None)));
    let finding = find(&facts, "rate-limit").unwrap();
    assert!(!finding.numbers.contains_key("rejected_percent"));
    assert_eq!(finding.numbers["threshold_rps"], 500.0);

    // Sixty-three source addresses have sixty-three buckets.
    let mut many = limit(10.0, 20, None);
    many.buckets = 63;
    facts.proxy = Some(proxy(many));
    assert!(find(&facts, "rate-limit").is_none());
}

#[test]
fn contradiction_3_960_requests_cannot_show_a_tenth_of_a_percent() {
    let finding = find(&closed("ci", 20, 1.25, 60.0), "sample-size").unwrap();
    assert_eq!(finding.numbers["max_requests"], 960.0);
    assert!((finding.numbers["one_failure_percent"] - 0.104).abs() < 0.0005);
    assert_eq!(finding.numbers["p99_samples"].round(), 10.0);
    assert!(finding.title.contains("0.104 %") && finding.title.contains("about 10 samples"));
    assert!(find(&documented(), "sample-size").is_none());
}

#[test]
fn contradiction_4_the_weights_add_up_to_110() {
    let finding = find(&documented(), "weights").unwrap();
    assert_eq!(finding.numbers["weight_total"], 110.0);
    assert!(
        finding.detail.contains("statistics 60 → 54.5 %"),
        "{}",
        finding.detail
    );
    let mut hundred = documented();
    hundred.weights = vec![("a".into(), 90.0), ("b".into(), 10.0)];
    assert!(find(&hundred, "weights").is_none());
    hundred.weights = vec![("a".into(), 3.0), ("b".into(), 1.0)];
    assert!(find(&hundred, "weights").is_none(), "plainly relative");
}

#[test]
fn contradiction_5_100_users_bind_neither_connections_nor_keepalive() {
    let mut facts = documented();
    facts.proxy = Some(proxy(limit(1000.0, 20, None)));
    let finding = find(&facts, "not-bound").unwrap();
    assert_eq!(finding.numbers["connections"], 200.0);
    assert_eq!(finding.numbers["in_flight"], 4.0);
    assert!(finding.title.contains("connections.max = 1024"));
    assert!(finding.title.contains("keepalive = 32"));
    facts.connections = 1000;
    facts.offered.max_rps = Some(2000.0);
    assert!(find(&facts, "not-bound").is_none());
}

#[test]
fn contradiction_6_a_burst_without_nodelay_waits_two_seconds() {
    let mut facts = documented();
    facts.proxy = Some(proxy(limit(10.0, 20, Some(0))));
    let finding = find(&facts, "burst-delay").unwrap();
    assert_eq!(finding.numbers["longest_wait_s"], 2.0);
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.title.contains("p99 < 200 ms"), "{}", finding.title);
    for fine in [
        limit(10.0, 20, None),
        limit(10.0, 20, Some(19)),
        limit(1000.0, 20, Some(0)),
    ] {
        facts.proxy = Some(proxy(fine));
        assert!(find(&facts, "burst-delay").is_none());
    }
}

#[test]
fn contradiction_7_the_client_gives_up_before_the_connect_timeout() {
    let mut facts = documented();
    facts.proxy = Some(proxy(limit(1000.0, 20, None)));
    let finding = find(&facts, "connect-timeout").unwrap();
    assert_eq!(finding.numbers["connect_timeout_s"], 30.0);
    facts.client_timeout_s = 31.0;
    assert!(find(&facts, "connect-timeout").is_none());
}

#[test]
fn contradiction_8_sixty_seconds_cannot_support_a_claim_per_hour() {
    let mut facts = documented();
    facts.duration_s = 60.0;
    let finding = find(&facts, "memory-claim").unwrap();
    assert!(finding.numbers["detectable_mb_per_hour"] > 10.0);
    facts.duration_s = finding.numbers["needed_s"] + 1.0;
    assert!(
        find(&facts, "memory-claim").is_none(),
        "the length that it asks for is enough"
    );
}

#[test]
fn arrivals_that_may_be_flows_are_named() {
    let mut facts = documented();
    assert!(find(&facts, "arrivals").is_none());
    facts.offered.closed = None;
    facts.offered.requests_per_arrival = Some(2.5);
    let finding = find(&facts, "arrivals").unwrap();
    assert_eq!(finding.severity, Severity::Note);
    assert!(
        finding
            .title
            .contains("32 arrivals/s are up to 80 requests/s"),
        "{}",
        finding.title
    );
}

#[test]
fn consistent_inputs_have_no_findings() {
    let mut facts = closed("consistent", 2000, 1.25, 1800.0);
    facts.weights = vec![("read".into(), 90.0), ("write".into(), 10.0)];
    facts.client_timeout_s = 60.0;
    facts.proxy = Some(proxy(limit(5000.0, 100, None)));
    assert_eq!(lint(&facts), []);
}

proptest! {
    #[test]
    fn the_users_asked_for_are_enough_and_one_less_is_not(
        users in 1_u32..2000, think in 0.01_f64..10.0, wanted in 1.0_f64..5000.0,
    ) {
        let mut facts = closed("any", users, think, 300.0);
        facts.thresholds.throughput_rps = Some(wanted);
        match find(&facts, "offered-rate") {
            None => prop_assert!(f64::from(users) / think > wanted),
            Some(finding) => {
                let needed = finding.numbers["users_needed"];
                prop_assert!(needed / think >= wanted * (1.0 - 1e-9));
                prop_assert!((needed - 1.0) / think < wanted);
            }
        }
    }

    #[test]
    fn a_limit_above_the_load_and_the_threshold_is_never_a_finding(
        users in 1_u32..2000, think in 0.01_f64..10.0, duration in 1.0_f64..10_000.0, burst in 0_u32..1000,
    ) {
        let mut facts = closed("any", users, think, duration);
        let rps = (f64::from(users) / think).max(500.0) + 1.0;
        facts.proxy = Some(proxy(limit(rps, burst, None)));
        prop_assert!(find(&facts, "rate-limit").is_none());
    }

    #[test]
    fn longer_runs_detect_smaller_growth(short in 1.0_f64..10_000.0, factor in 1.01_f64..100.0) {
        let of = |seconds| smallest_detectable_growth(seconds, MemoryAssumption::default());
        prop_assert!(of(short * factor) < of(short));
    }

    #[test]
    fn numbers_are_finite_and_texts_are_there(
        users in 1_u32..5000, think in 0.001_f64..100.0, duration in 0.5_f64..100_000.0,
        rps in 0.01_f64..10_000.0, burst in 0_u32..10_000, delayed in prop::option::of(0_u32..10_000),
    ) {
        let mut facts = closed("any", users, think, duration);
        facts.proxy = Some(proxy(limit(rps, burst, delayed)));
        for finding in lint(&facts) {
            prop_assert!(finding.numbers.values().all(|value| value.is_finite()), "{finding:?}");
            prop_assert!(!finding.title.is_empty() && !finding.detail.is_empty() && !finding.remedy.is_empty());
        }
    }
}
