//! Too few file descriptors: the process says so, sheds idle connections, and blames nobody else.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use weir_tests::{
    Conn, Gate, Origin, Reply, Weir, eventually, wait::eventually_some, weir::Server as _,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The lowest descriptor that the proxy does not have open: the next one that it would get.
fn next(weir: &Weir) -> u64 {
    let open = |n: &u64| !std::fs::exists(format!("/proc/{}/fd/{n}", weir.process.id())).unwrap();
    (0..).find(open).unwrap()
}

/// Changes the soft limit on descriptors of the running proxy.
fn allow(weir: &Weir, files: u64) {
    let pid = Pid::from_raw(weir.process.id().cast_signed());
    let same = Rlimit {
        current: Some(files),
        maximum: Some(4096),
    };
    prlimit(pid, Resource::Nofile, same).unwrap();
}

/// Waits until the proxy has given back what past requests needed, and allows it no descriptor more than it has.
async fn exhaust(weir: &Weir, api: &Origin) {
    eventually("connections of past requests to close", || {
        api.open() == api.serving()
    })
    .await;
    allow(weir, next(weir));
}

/// The metrics, on a connection that is open already.
async fn metrics(admin: &mut Conn) -> String {
    admin
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    admin.answer().await.expect(200).text()
}

/// A proxy that needs a descriptor more for each request.
async fn without_keepalive(api: &Origin, more: &str) -> Weir {
    let server = format!(
        "{{ address = '{}', max_fails = 1, fail_timeout = '1h' }}",
        api.addr()
    );
    Weir::before(&[api])
        .servers(&[server])
        .with("upstream.api.keepalive = 0")
        .with(more)
        .with_descriptors(4096)
        .start()
        .await
}

#[tokio::test]
async fn what_cannot_be_held_is_said_at_start_and_when_it_is_set_and_shed_in_time() {
    let gate = Gate::closed();
    let api = Origin::answering(Reply::text("a").when(&gate)).await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 1024")
        .with_descriptors(128)
        .start()
        .await;
    let said = |what: &str| weir.process.stderr().contains(what);
    assert!(
        said("connections.max = 1024 needs about"),
        "{}",
        weir.process.stderr()
    );
    assert!(said("the limit is 128"));
    let most = weir.metric("weir_connections_max").await;
    assert!((16.0..128.0).contains(&most), "{most}");
    // Each of them takes two places until there are none.
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = weir.connect().await;
        client.send(GET).await;
        clients.push(client);
    }
    eventually_some("clients to be refused", async || {
        (weir.metric("weir_connections_refused_total").await > 0.0).then_some(())
    })
    .await;
    weir.admin
        .patch(json!({ "connections": { "max": 2000 } }))
        .await;
    eventually("the log to say so", || {
        said("connections.max = 2000 needs about")
    })
    .await;
    assert!(!said("no file descriptor"), "{}", weir.process.stderr());
    gate.open();
    drop(clients);
    eventually_some("room for a new client", async || {
        let mut client = weir.connect().await;
        client.send(GET).await;
        let answer = client.try_answer_to("GET").await.ok().flatten();
        answer.filter(|answer| answer.status == 200)
    })
    .await;
    weir.admin
        .patch(json!({ "connections": { "max": 16 } }))
        .await;
    assert_eq!(weir.metric("weir_connections_max").await, 16.0);
}

#[tokio::test]
async fn an_idle_client_gives_its_descriptor_to_a_new_one() {
    let api = Origin::named("a").await;
    let weir = without_keepalive(&api, "").await;
    let mut oldest = weir.connect().await;
    oldest.get("/").await.expect(200);
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut client = weir.connect().await;
        client.get("/").await.expect(200);
        others.push(client);
    }
    exhaust(&weir, &api).await;
    // It needs one descriptor for itself and one for its request.
    let mut new = weir.connect().await;
    new.get("/").await.expect(200);
    assert!(oldest.closed().await.is_empty());
    allow(&weir, 4096);
    assert_eq!(weir.admin.server(api.addr()).await["state"], "up");
}

#[tokio::test]
async fn a_client_that_found_no_descriptor_is_served_once_there_is_one() {
    let gate = Gate::closed();
    let api = Origin::start({
        let gate = gate.clone();
        move |request| match request.target.as_str() {
            "/held" => Reply::text("held").when(&gate),
            _ => Reply::text("free"),
        }
    })
    .await;
    let weir = without_keepalive(&api, "").await;
    let mut busy = Vec::new();
    for n in 1..=3 {
        let mut client = weir.connect().await;
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
        api.is_serving(n).await;
        busy.push(client);
    }
    exhaust(&weir, &api).await;
    let mut new = weir.connect().await;
    new.send(GET).await;
    eventually("the log to say so", || {
        weir.process.stderr().contains("no file descriptor")
    })
    .await;
    gate.open();
    for client in &mut busy {
        client.answer().await.expect(200);
    }
    drop(busy);
    assert_eq!(new.answer().await.expect(200).text(), "free");
}

#[tokio::test]
async fn want_of_descriptors_is_no_failure_of_a_server() {
    let api = Origin::named("a").await;
    let weir = without_keepalive(
        &api,
        "upstream.api.health_check = { path = '/', interval = '100ms', fall = 1 }",
    )
    .await;
    let mut client = weir.connect().await;
    client.get("/").await.expect(200);
    let mut admin = Conn::open(weir.admin.address().parse().unwrap()).await;
    metrics(&mut admin).await;
    // Nothing more can be opened, whatever closes.
    allow(&weir, 3);
    let answer = client.request("GET", "/", "").await.expect(503);
    assert_eq!(answer.header("Connection"), Some("close"));
    // Checks are due ten times a second.
    let skipped = format!(
        "weir_upstream_server_checks_total{{result=\"skipped\",server=\"{}\",upstream=\"api\"}}",
        api.addr()
    );
    eventually_some("a check to be skipped", async || {
        metrics(&mut admin).await.contains(&skipped).then_some(())
    })
    .await;
    let before = api.count();
    allow(&weir, 4096);
    eventually("checks to go on", || api.count() > before).await;
    let server = weir.admin.server(api.addr()).await;
    assert_eq!(server["state"], "up", "{server}");
    assert_eq!(
        weir.metric("weir_upstream_attempts_total{outcome=\"failed\",upstream=\"api\"}")
            .await,
        0.0
    );
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn probes_are_answered_beside_a_flood_where_descriptors_are_few() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).with_descriptors(64).start().await;
    let admin: std::net::SocketAddr = weir.admin.address().parse().unwrap();
    let mut flood = Vec::new();
    for _ in 0..3 {
        for n in 0..150 {
            let mut stream = std::net::TcpStream::connect(weir.admin.address()).unwrap();
            if n < 32 {
                // It may have been closed for another already.
                let _ = stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
            }
            flood.push(stream);
        }
        let begun = Instant::now();
        for path in ["/healthz", "/readyz", "/metrics"] {
            let mut conn = Conn::open(admin).await;
            conn.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
                .await;
            conn.answer().await.expect(200);
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        weir.get("/").await.expect(200);
    }
}
