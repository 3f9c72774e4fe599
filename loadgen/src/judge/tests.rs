//! What passes, what fails, and what is neither.
#![allow(clippy::unwrap_used)]

use weir_load::{
    slo,
    summary::{Latency, Model, Validity, Verdict},
};

use super::*;
use crate::{exit::Exit, text::wrapped};

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
        aborted: None,
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

fn rules(text: &str) -> Thresholds {
    Thresholds::default().with_rules(slo::parse_list(text).unwrap())
}

fn with_endpoint() -> Summary {
    let mut summary = good_summary();
    summary.endpoints = vec![weir_load::summary::EndpointSummary {
        name: "login".into(),
        method: "POST".into(),
        path: "/login".into(),
        requests: 200,
        ok: 150,
        limited: 30,
        errors: 20,
        response: Latency {
            p95_ms: 90.0,
            ..summary.response.clone()
        },
        failures: [("timeout".to_owned(), 15), ("status_503".to_owned(), 5)].into(),
    }];
    summary
}

#[test]
fn rules_judge_shares_rates_and_latencies_of_the_whole_and_of_endpoints() {
    let summary = with_endpoint();
    let cases = [
        ("login: p95 < 80ms", Status::Fail, "90 ms"),
        ("login: p95 < 91ms", Status::Pass, "90 ms"),
        ("p99.9 <= 40ms", Status::Pass, "40 ms"),
        ("max < 55ms", Status::Fail, "55 ms"),
        ("login: errors <= 10%", Status::Pass, "10.0 %"),
        ("login: timeout < 5%", Status::Fail, "7.5 %"),
        ("login: status_503 < 5%", Status::Pass, "2.5 %"),
        ("login: limited < 10%", Status::Fail, "15.0 %"),
        ("login: success > 80%", Status::Fail, "75.0 %"),
        ("login: throughput > 12/s", Status::Pass, "12.5/s"),
        ("rate >= 600/s", Status::Pass, "600/s"),
        ("unsent <= 0%", Status::Pass, "0 %"),
        ("nobody: p95 < 1s", Status::NotMeasured, "–"),
        // Only histograms know it, and the summary alone has none.
        ("p97 < 1s", Status::NotMeasured, "–"),
    ];
    for (rule, status, value) in cases {
        let rows = judge(&summary, &rules(rule), None);
        assert_eq!(rows.len(), 1, "{rule}");
        assert_eq!(
            (rows[0].status, rows[0].value.as_str()),
            (status, value),
            "{rule}"
        );
    }
}

#[test]
fn a_rule_takes_the_place_of_what_judged_the_same() {
    let thresholds = Thresholds::documented()
        .with_rules(slo::parse_list("p95 < 300ms, login: p95 < 1s").unwrap());
    assert_eq!(thresholds.p95_ms, None);
    assert_eq!(thresholds.p99_ms, Some(200.0));
    let again = thresholds.with_rules(slo::parse_list("p95 < 400ms").unwrap());
    let texts: Vec<String> = again.rules.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["p95 < 400ms", "login: p95 < 1s"]);
    assert_eq!(again.all_rules().len(), 6);
}

#[test]
fn thresholds_with_rules_survive_json() {
    let thresholds = Thresholds::documented()
        .with_rules(slo::parse_list("login: service p99.9 < 1.5s abort after 3s").unwrap());
    let text = serde_json::to_string(&thresholds).unwrap();
    assert_eq!(
        serde_json::from_str::<Thresholds>(&text).unwrap(),
        thresholds
    );
}

#[test]
fn an_aborted_run_fails_and_says_which_rule_ended_it() {
    let mut summary = good_summary();
    summary.aborted = Some(weir_load::summary::Aborted {
        rule: "errors < 5% abort".into(),
        value: "12.0 %".into(),
        after_s: 11.0,
    });
    let rows = judge(&summary, &Thresholds::documented(), None);
    assert_eq!(gate(&rows, &summary.validity), Gate::Failed);
    let row = rows.last().unwrap();
    assert_eq!(
        (row.threshold.as_str(), row.note.as_str()),
        ("errors < 5% abort", "aborted after 11.0 s")
    );
}

#[test]
fn a_rate_out_of_reach_by_arithmetic_is_no_failure() {
    let rows = judge(
        &good_summary(),
        &rules("throughput > 900/s, login: throughput > 900/s"),
        Some(Reach { rps: 800.0 }),
    );
    assert_eq!(rows[0].status, Status::NotReachable);
}
