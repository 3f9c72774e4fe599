//! Starting, reloading and stopping.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use weir_tests::{
    Clients, Conn, Gate, Origin, Reply, Weir, eventually, process::free_address,
    wait::eventually_some,
};

#[tokio::test]
async fn told_to_stop_it_finishes_what_is_in_flight() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let gate = Gate::closed();
        let api = Origin::answering(Reply::text("late").when(&gate)).await;
        let mut weir = Weir::before(&[&api]).start().await;
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        api.is_serving(1).await;
        weir.process.signal(signal);
        eventually_some("new clients to be refused", async || {
            Conn::try_open(weir.addr()).await.err()
        })
        .await;
        assert_eq!(weir.admin.status("/readyz").await, 503);
        assert_eq!(weir.admin.status("/healthz").await, 200);
        gate.open();
        let response = client.answer().await.expect(200);
        assert_eq!(response.text(), "late");
        assert_eq!(
            response
                .header("Connection")
                .map(str::to_ascii_lowercase)
                .as_deref(),
            Some("close")
        );
        assert_eq!(weir.process.exit_code().await, Some(0), "{signal}");
    }
}

#[tokio::test]
async fn idle_clients_do_not_hold_a_stop_up() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api])
        .with("timeouts.drain = '60s'")
        .start()
        .await;
    let mut idle = weir.connect().await;
    idle.get("/").await.expect(200);
    let mut silent = weir.connect().await;
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
    assert!(idle.closed().await.is_empty());
    assert!(silent.closed().await.is_empty());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let api = Origin::answering(Reply::hang()).await;
    let mut weir = Weir::before(&[&api])
        .with("timeouts.drain = '300ms'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    api.is_serving(1).await;
    let started = Instant::now();
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
    assert!(
        started.elapsed() >= Duration::from_millis(290),
        "{:?}",
        started.elapsed()
    );
    client.closed().await;
}

#[tokio::test]
async fn the_log_of_the_last_requests_is_written_before_the_end() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api])
        .with("access_log.buffer = '64KiB'")
        .start()
        .await;
    let mut client = weir.connect().await;
    for _ in 0..50 {
        client.get("/").await.expect(200);
    }
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
    assert_eq!(weir.access_log().len(), 50);
}

#[tokio::test]
async fn sighup_reads_the_file_again() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let mut weir = Weir::before(&[&a]).start().await;
    let mut client = weir.connect().await;
    assert_eq!(client.get("/").await.text(), "a");
    weir.rewrite_config(&format!(
        "upstream.api.servers = [{{ address = '{}' }}]
         compression.level = 3
         route = [{{ path = '/new', upstream = 'api' }}]",
        weir_tests::weir::Server::addr(&b)
    ));
    assert_eq!(
        client.get("/").await.text(),
        "a",
        "not before it is told to"
    );
    weir.process.signal(Signal::SIGHUP);
    eventually_some("the new file to apply", async || {
        (weir.admin.settings().await["compression"]["level"] == 3).then_some(())
    })
    .await;
    eventually_some("the new routes to apply", async || {
        (weir.get("/").await.status == 404).then_some(())
    })
    .await;
    assert_eq!(
        client.get("/new").await.text(),
        "b",
        "on connections that are open, too"
    );
}

#[tokio::test]
async fn a_bad_file_is_refused_on_sighup_and_everything_goes_on() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api]).start().await;
    let before = weir.admin.get("/v1/settings").await;
    weir.rewrite_config("compression = { level = 99 }\n connections = { max = 500 }");
    weir.process.signal(Signal::SIGHUP);
    eventually("the refusal in the log", || {
        weir.process.stderr().contains("compression.level")
    })
    .await;
    assert_eq!(weir.admin.get("/v1/settings").await, before);
    weir.get("/").await.expect(200);
    std::fs::remove_file(weir.config_path()).unwrap();
    weir.process.signal(Signal::SIGHUP);
    eventually("the second refusal", || {
        weir.process.stderr().contains("cannot be read")
    })
    .await;
    weir.get("/").await.expect(200);
}

