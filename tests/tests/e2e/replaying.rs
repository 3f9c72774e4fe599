//! A log that the proxy wrote is what the generator replays.

use std::fs;

use serde_json::Value;
use weir_tests::{Replica, Weir, process::run, weir::Server as _};

#[tokio::test]
async fn what_the_proxy_logged_is_sent_once_more() {
    let replica = Replica::start(&["--fast"]).await;
    let weir = Weir::before(&[&replica]).start().await;
    // Twenty reads, three of which find nothing, and a write, which a log has no body of.
    for number in 0..17 {
        weir.get(&format!("/health?n={number}")).await.expect(200);
    }
    for _ in 0..3 {
        weir.get("/no/such/page").await.expect(404);
    }
    weir.request("POST", "/api/v1/auth/login", "content-length: 0\r\n")
        .await;
    let lines = weir.logged(21).await;
    assert_eq!(lines.len(), 21);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path("access.log"), text).unwrap();
    let (log, scenario, out) = (path("access.log"), path("log.toml"), path("out"));
    let done = run(
        "weir-bench",
        &["import", "access-log", &log, "--output", &scenario],
    )
    .await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let written = fs::read_to_string(&scenario).unwrap();
    assert!(
        written.contains("# 1 requests that change something were left out"),
        "{written}"
    );
    // Against a stand-in of its own, whose count begins at nothing.
    let fresh = Replica::start(&["--fast"]).await;
    let target = format!("http://{}", fresh.addr());
    let arguments = [
        "run",
        "--scenario",
        &scenario,
        "--target",
        &target,
        "--output",
        &out,
        "--quiet",
    ];
    let done = run("weir-bench", &arguments).await;
    let file = fs::read(path("out/summary.json"));
    let file = file.unwrap_or_else(|error| panic!("{error}: {}", done.stderr));
    let summary: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(summary["requests"], 20, "{summary}");
    assert_eq!(
        summary["ok"], 20,
        "a 404 of then is expected now: {}",
        summary["failures"]
    );
    assert_eq!(summary["errors"], 0);
}
