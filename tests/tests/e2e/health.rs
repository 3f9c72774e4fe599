//! Active health checks: servers that are ill get no requests, and all of it can be changed while it runs.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use weir_tests::{
    Gate, Origin, Reply, Weir, eventually,
    process::run,
    wait::eventually_some,
    weir::{Builder, Server as _},
};

/// A server whose health a test decides on.
struct Patient {
    origin: Origin,
    health: Arc<Mutex<Reply>>,
}

impl Patient {
    /// Answers `/health` with 200 at first, and everything else with `reply`.
    async fn answering(reply: Reply) -> Self {
        let health = Arc::new(Mutex::new(Reply::text("well")));
        let now = Arc::clone(&health);
        let origin = Origin::start(move |request| match request.target.as_str() {
            "/health" => now.lock().unwrap().clone(),
            _ => reply.clone(),
        })
        .await;
        Self { origin, health }
    }

    async fn named(name: &str) -> Self {
        Self::answering(Reply::text(name)).await
    }

    fn is(&self, health: Reply) {
        *self.health.lock().unwrap() = health;
    }

    /// Checks and other requests it has got.
    fn got(&self) -> (usize, usize) {
        let requests = self.origin.requests();
        let checks = requests.iter().filter(|it| it.target == "/health").count();
        (checks, requests.len() - checks)
    }

    async fn seen_by(&self, weir: &Weir) -> Value {
        weir.admin.server(self.origin.addr()).await
    }

    /// Waits until the proxy has it in this state.
    async fn becomes(&self, weir: &Weir, state: &str) -> Value {
        eventually_some(&format!("a server to be {state}"), async || {
            let seen = self.seen_by(weir).await;
            (seen["state"] == state).then_some(seen)
        })
        .await
    }

    /// Waits until the proxy has seen it pass a check.
    async fn passes(&self, weir: &Weir) {
        eventually_some("a passed check", async || {
            (self.seen_by(weir).await["check"]["state"] == "up").then_some(())
        })
        .await;
    }

    /// Waits until the proxy has checked it that often.
    async fn is_checked(&self, times: usize) {
        let until = self.got().0 + times;
        eventually(&format!("{times} checks"), || self.got().0 >= until).await;
    }

    /// One of its samples in `/metrics`.
    async fn metric(&self, weir: &Weir, name: &str, labels: &str) -> f64 {
        let server = self.origin.addr();
        let labels = format!("{{{labels}server=\"{server}\",upstream=\"api\"}}");
        weir.metric(&format!("weir_upstream_server_{name}{labels}"))
            .await
    }
}

const CHECKS: &str = "upstream.api.health_check = { path = '/health', interval = '100ms', timeout = '2s', rise = 2, fall = 2 }";

fn before(patients: &[&Patient]) -> Builder {
    let servers: Vec<_> = patients.iter().map(|it| &it.origin as _).collect();
    Weir::before(&servers).with("upstream.api.retry.tries = 1")
}

