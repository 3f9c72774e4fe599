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

/// A run whose folder is called `name`.
fn make_run(desk: &Desk, server: &Server, name: &str, more: &[&str]) -> Output {
    let fixed = ["--quiet", "--output", name];
    desk.run(server, &[&fixed[..], more].concat())
        .output()
        .unwrap()
}

/// Changes a figure of a finished run: what a slower or broken target would have left.
fn edit(desk: &Desk, run: &str, change: impl Fn(&mut serde_json::Value)) {
    let path = desk.path().join(run).join("summary.json");
    let mut summary = json(&path);
    change(&mut summary);
    std::fs::write(&path, summary.to_string()).unwrap();
}

fn bench(desk: &Desk, arguments: &[&str]) -> (i32, String, String) {
    let output = desk
        .bench(arguments)
        .env_remove("GITHUB_STEP_SUMMARY")
        .output()
        .unwrap();
    (code(&output), text(&output.stdout), text(&output.stderr))
}

/// Three runs of one real run, so that their figures agree as far as a test needs it.
fn copies(desk: &Desk, of: &str, names: [&str; 3], p95_ms: [f64; 3]) {
    for (name, p95) in names.into_iter().zip(p95_ms) {
        let (from, to) = (desk.path().join(of), desk.path().join(name));
        std::fs::create_dir(&to).unwrap();
        for file in ["run.json", "summary.json"] {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
        let mut record = json(&to.join("run.json"));
        record["id"] = name.into();
        std::fs::write(to.join("run.json"), record.to_string()).unwrap();
        edit(desk, name, |summary| {
            summary["response"]["p95_ms"] = p95.into();
            summary["validity"] = serde_json::json!({"verdict": "valid", "reasons": []});
        });
    }
}

#[test]
fn a_finished_run_is_judged_again_with_other_rules() {
    let server = half_bad();
    let desk = Desk::new(TWO);
    assert_eq!(
        code(&make_run(
            &desk,
            &server,
            "a",
            &["--slo", "good: errors <= 0%"]
        )),
        0
    );
    let (own, said, _) = bench(&desk, &["gate", "a"]);
    assert_eq!(own, 0, "{said}");
    let (stricter, said, _) = bench(
        &desk,
        &["gate", "a", "--slo", "bad: p99.9 < 60s, errors < 1%"],
    );
    assert_eq!(stricter, 3);
    // Nothing of `bad` succeeded, so nothing proves its latency.
    assert!(
        said.contains("not measured (no successful request)"),
        "{said}"
    );
    std::fs::write(
        desk.path().join("gate.toml"),
        "[gate]\nrules = ['good: p97.5 < 60s']\n",
    )
    .unwrap();
    let (file, said, _) = bench(&desk, &["gate", "a", "--thresholds", "gate.toml"]);
    assert_eq!(file, 0, "{said}");

    let (wrong, _, said) = bench(&desk, &["gate", "a", "--slo", "god: p95 < 1s"]);
    assert_eq!(
        (wrong, said.trim()),
        (
            2,
            "error: `god: p95 < 1s`: no request is named `god`; the scenario has good, bad"
        )
    );
    let (wrong, _, said) = bench(&desk, &["gate", "nowhere"]);
    assert_eq!(
        (wrong, said.trim()),
        (
            2,
            "error: nowhere is not a run folder: it has no run.json (a run folder holds run.json and summary.json)"
        )
    );
}

#[test]
fn an_invalid_run_passes_nothing_and_becomes_no_baseline() {
    let server = half_bad();
    let desk = Desk::new(TWO);
    make_run(&desk, &server, "a", &["--slo", "good: errors <= 0%"]);
    copies(&desk, "a", ["good-1", "bad-1", "other"], [10.0; 3]);
    edit(&desk, "bad-1", |summary| {
        summary["validity"] = serde_json::json!({"verdict": "invalid", "reasons": ["it was late"]});
    });
    let (judged, said, _) = bench(&desk, &["gate", "bad-1", "--slo", "success > 1%"]);
    assert_eq!(judged, 5, "{said}");
    assert!(
        said.contains("gate invalid") && said.contains("it was late"),
        "{said}"
    );
    let (both, _, _) = bench(
        &desk,
        &["gate", "bad-1", "good-1", "--slo", "success >= 99%"],
    );
    assert_eq!(both, 5);
    let (compared, said, _) = bench(&desk, &["compare", "bad-1", "--baseline", "good-1"]);
    assert_eq!(compared, 5, "{said}");
    let (saved, _, said) = bench(&desk, &["baseline", "save", "main", "bad-1"]);
    assert_eq!(saved, 5);
    assert_eq!(
        said.trim(),
        "not saved: bad-1 is invalid and cannot be a baseline: it was late"
    );
}

#[test]
fn a_baseline_is_saved_listed_shown_compared_with_and_removed() {
    let server = half_bad();
    let desk = Desk::new(TWO);
    make_run(&desk, &server, "a", &[]);
    copies(&desk, "a", ["b1", "b2", "b3"], [100.0, 101.0, 99.0]);
    copies(
        &desk,
        "a",
        ["same1", "same2", "same3"],
        [101.0, 100.0, 99.5],
    );
    copies(
        &desk,
        "a",
        ["slow1", "slow2", "slow3"],
        [140.0, 141.0, 139.0],
    );
    // The other end of `/bad`: every second request fails in all of them, which a rule forbids.
    std::fs::write(
        desk.path().join("rules.toml"),
        "[[rules]]\nmetric = 'p95'\nfail = '25%'\n",
    )
    .unwrap();
    let (saved, said, _) = bench(
        &desk,
        &["baseline", "save", "release/1.2", "b1", "b2", "b3"],
    );
    assert_eq!(
        (saved, said.trim()),
        (0, "saved release/1.2: 3 runs of two")
    );
    assert!(
        desk.path()
            .join("results/baselines/release/1.2/baseline.json")
            .is_file()
    );
    let (_, said, _) = bench(&desk, &["baseline", "list"]);
    assert!(said.contains("release/1.2"), "{said}");
    let (_, said, _) = bench(&desk, &["baseline", "show", "release/1.2"]);
    assert!(
        said.contains("b1") && said.contains("b3") && said.contains("cores"),
        "{said}"
    );

    let against = ["--compare-rules", "rules.toml", "--baseline", "release/1.2"];
    let compare = |runs: &[&str]| bench(&desk, &[&["compare"], runs, &against[..]].concat());
    let (same, said, _) = compare(&["same1", "same2", "same3"]);
    assert_eq!(same, 0, "{said}");
    assert!(
        said.ends_with("against release/1.2: no regression\n"),
        "{said}"
    );
    let (slow, said, _) = compare(&["slow1", "slow2", "slow3"]);
    assert_eq!(slow, 4, "{said}");
    assert!(
        said.contains("REGRESSION (worse by more than") && said.contains("+40.0 %"),
        "{said}"
    );
    let (one, said, _) = bench(
        &desk,
        &[
            "compare",
            "slow1",
            "--compare-rules",
            "rules.toml",
            "--baseline",
            "b1",
        ],
    );
    assert_eq!(one, 4, "{said}");
    assert!(
        said.contains("a single pair cannot tell noise from"),
        "{said}"
    );
    // The documented rules: half of the requests fail, which is above 0.5 % whatever was before.
    let (errors, said, _) = bench(&desk, &["compare", "same1", "--baseline", "release/1.2"]);
    assert_eq!(errors, 4, "{said}");
    assert!(said.contains("above 0.5%"), "{said}");

    let (gone, _, _) = bench(&desk, &["baseline", "rm", "release/1.2"]);
    assert_eq!(gone, 0);
    let (wrong, _, said) = bench(&desk, &["compare", "same1", "--baseline", "release/1.2"]);
    assert_eq!(
        (wrong, said.trim()),
        (
            2,
            "error: no baseline `release/1.2` in results/baselines, which has none"
        )
    );
}

#[test]
fn a_run_is_compared_with_a_baseline_as_it_ends() {
    let server = Server::start(|_| ok("hello"));
    let desk = Desk::new(TWO);
    make_run(&desk, &server, "a", &[]);
    copies(
        &desk,
        "a",
        ["fast", "slow", "other"],
        [0.000_001, 60_000.0, 1.0],
    );
    for (reference, expected, word) in [("slow", 0, "no_regression"), ("fast", 4, "regression")] {
        edit(&desk, reference, |summary| {
            // Only p95 decides: no error anywhere, and p99 has room in both.
            summary["response"]["p99_ms"] = 60_000.0.into();
        });
        let output = make_run(&desk, &server, "now", &["--baseline", reference]);
        assert_eq!(code(&output), expected, "{}", text(&output.stdout));
        let record = json(&desk.path().join("now/run.json"));
        assert_eq!(record["comparison"]["result"], word);
        assert!(!record["bands"].as_array().unwrap().is_empty());
    }
}

#[test]
fn verdicts_are_written_for_continuous_integration() {
    let server = half_bad();
    let desk = Desk::new(TWO);
    let step = desk.path().join("step.md");
    std::fs::write(&step, "before\n").unwrap();
    let output = desk
        .run(
            &server,
            &[
                "--quiet",
                "--slo",
                "bad: errors < 1%, p99 < 60s",
                "--junit",
                "out/junit.xml",
                "--markdown",
                "verdict.md",
                "--step-summary",
                "--annotations",
            ],
        )
        .env("GITHUB_STEP_SUMMARY", &step)
        .output()
        .unwrap();
    assert_eq!(code(&output), 3);
    let said = text(&output.stdout);
    assert!(
        said.contains("::error title=weir-bench%3A two on 4-users%3A bad%3A errors::bad: errors is 100.0 %25, must be < 1.0 %25\n"),
        "{said}"
    );
    let xml = std::fs::read_to_string(desk.path().join("out/junit.xml")).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!(
        (report.tests, report.failures, report.errors),
        (3, 1, 0),
        "{xml}"
    );
    let markdown = std::fs::read_to_string(desk.path().join("verdict.md")).unwrap();
    assert!(
        markdown.contains("| bad: errors | 100.0 % | &lt; 1.0 % | **FAIL** |"),
        "{markdown}"
    );
    assert_eq!(
        std::fs::read_to_string(&step).unwrap(),
        format!("before\n{markdown}")
    );

    let (missing, _, said) = bench(&desk, &["gate", "nowhere", "--step-summary"]);
    assert_eq!(missing, 2);
    assert!(
        said.starts_with("error: --step-summary: $GITHUB_STEP_SUMMARY is not set"),
        "{said}"
    );
}
