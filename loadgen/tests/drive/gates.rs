//! The real binary judges runs: thresholds, single endpoints, an early end, and what may not pass.

use std::process::Output;

use crate::{
    folders::{Desk, json, text},
    server::{Server, answer, ok},
};

/// Two endpoints, few users, no open schedule that a busy machine could not keep.
pub(crate) const TWO: &str = "name = 'two'\nduration = '1s'\nwarmup = '0s'\nengine = 'wire'\n\
    [load]\nmodel = 'closed'\nusers = 4\nthink_time = '5ms'\n\
    [[requests]]\nname = 'good'\npath = '/good'\n\
    [[requests]]\nname = 'bad'\npath = '/bad'\n";

/// A server whose `/bad` always fails.
pub(crate) fn half_bad() -> Server {
    Server::start(|seen| {
        if seen.head.starts_with("GET /bad") {
            answer("503 Service Unavailable", "")
        } else {
            ok("hello")
        }
    })
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn status_of(folder: &std::path::Path, metric: &str) -> String {
    let record = json(&folder.join("run.json"));
    let rows = record["verdict"].as_array().unwrap();
    let row = rows.iter().find(|row| row["metric"] == metric);
    let row = row.unwrap_or_else(|| panic!("{metric}: {rows:?}"));
    row["status"].as_str().unwrap().to_owned()
}

#[test]
fn rules_judge_endpoints_apart_and_percentiles_that_no_summary_holds() {
    let server = half_bad();
    let desk = Desk::new(&format!(
        "{TWO}\n[thresholds]\nrules = ['good: errors <= 0%', 'bad: status_503 >= 100%', 'p97.5 < 60s']\n"
    ));
    let output = desk
        .run(&server, &["--quiet", "--slo", "good: service p99.95 < 60s"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stdout));
    let folder = desk.only_run();
    for metric in [
        "good: errors",
        "bad: status_503",
        "p97.5",
        "good: service p99.95",
    ] {
        assert_eq!(status_of(&folder, metric), "pass", "{metric}");
    }
}

#[test]
fn a_missed_rule_of_one_endpoint_fails_the_gate() {
    let server = half_bad();
    let desk = Desk::new(TWO);
    let output = desk
        .run(
            &server,
            &["--quiet", "--slo", "bad: errors < 1%, good: errors < 1%"],
        )
        .output()
        .unwrap();
    assert_eq!(code(&output), 3, "{}", text(&output.stdout));
    let folder = desk.only_run();
    assert_eq!(status_of(&folder, "bad: errors"), "fail");
    assert_eq!(status_of(&folder, "good: errors"), "pass");
}

#[test]
fn a_breach_with_abort_ends_the_run_early_with_a_full_report() {
    let server = half_bad();
    let desk = Desk::new(&TWO.replace("'1s'", "'10m'"));
    let output = desk
        .run(&server, &["--quiet", "--slo", "errors < 5% abort after 1s"])
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert_eq!(code(&output), 3, "{said}");
    assert!(
        said.contains("run to its end") && said.contains("FAIL (aborted after"),
        "{said}"
    );
    assert!(said.contains("gate failed"), "{said}");
    let folder = desk.only_run();
    for file in [
        "run.json",
        "summary.json",
        "response.hlog",
        "timeseries.csv",
        "report.html",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let summary = json(&folder.join("summary.json"));
    assert_eq!(summary["aborted"]["rule"], "errors < 5% abort after 1s");
    assert!(summary["aborted"]["after_s"].as_f64().unwrap() >= 1.0);
    assert!(summary["duration_s"].as_f64().unwrap() < 500.0);
    let reasons = summary["validity"]["reasons"].to_string();
    assert!(
        reasons.contains("stopped since `errors < 5% abort after 1s` was missed"),
        "{reasons}"
    );
    assert_eq!(json(&folder.join("run.json"))["gate"], "failed");
}

#[test]
fn wrong_rules_are_refused_before_anything_is_started() {
    let server = half_bad();
    let desk = Desk::new(TWO);
    let cases = [
        (
            "p99<200",
            "error: invalid value 'p99<200' for '--slo <RULES>': `p99<200`: `200` is not a \
             duration: write a number with us, ms, s, m or h, such as \"500ms\", \"1.5s\" or \"5m\"",
        ),
        (
            "god: p99 < 1s",
            "error: --slo `god: p99 < 1s`: no request is named `god`; the scenario has good, bad",
        ),
        (
            "latency < 1s",
            "error: invalid value 'latency < 1s' for '--slo <RULES>': `latency < 1s`: `latency` is \
             not a metric: write p99.9, mean, max, throughput, rate, errors, success, limited, \
             unsent, or a kind of failure such as timeout or status_503",
        ),
    ];
    for (rules, message) in cases {
        let output = desk.run(&server, &["--slo", rules]).output().unwrap();
        assert_eq!(code(&output), 2, "{rules}");
        let said = text(&output.stderr);
        assert_eq!(said.lines().next().unwrap_or_default(), message);
    }
    assert_eq!(server.requests(), 0);
    assert!(desk.runs().is_empty());
}
