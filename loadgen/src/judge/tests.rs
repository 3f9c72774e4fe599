//! What passes, what fails, and what is neither.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    exit::Exit,
    summary::{Latency, Model, Validity, Verdict},
};

/// A run of 12 s that meets every documented threshold.
pub(crate) fn good_summary() -> Summary {
    let latency = Latency {
        count: 7200,
        min_ms: 10.0,
        mean_ms: 12.0,
        stdev_ms: 2.0,
        p50_ms: 11.0,
        p90_ms: 14.0,
        p95_ms: 15.5,
        p99_ms: 22.25,
        p999_ms: 40.0,
        max_ms: 55.0,
    };
    Summary {
        scenario: "rate".into(),
        model: Model::Open,
        engine: "wire".into(),
        started_at: "2026-01-01T00:00:00Z".into(),
        duration_s: 12.0,
        warmup_s: 2.0,
        requests: 7200,
        ok: 7200,
        limited: 0,
        errors: 0,
        error_rate: 0.0,
        throughput_rps: 600.0,
        intended_rps: Some(600.0),
        unsent: 0,
        response: latency.clone(),
        service: latency,
        send_lag: None,
        endpoints: Vec::new(),
        failures: Vec::new(),
        intervals: Vec::new(),
        processes: Vec::new(),
        validity: Validity {
            verdict: Verdict::Valid,
            reasons: Vec::new(),
        },
        distributions: Default::default(),
        extra: Default::default(),
    }
}

fn status_of(rows: &[Row], metric: &str) -> Status {
    rows.iter()
        .find(|row| row.metric == metric)
        .map(|row| row.status)
        .unwrap()
}

#[test]
fn a_good_run_passes_the_documented_gate() {
    let summary = good_summary();
    let rows = judge(&summary, &Thresholds::documented(), None);
    assert_eq!(rows.len(), 5);
    assert!(
        rows.iter().all(|row| row.status == Status::Pass),
        "{rows:?}"
    );
    assert_eq!(gate(&rows, &summary.validity).exit(), Exit::Passed);
}

#[test]
fn a_value_at_its_threshold_fails() {
    let mut summary = good_summary();
    summary.response.p95_ms = 100.0;
    summary.error_rate = 0.001;
    summary.throughput_rps = 500.0;
    let rows = judge(&summary, &Thresholds::documented(), None);
    for metric in ["p95 latency", "error rate", "throughput"] {
        assert_eq!(status_of(&rows, metric), Status::Fail, "{metric}");
    }
    assert_eq!(gate(&rows, &summary.validity).exit(), Exit::GateFailed);
}

#[test]
fn throughput_that_the_profile_cannot_offer_is_not_a_failure() {
    let mut summary = good_summary();
    summary.throughput_rps = 76.0;
    let rows = judge(
        &summary,
        &Thresholds::documented(),
        Some(Reach { rps: 80.0 }),
    );
    let row = rows.iter().find(|row| row.metric == "throughput").unwrap();
    assert_eq!(row.status, Status::NotReachable);
    assert_eq!(row.note, "not reachable with this profile (at most 80/s)");
    assert_eq!(gate(&rows, &summary.validity), Gate::Passed);
    let reachable = judge(
        &summary,
        &Thresholds::documented(),
        Some(Reach { rps: 800.0 }),
    );
    assert_eq!(status_of(&reachable, "throughput"), Status::Fail);
}

#[test]
fn an_invalid_run_passes_no_gate() {
    let summary = good_summary();
    let rows = judge(&summary, &Thresholds::documented(), None);
    let invalid = Validity {
        verdict: Verdict::Invalid,
        reasons: vec!["send lag".into()],
    };
    assert_eq!(gate(&rows, &invalid).exit(), Exit::Invalid);
}

#[test]
fn nothing_measured_is_no_pass() {
    let mut summary = good_summary();
    summary.requests = 0;
    summary.ok = 0;
    summary.response = Latency::default();
    summary.throughput_rps = 0.0;
    let rows = judge(
        &summary,
        &Thresholds::documented(),
        Some(Reach { rps: 80.0 }),
    );
    assert!(
        rows.iter().all(|row| row.status == Status::NotMeasured),
        "{rows:?}"
    );
    assert_eq!(gate(&rows, &summary.validity), Gate::Failed);
}

#[test]
fn few_samples_are_said_beside_the_percentile() {
    let mut summary = good_summary();
    summary.response.count = 960;
    let rows = judge(&summary, &Thresholds::documented(), None);
    let row = rows.iter().find(|row| row.metric == "p99 latency").unwrap();
    assert_eq!(row.note, "rests on 10 of 960 samples");
}

#[test]
fn tables_stay_within_a_terminal() {
    let mut summary = good_summary();
    summary.throughput_rps = 76.0;
    let rows = judge(
        &summary,
        &Thresholds::documented(),
        Some(Reach { rps: 80.0 }),
    );
    let text = rows_table(&rows).to_string();
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(text.contains("not reachable"), "{text}");
}

#[test]
fn text_is_broken_before_the_edge() {
    let text = wrapped(&"word ".repeat(60), "  - ", "    ");
    assert!(text.lines().count() > 2 && text.lines().all(|line| line.chars().count() <= 98));
    assert!(
        text.starts_with("  - word")
            && text
                .lines()
                .skip(1)
                .all(|line| line.starts_with("    word"))
    );
}