/// The lines of the log about changes by health checks.
fn changes(weir: &Weir) -> Vec<String> {
    let log = weir.process.stderr();
    let about = |line: &&str| line.contains("health checks have");
    log.lines().filter(about).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_server_that_fails_its_checks_is_out_until_it_passes_them() {
    let (a, b) = (Patient::named("a").await, Patient::named("b").await);
    let weir = before(&[&a, &b]).with(CHECKS).start().await;
    a.passes(&weir).await;
    for _ in 0..4 {
        weir.get("/").await.expect(200);
    }
    assert!(a.got().1 > 0, "it gets requests while it is well");
    assert_eq!(a.metric(&weir, "check_up", "").await, 1.0);

    a.is(Reply::status(500));
    let seen = a.becomes(&weir, "unhealthy").await;
    assert_eq!(seen["check"]["state"], "out");
    assert_eq!(seen["check"]["last"]["result"], "status");
    assert_eq!(seen["check"]["last"]["why"], "answered 500");
    let (_, requests) = a.got();
    for _ in 0..10 {
        assert_eq!(weir.get("/").await.expect(200).text(), "b");
    }
    assert_eq!(a.got().1, requests);
    // What was idle is closed: only a check may have a connection.
    eventually("idle connections to close", || a.origin.open() <= 1).await;
    assert_eq!(a.seen_by(&weir).await["connections"]["idle"], 0);
    assert_eq!(a.metric(&weir, "check_up", "").await, 0.0);
    assert!(a.metric(&weir, "checks_total", "result=\"status\",").await >= 2.0);
    assert_eq!(b.metric(&weir, "check_up", "").await, 1.0);

    a.is(Reply::status(204));
    a.becomes(&weir, "up").await;
    let mut client = weir.connect().await;
    let answers = [client.get("/").await.text(), client.get("/").await.text()];
    assert!(answers.contains(&"a".to_owned()), "{answers:?}");
    let told = changes(&weir);
    assert_eq!(told.len(), 2, "one line for each change: {told:?}");
    assert!(told[0].contains("answered 500"), "{told:?}");
    assert!(told[1].contains("answered 204"), "{told:?}");
    assert!(a.origin.faults().is_empty(), "{:?}", a.origin.faults());
}

#[tokio::test]
async fn a_server_that_hangs_keeps_what_it_has_and_gets_no_more() {
    let gate = Gate::closed();
    let hanging = Patient::answering(Reply::text("late").when(&gate)).await;
    let well = Patient::named("well").await;
    let weir = before(&[&hanging, &well])
        .with(CHECKS)
        .with("upstream.api.health_check.timeout = '200ms'")
        .start()
        .await;
    hanging.passes(&weir).await;
    // Two requests in turn: one of them is held.
    let mut clients = [weir.connect().await, weir.connect().await];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    eventually("a request to be held", || hanging.got().1 == 1).await;
    hanging.is(Reply::hang());
    let seen = hanging.becomes(&weir, "unhealthy").await;
    assert_eq!(seen["check"]["last"]["result"], "timeout");
    assert_eq!(seen["in_flight"], 1);
    for _ in 0..5 {
        assert_eq!(weir.get("/").await.expect(200).text(), "well");
    }
    // Nothing in flight is dropped.
    gate.open();
    let mut answers = Vec::new();
    for client in &mut clients {
        answers.push(client.answer().await.expect(200).text());
    }
    answers.sort();
    assert_eq!(answers, ["late", "well"]);
    assert_eq!(hanging.seen_by(&weir).await["failures"], 0);
}

#[tokio::test]
async fn nobody_well_is_said_at_once_also_of_a_lone_server() {
    let lone = Patient::named("a").await;
    let weir = before(&[&lone]).with(CHECKS).start().await;
    lone.is(Reply::close());
    let seen = lone.becomes(&weir, "unhealthy").await;
    assert_eq!(seen["check"]["last"]["result"], "broken");
    let (_, requests) = lone.got();
    weir.get("/").await.expect(502);
    assert_eq!(lone.got().1, requests);
    let logged = &weir.logged(1).await[0];
    assert_eq!(logged["error"], "no live upstream server");
    lone.is(Reply::text("well"));
    lone.becomes(&weir, "up").await;
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn backups_stand_in_and_servers_that_are_down_are_checked_too() {
    let (a, backup) = (Patient::named("a").await, Patient::named("backup").await);
    let down = Patient::named("down").await;
    let server = |it: &Patient, more: &str| format!("{{ address = '{}'{more} }}", it.origin.addr());
    let weir = before(&[&a])
        .servers(&[
            server(&a, ""),
            server(&backup, ", backup = true"),
            server(&down, ", down = true"),
        ])
        .with(CHECKS)
        .start()
        .await;
    a.is(Reply::status(503));
    down.is(Reply::status(503));
    a.becomes(&weir, "unhealthy").await;
    assert_eq!(weir.get("/").await.expect(200).text(), "backup");
    let seen = eventually_some("a server that is down to be checked", async || {
        let seen = down.seen_by(&weir).await;
        (seen["check"]["state"] == "out").then_some(seen)
    })
    .await;
    assert_eq!(seen["state"], "down");
    // Put back, it waits until it is well.
    let path = format!("/v1/upstreams/api/servers/{}", down.origin.addr());
    let put_back = Some(r#"{"down":false}"#);
    weir.admin.send("PATCH", &path, put_back).await.expect(200);
    down.becomes(&weir, "unhealthy").await;
    down.is(Reply::text("well"));
    down.becomes(&weir, "up").await;
    assert_eq!(weir.get("/").await.expect(200).text(), "down");
}

#[tokio::test]
async fn a_new_server_is_up_until_its_first_check_which_decides_alone() {
    let (a, late) = (Patient::named("a").await, Patient::named("late").await);
    late.is(Reply::status(500));
    let weir = before(&[&a])
        .with(CHECKS)
        .with("upstream.api.health_check.fall = 100")
        .start()
        .await;
    a.passes(&weir).await;
    let body = json!({"address": late.origin.addr().to_string()}).to_string();
    let path = "/v1/upstreams/api/servers";
    weir.admin.send("POST", path, Some(&body)).await.expect(201);
    late.becomes(&weir, "unhealthy").await;
    // One that has passed has the whole patience.
    a.is(Reply::status(500));
    a.is_checked(4).await;
    assert_eq!(a.seen_by(&weir).await["state"], "up");
    assert_eq!(changes(&weir).len(), 1, "{:?}", changes(&weir));
}

#[tokio::test]
async fn the_interval_changes_while_it_runs_and_an_override_of_it_goes_back() {
    let a = Patient::named("a").await;
    let weir = before(&[&a])
        .with(CHECKS)
        .with("upstream.api.health_check.interval = '1h'")
        .start()
        .await;
    a.passes(&weir).await;
    a.is(Reply::status(500));
    let set = ["set", "upstream.api.health_check.interval=100ms"];
    let args = [&["ctl", "--node", weir.admin.address()], &set[..]].concat();
    let done = run("weir", &args).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains("100ms"), "{}", done.stdout);
    a.becomes(&weir, "unhealthy").await;
    let body = json!({"upstream": {"api": {"health_check": {"rise": 0}}}});
    let refused = weir.admin.try_patch(&body.to_string()).await.expect(422);
    assert_eq!(refused["error"]["field"], "upstream.api.health_check.rise");
    // Whatever the status is, for a second.
    let lenient = json!({"upstream": {"api": {"health_check": {"status": "100-599"}}}});
    weir.admin.override_for("1s", lenient).await;
    a.becomes(&weir, "up").await;
    a.becomes(&weir, "unhealthy").await;
}

#[tokio::test]
async fn checks_can_be_switched_off_and_on_and_off_puts_servers_back() {
    let a = Patient::named("a").await;
    a.is(Reply::status(500));
    let weir = before(&[&a]).start().await;
    weir.get("/").await.expect(200);
    assert_eq!(a.got().0, 0, "without a path there are no checks");
    assert_eq!(a.seen_by(&weir).await.get("check"), None);
    let on =
        json!({"upstream": {"api": {"health_check": {"path": "/health", "interval": "100ms"}}}});
    let diff = weir.admin.patch(on.clone()).await["diff"].to_string();
    assert!(diff.contains("upstream.api.health_check.path"), "{diff}");
    a.becomes(&weir, "unhealthy").await;
    weir.get("/").await.expect(502);
    for off in [json!(null), json!({"path": null})] {
        let off = json!({"upstream": {"api": {"health_check": off}}});
        weir.admin.patch(off).await;
        a.becomes(&weir, "up").await;
        weir.get("/").await.expect(200);
        assert_eq!(a.seen_by(&weir).await.get("check"), None);
        let metrics = weir.admin.text("/metrics").await;
        assert!(!metrics.contains("weir_upstream_server_check_up{"));
        let (checks, _) = a.got();
        weir.admin.patch(on.clone()).await;
        eventually("checks to begin again", || a.got().0 > checks).await;
        a.becomes(&weir, "unhealthy").await;
    }
    // What is set can be saved, and the file says it.
    weir.admin
        .send("POST", "/v1/settings/save", None)
        .await
        .expect(200);
    let file = std::fs::read_to_string(weir.config_path()).unwrap();
    assert!(file.contains("path = \"/health\""), "{file}");
    let checked = run("weir", &["check", weir.config_path().to_str().unwrap()]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(
        checked.stdout.contains("checks   GET /health every 100ms"),
        "{}",
        checked.stdout
    );
}

#[tokio::test]
async fn a_check_asks_what_where_and_as_whom_it_is_told() {
    let (a, other) = (Patient::named("a").await, Patient::named("other").await);
    let port = other.origin.addr().port();
    let weir = before(&[&a])
        .with(CHECKS)
        .with(&format!(
            "upstream.api.health_check.port = {port}
             upstream.api.health_check.host = 'api.example.org'
             connections.max = 16"
        ))
        .start()
        .await;
    other.is_checked(1).await;
    let asked = other.origin.last();
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("GET", "/health")
    );
    assert_eq!(asked.header("host"), Some("api.example.org"));
    assert_eq!(asked.header("connection"), Some("close"));
    assert_eq!(a.got().0, 0);
    // A proxy that is full goes on checking.
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(weir.connect().await);
    }
    other.is_checked(3).await;
    assert_eq!(a.seen_by(&weir).await["state"], "up");
}

#[tokio::test]
async fn who_asks_is_told_what_the_checks_found() {
    let (a, b) = (Patient::named("a").await, Patient::named("b").await);
    let weir = before(&[&a, &b]).with(CHECKS).start().await;
    a.passes(&weir).await;
    b.origin.stop().await;
    let shown = eventually_some("the table to show it", async || {
        let done = run(
            "weir",
            &["ctl", "--node", weir.admin.address(), "upstreams"],
        )
        .await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        done.stdout.contains("unhealthy").then_some(done.stdout)
    })
    .await;
    assert!(shown.contains("LAST CHECK"), "{shown}");
    let line = |text: &str| {
        shown
            .lines()
            .find(|line| line.contains(text))
            .unwrap()
            .to_owned()
    };
    assert!(line(" up ").contains("answered 200, "), "{shown}");
    assert!(line("unhealthy").contains("refused"), "{shown}");
    let told = eventually_some("the failed connections to be counted", async || {
        let metrics = weir.admin.text("/metrics").await;
        let connects = metrics
            .lines()
            .find(|it| it.contains("result=\"connect\"") && !it.ends_with(" 0"));
        connects.map(str::to_owned)
    })
    .await;
    assert!(
        told.starts_with("weir_upstream_server_checks_total{"),
        "{told}"
    );
}

#[tokio::test]
async fn a_change_of_state_is_an_event_with_its_reason() {
    let a = Patient::named("a").await;
    let weir = before(&[&a]).with(CHECKS).start().await;
    a.passes(&weir).await;
    let mut watching = weir_tests::process::start(
        "weir",
        &["ctl", "--node", weir.admin.address(), "--json", "watch"],
        weir.dir(),
    );
    eventually("the stream to begin", || {
        watching.stdout().contains("hello")
    })
    .await;
    a.is(Reply::status(500).after(Duration::from_millis(20)));
    eventually("the event", || watching.stdout().contains("unhealthy")).await;
    let out = watching.stdout();
    let event = out.lines().find(|line| line.contains("unhealthy")).unwrap();
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!(
        (&event["event"], &event["old"]),
        (&json!("server"), &json!("up"))
    );
    assert_eq!(event["why"], "answered 500");
    assert!(watching.ended().is_none());
}
