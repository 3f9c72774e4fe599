//! Tuning under traffic and through accidents: killed while saving, servers that come and go, events.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::watch;
use weir_tests::{
    Conn, Origin, Weir,
    process::{run, start},
    wait::{eventually, eventually_some},
    weir::Server as _,
};

#[tokio::test]
async fn a_proxy_that_is_killed_while_it_saves_leaves_a_good_file() {
    let api = Origin::named("a").await;
    let mut saved = 0;
    for round in 0..12_u64 {
        let mut weir = Weir::before(&[&api]).start().await;
        let file = weir.config_path();
        let base = format!("http://{}", weir.admin.address());
        let (told, mut saves) = watch::channel(0_u32);
        let saving = tokio::spawn(async move {
            weir_api::tls::provide();
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut count = 0_u32;
            loop {
                let patch = json!({ "connections": { "max": 100 + count } }).to_string();
                let patching = client.patch(format!("{base}/v1/settings")).body(patch);
                let mut sent = patching.send().await;
                if sent.is_ok() {
                    sent = client.post(format!("{base}/v1/settings/save")).send().await;
                }
                match sent {
                    Ok(answer) => assert_eq!(answer.status(), 200),
                    // It has been killed.
                    Err(_) => return count,
                }
                count += 1;
                told.send_replace(count);
            }
        });
        let first = tokio::time::timeout(Duration::from_secs(30), saves.wait_for(|n| *n > 0));
        first.await.expect("a save within 30 s").unwrap();
        // In each round somewhere else in the work of saving again.
        tokio::time::sleep(Duration::from_millis(13 * round)).await;
        weir.process.kill().await;
        saved += saving.await.unwrap();
        let check = run("weir", &["check", file.to_str().unwrap()]).await;
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(check.code, Some(0), "{}\n{text}", check.stderr);
    }
    assert!(saved >= 12, "only {saved} saves in all rounds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_come_and_go_under_load_without_a_failure() {
    let (a, b) = (Origin::echo().await, Origin::echo().await);
    let weir = Weir::before(&[&a, &b]).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, to) = (Arc::clone(&stop), weir.addr());
            tokio::spawn(async move {
                let mut client = Conn::open(to).await;
                let mut count = 0;
                while !stop.load(SeqCst) {
                    client.get("/").await.expect(200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    let path = format!("/v1/upstreams/api/servers/{}", b.addr());
    let again = json!({ "address": b.addr().to_string(), "weight": 3 }).to_string();
    for _ in 0..15 {
        let drain = format!("{path}/drain?wait=5s");
        let drained = weir.admin.send("POST", &drain, None).await.expect(200);
        assert_eq!(drained["drained"], true, "{drained}");
        weir.admin.send("DELETE", &path, None).await.expect(200);
        let add = "/v1/upstreams/api/servers";
        weir.admin.send("POST", add, Some(&again)).await.expect(201);
    }
    stop.store(true, SeqCst);
    let mut requests = 0;
    for client in clients {
        requests += client.await.unwrap();
    }
    assert!(requests > 50, "{requests}");
    assert_eq!(weir.admin.in_flight(b.addr()).await, 0);
}

#[tokio::test]
async fn what_is_known_about_a_server_outlives_changes_to_the_list() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let weir = Weir::before(&[&a]).start().await;
    for _ in 0..3 {
        weir.get("/").await.expect(200);
    }
    let path = "/v1/upstreams/api/servers";
    let server = json!({ "address": b.addr().to_string() }).to_string();
    weir.admin
        .send("POST", path, Some(&server))
        .await
        .expect(201);
    let of_a = format!("{path}/{}", a.addr());
    let down = Some(r#"{"down":true}"#);
    weir.admin.send("PATCH", &of_a, down).await.expect(200);
    assert_eq!(weir.get("/").await.text(), "b");
    assert_eq!(weir.admin.server(a.addr()).await["requests"], 3);
    // A rollback to the first revision takes b out and a in again.
    weir.admin
        .send("POST", "/v1/revisions/1/rollback", None)
        .await
        .expect(200);
    assert_eq!(weir.get("/").await.text(), "a");
    assert_eq!(weir.admin.server(a.addr()).await["requests"], 4);
}

#[tokio::test]
async fn a_watch_sees_changes_overrides_and_failures_and_ends_with_the_proxy() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let mut weir = Weir::before(&[&a, &b]).start().await;
    let node = weir.admin.address().to_owned();
    let (json_dir, text_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let watching = ["ctl", "--node", &node, "watch"];
    let mut json_watch = start(
        "weir",
        &[&watching[..], &["--json"]].concat(),
        json_dir.path(),
    );
    let mut text_watch = start("weir", &watching, text_dir.path());
    eventually("the watchers to be connected", || {
        json_watch.stdout().contains("hello") && text_watch.stdout().contains("connected")
    })
    .await;
    let set = [
        "ctl",
        "--node",
        &node,
        "set",
        "timeouts.connect=10s",
        "--reason",
        "seen?",
    ];
    assert_eq!(run("weir", &set).await.code, Some(0));
    let raised = json!({ "compression": { "level": 3 } });
    weir.admin.override_for("1s", raised).await;
    let gone = b.stop().await;
    // Failures are noticed by requests, of which some go to the server that is gone.
    eventually_some("the server to be seen as failed", async || {
        weir.get("/").await;
        let failed = format!("{gone} up -> failed");
        text_watch.stdout().contains(&failed).then_some(())
    })
    .await;
    eventually("the end of the override to be seen", || {
        text_watch.stdout().contains(" ended") && json_watch.stdout().contains("\"ended\"")
    })
    .await;
    let events: Vec<Value> = json_watch
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let settings = events.iter().find(|event| event["event"] == "settings");
    let settings = settings.unwrap();
    assert_eq!(settings["why"], "seen?");
    let change = json!({ "path": "timeouts.connect", "old": "30s", "new": "10s" });
    assert_eq!(settings["diff"], json!([change]));
    let overrides = events.iter().filter(|event| event["event"] == "override");
    let actions: Vec<_> = overrides.map(|event| &event["action"]).collect();
    assert_eq!(actions, ["created", "ended"]);
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
    let log = weir.process.stderr();
    assert!(
        !log.contains("still in flight"),
        "streams held it up: {log}"
    );
    assert_eq!(json_watch.exit_code().await, Some(1));
    assert_eq!(text_watch.exit_code().await, Some(1));
}

#[tokio::test]
async fn every_mistake_has_its_exit_code_and_says_what_would_be_right() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let missing = weir.dir().join("missing.toml").display().to_string();
    for (args, code, says) in [
        (&["set", "timeouts.connect=10"][..], 2, "a duration from"),
        (&["set", "timeouts.conect=10s"], 2, "did you mean"),
        (&["set", "timeouts.connect"], 2, "PATH=VALUE"),
        (&["set", "a.b=1", "a.b=2"], 2, "twice"),
        (&["set"], 2, "PATH=VALUE"),
        (&["get", "timeouts.conect"], 2, "no such setting"),
        (&["apply", &missing], 2, "cannot be read"),
        (&["override", "timeouts.connect=1s"], 2, "--ttl"),
        (
            &["override", "timeouts.connect=1s", "--ttl", "0s"],
            2,
            "1s to 24h",
        ),
        (
            &["override", "timeouts.connect=1s", "--ttl", "soon"],
            2,
            "soon",
        ),
        (&["override", "rm", "ovr-0"], 1, "no override"),
        (&["rollback", "99"], 1, "revision 99"),
        (
            &["set", "timeouts.connect=1s", "--if-revision", "99"],
            1,
            "read them again",
        ),
        (&["server", "rm", "api", "127.0.0.1:1"], 1, "has no server"),
        (
            &["server", "set", "api", &api.addr().to_string(), "wieght=2"],
            2,
            "weight",
        ),
        (
            &["server", "rm", "api", &api.addr().to_string()],
            2,
            "needs servers",
        ),
        (&["--node", "nonsense", "get"], 2, "address:port"),
    ] {
        let mut all = vec!["ctl"];
        if !args.contains(&"--node") {
            all.extend(["--node", weir.admin.address()]);
        }
        all.extend(args);
        let it = run("weir", &all).await;
        assert_eq!(it.code, Some(code), "{args:?}: {}{}", it.stdout, it.stderr);
        assert!(it.stderr.contains(says), "{args:?}: {}", it.stderr);
    }
    assert_eq!(weir.admin.revision().await, 1);
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let body = r#"{"timeouts":{"connect":"1s","read":"5s","connect":"2s"}}"#;
    let answer = weir.admin.try_patch(body).await.expect(400);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("timeouts.connect"), "{message}");
    assert_eq!(weir.admin.revision().await, 1);
}

#[tokio::test]
async fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let it = run("weir", &["completions", shell]).await;
        assert_eq!(it.code, Some(0), "{}", it.stderr);
        assert!(
            it.stdout.contains("rollback") && it.stdout.contains("drain"),
            "{shell}"
        );
    }
    assert_eq!(run("weir", &["completions", "tcsh"]).await.code, Some(2));
}
