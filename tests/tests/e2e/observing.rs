//! What the proxy tells about itself.

use weir_tests::{Origin, Reply, Weir, weir::Server as _};

#[tokio::test]
async fn every_request_is_a_line_of_json() {
    let api = Origin::start(|request| {
        Reply::text("hello").with_status(if request.target == "/bad" { 500 } else { 200 })
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .request("GET", "/a?b=%22c%22", "User-Agent: test \"x\"\\\r\n")
        .await
        .expect(200);
    client.get("/bad").await.expect(500);
    let lines = weir.logged(2).await;
    let line = &lines[0];
    assert_eq!(line["method"], "GET");
    assert_eq!(line["target"], "/a?b=%22c%22");
    assert_eq!(
        (&line["status"], &line["bytes"]),
        (&200.into(), &5.into()),
        "{line}"
    );
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["host"], "test");
    assert_eq!(line["user_agent"], "test \"x\"\\");
    assert_eq!(line["server"], api.addr().to_string());
    assert_eq!(
        line["id"],
        api.requests()[0].header("X-Request-Id").unwrap()
    );
    assert!(
        line["duration_ms"].as_f64().unwrap() >= line["first_byte_ms"].as_f64().unwrap(),
        "{line}"
    );
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines[1]["status"], 500);
}

#[tokio::test]
async fn the_stages_of_a_request_add_up_and_the_client_learns_them_if_it_may() {
    let api = Origin::start(|_| Reply::text("hello").header("Server-Timing", "db;dur=5")).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    let quiet = client.get("/").await.expect(200);
    assert_eq!(
        quiet.header("Server-Timing"),
        Some("db;dur=5"),
        "only the server's own"
    );
    let on = serde_json::json!({ "client": { "server_timing": true } });
    weir.admin.patch(on).await;
    let told = client.get("/").await.expect(200);
    let timing = told
        .headers
        .all("Server-Timing")
        .collect::<Vec<_>>()
        .join(", ");
    for stage in ["db;dur=5", "choose;dur=", "connect;dur=", "wait;dur="] {
        assert!(timing.contains(stage), "{timing}");
    }
    for line in weir.logged(2).await {
        let stage = |name: &str| line["stages_us"][name].as_u64().unwrap();
        let sum: u64 = ["choose", "connect", "wait", "send"]
            .map(stage)
            .iter()
            .sum();
        let duration = line["duration_ms"].as_f64().unwrap() * 1e3;
        // Each stage is cut to a whole microsecond.
        assert!((duration - sum as f64).abs() <= 4.0, "{line}");
        assert!(stage("wait") > 0, "{line}");
    }
}

#[tokio::test]
async fn requests_that_no_server_saw_are_logged_too() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with(
            "route = [{ path = '/api', upstream = 'api', rate_limit = ['z'] }]
             rate_limit.z = { rate = '1r/m' }",
        )
        .start()
        .await;
    let mut client = weir.connect().await;
    client.get("/other").await.expect(404);
    client.get("/api").await.expect(200);
    client.get("/api").await.expect(429);
    let lines = weir.logged(3).await;
    assert_eq!(
        lines
            .iter()
            .map(|line| line["status"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [404, 200, 429]
    );
    assert_eq!(lines[2]["limit"], "rejected:z", "{}", lines[2]);
    assert!(lines[0]["stages_us"].is_null() && lines[1]["stages_us"].is_object());
}

#[tokio::test]
async fn the_log_can_be_text_in_a_file() {
    let api = Origin::named("hello").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let weir = Weir::before(&[&api])
        .with(&format!(
            "access_log = {{ format = 'text', path = '{}' }}",
            file.path().display()
        ))
        .start()
        .await;
    weir.request("GET", "/a", "User-Agent: curl\r\nReferer: http://b/\r\n")
        .await
        .expect(200);
    let line = weir_tests::wait::eventually_some("a line", async || {
        std::fs::read_to_string(file.path())
            .ok()
            .filter(|text| text.ends_with('\n'))
    })
    .await;
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.contains("\"GET /a HTTP/1.1\" 200 5 \"http://b/\" \"curl\""),
        "{line}"
    );
}

