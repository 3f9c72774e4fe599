//! `weir-bench autotune` by the real programs: what it proposes is proven, and on a page.

use std::{path::Path, process::Output, time::Duration};

use serde_json::Value;
use tokio::process::Command;
use weir_tests::process::program;

/// A search takes longer than a single step of other tests.
const SEARCH: Duration = Duration::from_secs(240);

/// A volley of 60 from one client, of which the documented burst passes 21.
const CLAIM: &str = r#"
    [[claim]]
    row = "spike"
    setting = "rate_limit.api_limit.burst"
    current = 20
    recommended = [50]
    metric = "admitted_share"
    direction = "higher"
    smallest_effect = "5%"
    binds = "rejected > 0"
    exact = true
    binding = { workload = "burst", size = 60 }
    control = { workload = "burst", size = 5 }
"#;

/// Searches in a folder, with the results below `results` in it.
async fn search(dir: &Path, slo: &[&str]) -> Output {
    std::fs::write(dir.join("claims.toml"), CLAIM).unwrap();
    let mut command = Command::new(program("weir-bench"));
    command
        .args(["autotune", "--quick", "--workload", "spike"])
        .args(["--claims", "claims.toml"])
        .args(slo.iter().flat_map(|slo| ["--slo", slo]))
        .current_dir(dir)
        .kill_on_drop(true);
    let output = tokio::time::timeout(SEARCH, command.output()).await;
    output.expect("a search takes too long").unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test]
async fn a_search_proposes_what_it_has_proven() {
    let dir = tempfile::tempdir().unwrap();
    let output = search(dir.path(), &["rejected <= 0", "limited<=0%,success>=100%"]).await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let latest = dir.path().join("results/latest");
    let file = std::fs::read(latest.join("autotune.json")).unwrap();
    let report: Value = serde_json::from_slice(&file).unwrap();
    let burst = &report["proposal"]["rate_limit"]["api_limit"]["burst"];
    assert!(
        burst.as_u64() >= Some(50),
        "a volley of 60 needs about 59: {said}"
    );
    assert_eq!(
        report["slo"],
        serde_json::json!(["rejected <= 0", "limited <= 0%", "success >= 100%"])
    );
    assert_eq!(report["proof"]["met"], 6, "{said}");
    assert_eq!(report["proof"]["met_before"], 0, "{said}");
    assert_eq!(report["restored"], true, "{said}");
    for line in said.lines().filter(|line| !line.contains('/')) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    // The page: objective, candidates by round, proof, patch; nothing is loaded.
    let page = std::fs::read_to_string(latest.join("report.html")).unwrap();
    for part in [
        "rejected &lt;= 0 and limited &lt;= 0% and success &gt;= 100%",
        "Candidates by round",
        "all pairs (95 %)",
        "went to the proof",
        "after round 1",
        "pair by pair",
        "6 of 6 pairs with it, in 0 with the current values",
        "The patch",
        // The template writes slashes as entities.
        "PATCH &#x2f;v1&#x2f;settings",
        "a proposal, proven",
        "every trial value put back",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let row = format!(
        "<td>rate_limit.api_limit.burst</td><td class=\"n\">20</td><td class=\"n\">{burst}</td>"
    );
    assert!(page.contains(&row), "{row}");
    assert!(!page.contains("src=\"http"));
}

#[tokio::test]
async fn an_objective_that_nobody_meets_fails_the_gate() {
    let dir = tempfile::tempdir().unwrap();
    let output = search(dir.path(), &["rejected < 0"]).await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let page = std::fs::read_to_string(dir.path().join("results/latest/report.html")).unwrap();
    assert!(page.contains("keep the current values"), "{said}");
    assert!(page.contains("None: the current values stay."), "{said}");
}

#[tokio::test]
async fn an_objective_that_is_not_measured_is_answered_with_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    for (slo, wanted) in [
        (
            "happiness > 1",
            "does not measure `happiness`; it measures admitted_share",
        ),
        (
            "p99<200ms",
            "does not measure `p99`; it measures admitted_share",
        ),
        ("errors<0.1", "write 0 to 100 with a %"),
        ("login: errors<1%", "no endpoints with names"),
    ] {
        let output = search(dir.path(), &[slo]).await;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{slo}: {said}");
        assert!(said.contains(wanted), "{slo}: {said}");
        assert!(
            said.contains("errors, success, limited") || slo.contains(':'),
            "{said}"
        );
    }
    assert!(!dir.path().join("results").exists(), "nothing was started");
}
