//! What a run watches beside its load: further processes, stages of latency, a flame graph.

use serde_json::Value;
use weir_tests::process::{Finished, run};

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
