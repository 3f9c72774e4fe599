//! Capacity from the real proxy: searches of one replica and of two, a demonstration, and the plan
//! that rests on them. Budgets are tiny: what is written must be right, not fast.

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::process::{Finished, run};

/// The workspace, where the configuration is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn in_root(path: &str) -> String {
    format!("{ROOT}/{path}")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn shown(done: &Finished) -> String {
    format!("{:?}\n{}{}", done.code, done.stdout, done.stderr)
}

/// The most requests in flight, 1 to 16, with which a topology still answers within five seconds:
/// all of them hold, however busy the machine is.
async fn search(topology: &str, output: &Path) -> Value {
    let done = run(
        "weir-bench",
        &[
            "search",
            "--topology",
            &in_root(&format!("config/topologies/{topology}.toml")),
            "--scenario",
            &in_root("config/scenarios/rate.toml"),
            "--proxy",
            &in_root("config/proxy.toml"),
            "--over",
            "connections",
            "--min",
            "1",
            "--max",
            "16",
            "--start",
            "4",
            "--slo",
            "p99<5s,errors<1%",
            "--probe",
            "300ms",
            "--warmup",
            "100ms",
            "--confirm",
            "1",
            "--budget",
            "30s",
            "--output",
            output.to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(done.code, Some(0), "{}", shown(&done));
    assert!(output.join("report.html").is_file());
    json(&output.join("search.json"))
}

#[tokio::test]
async fn a_plan_rests_on_searches_of_one_replica_and_of_two_through_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    for (topology, replicas) in [("one", 1), ("two", 2)] {
        let record = search(topology, &folder.path().join(topology)).await;
        assert_eq!(record["topology"]["proxy"], true);
        let started = record["topology"]["replicas"].as_array().unwrap();
        assert_eq!(started.len(), replicas, "{record}");
        assert_eq!(
            (&record["answer"]["confirmed"], &record["answer"]["limit"]),
            (&true.into(), &"maximum".into())
        );
        // 4, 8 and 16 hold, and 16 once more; the limits that were raised are back.
        assert_eq!(record["probes"].as_array().unwrap().len(), 4, "{record}");
        assert_eq!(record["tuning"]["restored"], true, "{}", record["tuning"]);
    }

    let folders = ["one", "two"].map(|name| folder.path().join(name));
    let plan = folder.path().join("plan.json");
    let done = plan_of(&folders, &plan).await;
    assert_eq!(done.code, Some(0), "{}", shown(&done));
    assert!(
        done.stdout.contains("held; nothing higher was tried"),
        "{}",
        done.stdout
    );
    // The efficiency was measured, and what a day of requests needs follows from it.
    let plan = json(&plan);
    assert!(!done.stdout.contains("ASSUMED"), "{}", done.stdout);
    assert_eq!(plan["rows"].as_array().unwrap().len(), 2);
    assert_eq!(plan["rows"][0]["need"]["steady"], 1, "{plan}");
}

async fn plan_of(folders: &[PathBuf], output: &Path) -> Finished {
    let mut words = vec!["plan"];
    words.extend(folders.iter().map(|folder| folder.to_str().unwrap()));
    let demands = ["--target-rate", "1/s", "--target-rate", "43M/day"];
    words.extend(demands);
    words.extend(["--output", output.to_str().unwrap()]);
    run("weir-bench", &words).await
}