/// Routes and settings come into force together, so whoever publishes in between (here: overrides
/// that come and go) never brings along the routes of a file that is about to be refused.
#[tokio::test]
async fn a_refused_reload_never_puts_its_routes_in_force() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api])
        .with(
            "rate_limit.x = { rate = '1000r/s', burst = 10 }
             route = [{ path = '/old', upstream = 'api' }]",
        )
        .start()
        .await;
    // The file says `nodelay`, which excludes the `delay` of the patch.
    let delay = serde_json::json!({ "rate_limit": { "x": { "delay": 5 } } });
    weir.admin.patch(delay).await;
    weir.rewrite_config(
        "rate_limit.x.nodelay = true
         route = [{ path = '/old', upstream = 'api' }, { path = '/refused', upstream = 'api' }]",
    );
    let before = weir.admin.get("/v1/settings").await["sources"].clone();
    let over = AtomicBool::new(false);
    let reloads = async {
        for _ in 0..100 {
            let answer = weir.admin.send("POST", "/v1/settings/reload", None).await;
            let refused = answer.expect(422)["error"]["message"].to_string();
            assert!(refused.contains("rate_limit.x.delay"), "{refused}");
        }
        over.store(true, Ordering::Relaxed);
    };
    let overrides = async || {
        while !over.load(Ordering::Relaxed) {
            let change = serde_json::json!({ "connections": { "max": 333 } });
            let made = weir.admin.override_for("10m", change).await;
            let path = format!("/v1/overrides/{}", made["id"].as_str().unwrap());
            weir.admin.send("DELETE", &path, None).await.expect(200);
        }
    };
    let requests = async {
        let mut client = weir.connect().await;
        while !over.load(Ordering::Relaxed) {
            client.get("/refused").await.expect(404);
            client.get("/old").await.expect(200);
        }
    };
    tokio::join!(reloads, overrides(), overrides(), requests);
    assert_eq!(weir.admin.get("/v1/settings").await["sources"], before);
    weir.get("/refused").await.expect(404);
}

#[tokio::test]
async fn patches_and_overrides_stay_above_a_reloaded_file() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api]).start().await;
    weir.admin
        .patch(serde_json::json!({ "compression": { "level": 2 } }))
        .await;
    weir.admin
        .override_for("10m", serde_json::json!({ "connections": { "max": 333 } }))
        .await;
    weir.rewrite_config(
        "compression = { level = 7, min_length = '1KiB' }\n connections = { max = 500 }",
    );
    weir.process.signal(Signal::SIGHUP);
    eventually_some("the new file to apply", async || {
        (weir.admin.settings().await["compression"]["min_length"] == "1KiB").then_some(())
    })
    .await;
    let settings = weir.admin.settings().await;
    assert_eq!(settings["compression"]["level"], 2);
    assert_eq!(settings["connections"]["max"], 333);
}

#[tokio::test]
async fn levels_of_rate_limits_outlive_a_reload() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api])
        .with(
            "route = [{ upstream = 'api', rate_limit = ['z'] }]
             rate_limit.z = { rate = '1r/m', burst = 3, nodelay = true }",
        )
        .start()
        .await;
    let mut client = weir.connect().await;
    let mut admitted = async || {
        let mut count = 0;
        for _ in 0..8 {
            count += usize::from(client.get("/").await.status == 200);
        }
        count
    };
    assert_eq!(admitted().await, 4);
    weir.rewrite_config("rate_limit.z.burst = 5");
    weir.process.signal(Signal::SIGHUP);
    eventually_some("the new burst", async || {
        (weir.admin.settings().await["rate_limit"]["z"]["burst"] == 5).then_some(())
    })
    .await;
    assert_eq!(admitted().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_refuses_nobody_and_finishes_what_is_in_flight() {
    let gate = Gate::closed();
    let opens = gate.clone();
    let api = Origin::start(move |request| match request.target.as_str() {
        "/held" => Reply::text("late").when(&opens),
        _ => Reply::text("a"),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    // What is handed over has to be named by the file: no port 0 here.
    let weir = Weir::before(&[&api]).with(&format!(
        "listener = [{{ address = '{}' }}]
         admin.listen = '{}'
         server.upgrade_socket = '{}'",
        free_address(),
        free_address(),
        dir.path().join("upgrade.sock").display(),
    ));
    let mut old = weir.clone().start().await;
    let to = old.addr();
    let mut held = old.connect().await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    api.is_serving(1).await;

    let clients = Clients::asking(to, 4);
    let new = weir.start_upgrading(&old).await;
    assert_eq!(new.addr(), to);
    assert!(old.process.ended().is_none(), "it has a request in flight");
    gate.open();
    assert_eq!(held.answer().await.expect(200).text(), "late");
    assert_eq!(old.process.exit_code().await, Some(0));
    let counted = new
        .metric("weir_requests_total{code=\"200\",route=\"/\"}")
        .await;
    eventually_some("requests at the successor", async || {
        (new.metric("weir_requests_total{code=\"200\",route=\"/\"}")
            .await
            > counted + 20.0)
            .then_some(())
    })
    .await;
    clients.stop().await;
}

#[tokio::test]
async fn a_successor_without_a_predecessor_gives_up() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weir.toml");
    let socket = dir.path().join("upgrade.sock");
    let config =
        Weir::before(&[&api]).with(&format!("server.upgrade_socket = '{}'", socket.display()));
    std::fs::write(&file, config.text()).unwrap();
    let done = weir_tests::process::run(
        "weir",
        &["run", "--config", file.to_str().unwrap(), "--upgrade"],
    )
    .await;
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("upgrade.sock"), "{}", done.stderr);
}