#[tokio::test]
async fn the_log_can_be_off() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("access_log.enabled = false")
        .start()
        .await;
    weir.get("/").await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert_eq!(weir.process.stdout(), "");
}

#[tokio::test]
async fn the_log_file_is_opened_anew_on_request() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let weir = Weir::before(&[&api])
        .with(&format!("access_log.path = '{}'", file.display()))
        .start()
        .await;
    let lines = |path: &std::path::Path| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .count()
    };
    weir.get("/before").await.expect(200);
    weir_tests::eventually("a line", || lines(&file) == 1).await;
    std::fs::rename(&file, dir.path().join("rotated.log")).unwrap();
    weir.process.signal(nix::sys::signal::Signal::SIGUSR1);
    weir_tests::wait::eventually_some("a line in the new file", async || {
        weir.get("/after").await.expect(200);
        (lines(&file) > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let api = Origin::start(|request| {
        Reply::text("hello").with_status(if request.target == "/bad" { 500 } else { 200 })
    })
    .await;
    let weir = Weir::before(&[&api])
        .with(
            "route = [{ upstream = 'api', rate_limit = ['z'] }]
             rate_limit.z = { rate = '1r/m', burst = 3, nodelay = true }",
        )
        .start()
        .await;
    let mut client = weir.connect().await;
    for (target, status) in [
        ("/", 200),
        ("/", 200),
        ("/bad", 500),
        ("/", 200),
        ("/", 429),
        ("/", 429),
    ] {
        client.get(target).await.expect(status);
    }
    weir.logged(6).await;
    for (name, value) in [
        ("weir_requests_total{code=\"200\",route=\"/\"}", 3.0),
        ("weir_requests_total{code=\"500\",route=\"/\"}", 1.0),
        ("weir_requests_total{code=\"429\",route=\"/\"}", 2.0),
        ("weir_request_duration_seconds_count{route=\"/\"}", 6.0),
        (
            "weir_rate_limit_decisions_total{decision=\"admitted\",limit=\"z\"}",
            4.0,
        ),
        (
            "weir_rate_limit_decisions_total{decision=\"rejected\",limit=\"z\"}",
            2.0,
        ),
        ("weir_rate_limit_keys{limit=\"z\"}", 1.0),
        (
            "weir_upstream_connections_total{kind=\"opened\",upstream=\"api\"}",
            1.0,
        ),
        (
            "weir_upstream_connections_total{kind=\"reused\",upstream=\"api\"}",
            3.0,
        ),
        ("weir_connections{side=\"client\"}", 1.0),
        ("weir_requests_in_flight", 0.0),
    ] {
        assert_eq!(
            weir.metric(name).await,
            value,
            "{name}\n{}",
            weir.admin.text("/metrics").await
        );
    }
    assert!(
        weir.metric("process_resident_memory_bytes").await > 1e6,
        "{}",
        weir.admin.text("/metrics").await
    );
    let up = format!(
        "weir_server_up{{server=\"{}\",upstream=\"api\"}}",
        api.addr()
    );
    assert_eq!(weir.metric(&up).await, 1.0);
    assert!(weir.metric("weir_settings_revision").await >= 1.0);
}

#[tokio::test]
async fn health_and_readiness() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    assert_eq!(weir.admin.status("/healthz").await, 200);
    assert_eq!(weir.admin.status("/readyz").await, 200);
    assert_eq!(weir.admin.status("/nothing").await, 404);
}

#[tokio::test]
async fn the_admin_api_is_not_on_the_listener() {
    let api = Origin::named("from the origin").await;
    let weir = Weir::before(&[&api]).start().await;
    for path in ["/metrics", "/v1/settings", "/healthz"] {
        assert_eq!(weir.get(path).await.text(), "from the origin");
    }
}

#[tokio::test]
async fn metrics_say_what_the_process_uses_and_may_use() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let used = weir.metric("process_resident_memory_bytes").await;
    let limit = weir.metric("weir_memory_limit_bytes").await;
    assert!(used > 1e6 && used < limit, "{used} of {limit}");
    let cores = weir.metric("weir_cpu_limit_cores").await;
    assert!(cores > 0.0, "{cores}");
    let text = weir.admin.text("/metrics").await;
    assert!(text.contains("weir_build_info{version=\""), "{text}");
}
