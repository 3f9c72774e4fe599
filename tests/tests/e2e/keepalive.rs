//! Connections that are kept, to clients and to servers.

use serde_json::json;
use weir_tests::{Gate, Origin, Reply, Weir, eventually, weir::Server as _};

#[tokio::test]
async fn requests_one_after_the_other_share_one_connection_on_either_side() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..50 {
        client.get("/").await.expect(200);
    }
    assert_eq!((api.count(), api.accepted()), (50, 1));
    let server = weir.admin.server(api.addr()).await;
    assert_eq!(server["connections"]["opened"], 1, "{server}");
    assert_eq!(server["connections"]["reused"], 49, "{server}");
}

#[tokio::test]
async fn different_clients_share_the_kept_connection() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    for _ in 0..10 {
        weir.get("/").await.expect(200);
    }
    assert_eq!(api.accepted(), 1);
}

/// Holds `count` requests at the origin at once, then lets all of them be answered.
async fn volley(weir: &Weir, api: &Origin, gate: &Gate, count: usize) {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = weir.connect().await;
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    api.is_serving(count).await;
    gate.open();
    for mut client in clients {
        client.answer().await.expect(200);
    }
}

#[tokio::test]
async fn only_so_many_idle_connections_are_kept() {
    let gate = Gate::closed();
    let api = Origin::answering(Reply::text("a").when(&gate)).await;
    let weir = Weir::before(&[&api])
        .with("upstream.api.keepalive = 3")
        .start()
        .await;
    volley(&weir, &api, &gate, 10).await;
    assert_eq!(api.accepted(), 10, "in flight there is no limit");
    eventually("7 of 10 connections to be closed", || api.open() == 3).await;
}

#[tokio::test]
async fn keepalive_can_be_changed_while_running() {
    let gate = Gate::closed();
    let api = Origin::answering(Reply::text("a").when(&gate)).await;
    let weir = Weir::before(&[&api])
        .with("upstream.api.keepalive = 2")
        .start()
        .await;
    weir.admin
        .patch(json!({ "upstream": { "api": { "keepalive": 6 } } }))
        .await;
    volley(&weir, &api, &gate, 10).await;
    eventually("4 of 10 connections to be closed", || api.open() == 6).await;

    weir.admin
        .patch(json!({ "upstream": { "api": { "keepalive": 1 } } }))
        .await;
    weir.get("/").await.expect(200);
    eventually("all idle connections but one to be closed", || {
        api.open() == 1
    })
    .await;
}

#[tokio::test]
async fn keepalive_zero_keeps_none() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("upstream.api.keepalive = 0")
        .start()
        .await;
    for _ in 0..3 {
        weir.get("/").await.expect(200);
    }
    assert_eq!(api.accepted(), 3);
    eventually("the connections to be closed", || api.open() == 0).await;
}

#[tokio::test]
async fn an_idle_connection_to_a_server_is_closed_in_time() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("upstream.api.keepalive_timeout = '200ms'")
        .start()
        .await;
    weir.get("/").await.expect(200);
    eventually("the idle connection to be closed", || api.open() == 0).await;
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn an_idle_client_is_disconnected_in_time() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("timeouts.keepalive = '200ms'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client.get("/").await.expect(200);
    assert!(client.closed().await.is_empty(), "without a word");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_has_closed_costs_no_request() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    for _ in 0..5 {
        weir.get("/").await.expect(200);
        api.close_idle().await;
    }
    assert_eq!(api.accepted(), 5);
    assert_eq!(weir.admin.server(api.addr()).await["failures"], 0);
}

#[tokio::test]
async fn a_server_that_closes_just_as_a_request_comes_costs_no_request() {
    // Every connection serves one request, and is closed without a word when the second arrives.
    let connections = std::sync::Mutex::new(0);
    let api = Origin::start(move |_| {
        let mut count = connections.lock().unwrap();
        *count += 1;
        if *count % 3 == 2 {
            Reply::close()
        } else {
            Reply::text("a")
        }
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..10 {
        client.get("/").await.expect(200);
    }
    assert_eq!(weir.admin.server(api.addr()).await["state"], "up");
}

#[tokio::test]
async fn a_server_that_announces_the_end_is_not_asked_again_on_that_connection() {
    let api = Origin::answering(Reply::text("a").then_close()).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..4 {
        let response = client.get("/").await.expect(200);
        assert_ne!(
            response.header("Connection"),
            Some("close"),
            "the client's own goes on"
        );
    }
    assert_eq!(api.accepted(), 4);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_spoils_neither_connection() {
    // The server answers as soon as it sees the head, and the client goes on sending.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|w| w == b"\r\n\r\n")
                    && stream.read_buf(&mut head).await? > 0
                {}
                stream
                    .write_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
                    .await?;
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await
            });
        }
    });
    let weir = Weir::before(&[&address]).start().await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        .await;
    client.send("x".repeat(500)).await;
    client.answer().await.expect(403);
    client.send("x".repeat(500)).await;
    // Either the connection goes on in order, or it was closed: what may not happen is a mix-up.
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    if let Ok(Some(response)) = client.try_answer_to("GET").await {
        assert_eq!(response.status, 403);
    }
}
