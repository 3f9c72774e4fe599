//! `weir-bench scaling` by the real programs: what a second replica buys.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use weir_tests::process::program;

/// All topologies take longer than a single step of other tests.
const CHECK: Duration = Duration::from_secs(240);

#[tokio::test]
async fn two_replicas_are_measured_against_one_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = Command::new(program("weir-bench"))
        .args(["scaling", "--quick", "--only-weir", "--replicas", "1,2"])
        // Few slots and long services: what limits is the declared capacity, not this machine.
        .args(["--slots", "4", "--service-time", "40ms", "--output"])
        .arg(&out)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(CHECK, output).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in said
        .lines()
        .filter(|line| !line.starts_with("everything: "))
    {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for wanted in [
        "✓ pass",
        "Limited by: ",
        "Tuning applied: no rate limit",
        "none, there is no proxy",
    ] {
        let whole = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(whole.contains(wanted), "{wanted}: {said}");
    }
    let report: Value =
        serde_json::from_slice(&std::fs::read(out.join("scaling.json")).unwrap()).unwrap();
    let topologies = report["topologies"].as_array().unwrap();
    assert_eq!(topologies.len(), 3, "direct, one and two: {said}");
    // 100 requests a second each by declaration; never more.
    for topology in topologies {
        let replicas = topology["replicas"].as_f64().unwrap();
        let rps = topology["mean_rps"].as_f64().unwrap();
        assert!(rps > 0.0 && rps <= 115.0 * replicas, "{topology}");
    }
    let efficiency = report["efficiency"][0]["efficiency"].as_f64().unwrap();
    assert!((0.4..=1.2).contains(&efficiency), "{said}");
    assert!(report["efficiency"][0]["interval"].is_array(), "{said}");
    assert_eq!(report["sweeps"].as_array().unwrap().len(), 2);
    assert!(report["sweeps"][1]["points"].as_array().unwrap().len() >= 8);
    // The slow replica holds round_robin's clients, which least_conn spares.
    let gain = report["balance"]["gain"].as_f64().unwrap();
    assert!(gain > 0.1, "{said}");
    let failing = &report["failing"][0];
    assert!(
        failing["requests"].as_u64() > failing["failed"].as_u64(),
        "{said}"
    );
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in [
        "Saturated",
        "weir, 2 replicas",
        "Efficiency",
        "Throughput over concurrency",
        "A slow and a failing replica",
    ] {
        assert!(page.contains(part), "{part}");
    }
}
