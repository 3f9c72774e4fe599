//! What a run watches beside its load: further processes, stages of latency, a flame graph.

use serde_json::Value;
use weir_tests::{
    Replica,
    process::{Finished, run},
    weir::Server as _,
};

/// The workspace, where the configuration is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn in_root(path: &str) -> String {
    format!("{ROOT}/{path}")
}

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn shown(done: &Finished) -> String {
    format!("{:?}\n{}{}", done.code, done.stdout, done.stderr)
}

#[tokio::test]
async fn a_run_divides_its_latency_by_stage_and_samples_what_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    let own = format!("pid:{}", std::process::id());
    let done = run(
        "weir-bench",
        &[
            "run",
            "--scenario",
            &in_root("config/scenarios/rate.toml"),
            "--topology",
            &in_root("config/topologies/one.toml"),
            "--proxy",
            &in_root("config/proxy.toml"),
            "--rate",
            "100/s",
            "--warmup",
            "500ms",
            "--duration",
            "3s",
            "--sample",
            &own,
            "--sample-every",
            "100ms",
            "--profile",
            "2s",
            "--output",
            output.to_str().unwrap(),
            "--quiet",
        ],
    )
    .await;
    // The rate is below the threshold on purpose, and a busy machine makes the generator late.
    assert!(matches!(done.code, Some(0 | 3 | 5)), "{}", shown(&done));
    let record = json(&output.join("run.json"));
    let stages = &record["stages"];
    let rows = stages["rows"]
        .as_array()
        .unwrap_or_else(|| panic!("{record}"));
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["stage"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["queue", "network", "choose", "connect", "wait", "send"]
    );
    let shares: f64 = rows.iter().map(|row| row["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{stages}");
    // The stand-in holds each request for 10 ms: that is what most of the wait is.
    assert!(rows[4]["p50_ms"].as_f64().unwrap() >= 9.0, "{stages}");
    assert!(
        done.stdout.contains("connected to first byte"),
        "{}",
        done.stdout
    );

    let summary = json(&output.join("summary.json"));
    let names: Vec<_> = summary["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| (process["name"].as_str().unwrap(), &process["pid"]))
        .collect();
    assert!(names.iter().any(|(name, _)| *name == "weir"), "{names:?}");
    assert!(
        names.iter().any(|(_, pid)| **pid == std::process::id()),
        "{names:?}"
    );

    let profile = &record["profile"];
    assert_eq!(profile["process"], "weir");
    match profile["file"].as_str() {
        Some(file) => {
            let picture = std::fs::read_to_string(output.join(file)).unwrap();
            assert!(picture.contains("CPU time of weir"));
            assert!(
                std::fs::read_to_string(output.join("report.html"))
                    .unwrap()
                    .contains("flame.svg")
            );
        }
        None => eprintln!(
            "SKIPPED: no flame graph can be drawn here: {}",
            profile["problem"]
        ),
    }
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_before_the_load() {
    for (arguments, reason) in [
        (["--sample", "pid:4194304"], "there is no process 4194304"),
        (["--sample", "weir"], "it names no kind"),
        (["--profile-pid", "4194304"], "there is no process 4194304"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let scenario = in_root("config/scenarios/rate.toml");
        let (topology, proxy) = (
            in_root("config/topologies/one.toml"),
            in_root("config/proxy.toml"),
        );
        let results = folder.path().to_str().unwrap();
        let mut all = vec![
            "run",
            "--scenario",
            &scenario,
            "--topology",
            &topology,
            "--proxy",
            &proxy,
            "--results",
            results,
            "--quiet",
        ];
        all.extend(arguments);
        let done = run("weir-bench", &all).await;
        assert_eq!(done.code, Some(2), "{}", shown(&done));
        assert!(done.stderr.contains(reason), "{}", shown(&done));
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// The only folder in this one.
fn only(results: &std::path::Path) -> std::path::PathBuf {
    std::fs::read_dir(results)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_dir() && !path.is_symlink())
        .expect("a folder")
}

#[tokio::test]
async fn a_killed_replica_is_missed_briefly_and_serves_again() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = std::fs::read_to_string(in_root("config/proxy.toml")).unwrap();
    assert!(proxy.contains("fail_timeout = \"30s\""));
    let fast = folder.path().join("proxy.toml");
    std::fs::write(
        &fast,
        proxy.replace("fail_timeout = \"30s\"", "fail_timeout = \"2s\""),
    )
    .unwrap();
    let results = folder.path().join("results");
    let done = run(
        "weir-bench",
        &[
            "recovery",
            "--topology",
            &in_root("config/topologies/two.toml"),
            "--scenario",
            &in_root("config/scenarios/rate.toml"),
            "--proxy",
            fast.to_str().unwrap(),
            "--rate",
            "100/s",
            "--after",
            "1500ms",
            "--restart-after",
            "1s",
            "--max-errors-for",
            "30s",
            "--max-serving-again",
            "60s",
            "--max-failed",
            "50",
            "--results",
            results.to_str().unwrap(),
            "--quiet",
        ],
    )
    .await;
    // A busy machine makes the generator late, which makes it invalid: 5.
    assert!(matches!(done.code, Some(0 | 5)), "{}", shown(&done));
    let record = json(&only(&results).join("recovery.json"));
    let moments = &record["moments"];
    let at = |name: &str| {
        moments[name]
            .as_f64()
            .unwrap_or_else(|| panic!("no {name}: {record}"))
    };
    assert!(
        at("killed_s") >= 1.4 && at("restarted_s") >= at("killed_s") + 1.0,
        "{moments}"
    );
    assert!(at("served_s") >= at("restarted_s"), "{moments}");
    for row in record["verdict"].as_array().unwrap() {
        assert_eq!(text(row, "status"), "pass", "{record}");
    }
    // The proxy spares clients nearly all of it: at most what was in flight and three tries fail.
    let (ok, errors) = (
        record["ok"].as_u64().unwrap(),
        record["errors"].as_u64().unwrap(),
    );
    assert!(ok > 100 && errors < ok / 5, "{ok} {errors}");
    let by_second: u64 = record["seconds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|second| second["errors"].as_u64().unwrap())
        .sum();
    assert_eq!(by_second, errors, "{record}");
    assert!(
        done.stdout.contains("replica-1 serves again"),
        "{}",
        done.stdout
    );
    assert!(only(&results).join("report.html").exists());
}

#[tokio::test]
async fn what_cannot_recover_is_refused_before_the_load() {
    let results = tempfile::tempdir().unwrap();
    let done = run(
        "weir-bench",
        &[
            "recovery",
            "--topology",
            &in_root("config/topologies/two.toml"),
            "--proxy",
            &in_root("config/proxy.toml"),
            "--kill",
            "replica-3",
            "--results",
            results.path().to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(done.code, Some(2), "{}", shown(&done));
    assert!(
        done.stderr.contains("it has replica-1, replica-2"),
        "{}",
        shown(&done)
    );
    let direct = run(
        "weir-bench",
        &[
            "recovery",
            "--topology",
            &in_root("config/topologies/direct.toml"),
            "--proxy",
            &in_root("config/proxy.toml"),
        ],
    )
    .await;
    assert_eq!(direct.code, Some(2), "{}", shown(&direct));
}

#[tokio::test]
async fn the_cost_of_the_proxy_is_measured_in_pairs() {
    let results = tempfile::tempdir().unwrap();
    let done = run(
        "weir-bench",
        &[
            "overhead",
            "--direct",
            &in_root("config/topologies/direct.toml"),
            "--topology",
            &in_root("config/topologies/one.toml"),
            "--scenario",
            &in_root("config/scenarios/rate.toml"),
            "--proxy",
            &in_root("config/proxy.toml"),
            "--pairs",
            "3",
            "--rate",
            "60/s",
            "--warmup",
            "500ms",
            "--duration",
            "1s",
            "--results",
            results.path().to_str().unwrap(),
            "--quiet",
        ],
    )
    .await;
    assert!(matches!(done.code, Some(0 | 3 | 5)), "{}", shown(&done));
    let record = json(&only(results.path()).join("overhead.json"));
    assert_eq!(record["pairs"].as_array().unwrap().len(), 3);
    let added = record["added"].as_array().unwrap();
    let metrics: Vec<_> = added.iter().map(|row| text(row, "metric")).collect();
    assert_eq!(metrics, ["mean", "p50", "p95", "p99"]);
    for row in added {
        let (low, high) = (
            row["interval_ms"][0].as_f64().unwrap(),
            row["interval_ms"][1].as_f64().unwrap(),
        );
        let mean = row["added_ms"].as_f64().unwrap();
        assert!(low <= mean && mean <= high, "{row}");
    }
    for pair in record["pairs"].as_array().unwrap() {
        assert!(pair["proxy_us_per_request"].as_f64().unwrap() >= 0.0);
        assert!(
            pair["proxy_rss_end"].as_u64().unwrap() > 1_000_000,
            "{pair}"
        );
    }
    assert_eq!(record["verdict"].as_array().unwrap().len(), 4);

    let unequal = run(
        "weir-bench",
        &[
            "overhead",
            "--direct",
            &in_root("config/topologies/direct.toml"),
            "--topology",
            &in_root("config/topologies/two.toml"),
            "--scenario",
            &in_root("config/scenarios/rate.toml"),
        ],
    )
    .await;
    assert_eq!(unequal.code, Some(2), "{}", shown(&unequal));
    assert!(unequal.stderr.contains("one replica of the same capacity"));
}

#[tokio::test]
async fn the_suite_runs_against_what_is_running() {
    let replica = Replica::start(&["--service-time", "1ms"]).await;
    let results = tempfile::tempdir().unwrap();
    let target = format!("http://{}", replica.addr());
    let suite = in_root("config/suite.toml");
    let all = |only: &[&str]| -> Vec<String> {
        let mut words = vec![
            "suite",
            "--quick",
            "--quiet",
            "--suite",
            &suite,
            "--target",
            &target,
            "--results",
            results.path().to_str().unwrap(),
        ];
        for text in only {
            words.extend(["--only", text]);
        }
        words.into_iter().map(str::to_owned).collect()
    };
    let words = all(&["sequential", "mixed", "burst"]);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let done = run("weir-bench", &words).await;
    assert!(matches!(done.code, Some(0 | 5)), "{}", shown(&done));
    let folder = only(results.path());
    let record = json(&folder.join("suite.json"));
    let tests = record["tests"].as_array().unwrap();
    let names: Vec<_> = tests.iter().map(|test| text(test, "name")).collect();
    assert_eq!(names, ["sequential", "mixed", "burst of 1000"]);
    for test in tests {
        assert!(
            test["ok"].as_u64().unwrap() > 0 && test["errors"] == 0,
            "{test}"
        );
        let latency = &test["response"];
        let ms = |name: &str| latency[name].as_f64().unwrap();
        assert!(
            ms("min_ms") <= ms("p50_ms")
                && ms("p50_ms") <= ms("p99_ms")
                && ms("p99_ms") <= ms("max_ms")
        );
        assert!(folder.join(text(test, "file")).exists());
        // Bands of the file beside the scenarios: four percentiles, and throughput by concurrency.
        let bands = test["bands"].as_array().unwrap();
        let of = |metric: &str| bands.iter().find(|row| row["metric"] == metric);
        assert!(of("p50").is_some() && of("p99.9").is_some(), "{test}");
        let throughput = of("throughput");
        if text(test, "name") == "sequential" {
            let row = throughput.unwrap();
            assert_eq!(row["note"], "from concurrency 1 on");
            assert_eq!(row["limits"], "at least 10/s");
        }
    }
    let burst = &tests[2];
    let all_of_it = burst["requests"].as_u64().unwrap() + burst["unsent"].as_u64().unwrap();
    assert_eq!(all_of_it, 1000, "{burst}");
    assert!(done.stdout.contains("burst of 1000"), "{}", done.stdout);
    let is_narrow = |line: &str| line.chars().count() <= 100;
    assert!(done.stdout.lines().all(is_narrow), "{}", done.stdout);
    assert!(folder.join("report.html").exists());

    let words = all(&["no such test"]);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let none = run("weir-bench", &words).await;
    assert_eq!(none.code, Some(2), "{}", shown(&none));
    assert!(none.stderr.contains("concurrency 25"));
}
