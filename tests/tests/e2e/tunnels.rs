//! Upgraded connections: nothing of the proxy's own enters the stream, and nothing held back.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use weir_tests::raw::RawServer;
use weir_tests::{Conn, Origin, Reply, Weir, eventually};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: x\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";

async fn upgraded(weir: &Weir, target: &str) -> Conn {
    let mut client = weir.connect().await;
    client.request("GET", target, UPGRADE).await.expect(101);
    client
}

/// A server of tunnels that end in ways told by the target.
async fn tunnels() -> RawServer {
    RawServer::start(|mut conn| async move {
        let Some((start, headers)) = conn.request_head().await else {
            return;
        };
        if !headers.has("upgrade") {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .await;
            return;
        }
        conn.send(SWITCHED).await;
        match start.split(' ').nth(1).unwrap_or_default() {
            "/reset" => conn.reset(),
            "/words" => {
                conn.send("words").await;
                // The reset must not overtake the words.
                let _ = conn.fill().await;
                conn.reset();
            }
            "/half" => {
                let _ = conn.stream.shutdown().await;
                let heard = conn.rest().await;
                assert_eq!(heard, b"still heard");
            }
            "/count" => {
                let heard = conn.rest().await.len();
                conn.send(format!("{heard} bytes")).await;
            }
            _ => {
                let _ = conn.rest().await;
            }
        }
    })
    .await
}

async fn both_up(weir: &Weir, servers: &[&RawServer]) {
    for server in servers {
        let address = weir_tests::weir::Server::addr(*server);
        let name = format!("weir_server_up{{server=\"{address}\",upstream=\"api\"}}");
        assert_eq!(weir.metric(&name).await, 1.0, "{name}");
    }
}

#[tokio::test]
async fn however_a_tunnel_ends_nothing_is_said_and_no_server_is_blamed() {
    let (a, b) = (tunnels().await, tunnels().await);
    let weir = Weir::before(&[&a, &b])
        .with("timeouts.read = '300ms'\ntimeouts.client_body = '100ms'")
        .start()
        .await;
    for target in ["/reset", "/reset", "/silent", "/silent"] {
        let mut client = upgraded(&weir, target).await;
        assert_eq!(client.closed().await, b"", "{target}");
        both_up(&weir, &[&a, &b]).await;
    }
    let mut client = upgraded(&weir, "/words").await;
    assert_eq!(client.receive_exactly(5).await, b"words");
    client.send("x").await;
    assert_eq!(client.closed().await, b"");
    both_up(&weir, &[&a, &b]).await;
    for line in weir.logged(5).await {
        assert_eq!(line["status"], 101, "{line}");
    }
}

#[tokio::test]
async fn the_limit_for_bodies_does_not_apply_to_an_idle_tunnel() {
    let api = Origin::answering(Reply::upgrade("x")).await;
    let weir = Weir::before(&[&api])
        .with("timeouts.client_body = '100ms'\ntimeouts.send = '100ms'\ntimeouts.client_header = '100ms'")
        .start()
        .await;
    let mut client = upgraded(&weir, "/").await;
    // Well beyond the limits that must not matter.
    let idle = tokio::time::timeout(Duration::from_millis(400), client.receive()).await;
    assert!(idle.is_err(), "closed or said {idle:?}");
    client.send("hi").await;
    assert_eq!(client.receive_exactly(2).await, b"hi");
}

#[tokio::test]
async fn each_direction_ends_by_itself() {
    let api = tunnels().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = upgraded(&weir, "/count").await;
    client.send(vec![b'x'; 300_000]).await;
    client.finish_sending().await;
    assert_eq!(client.closed().await, b"300000 bytes");
    let mut client = upgraded(&weir, "/half").await;
    assert_eq!(client.closed().await, b"");
    client.send("still heard").await;
    client.finish_sending().await;
    let line = weir.logged(2).await.pop();
    assert_eq!(line.map(|line| line["status"].clone()), Some(101.into()));
}

#[tokio::test]
async fn a_flood_in_one_direction_does_not_stop_the_other() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        conn.send(SWITCHED).await;
        // Sends much, and reads nothing until it is all gone.
        conn.send(vec![b's'; 8 << 20]).await;
        let heard = conn.rest().await.len();
        assert_eq!(heard, 8 << 20);
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let client = upgraded(&weir, "/").await;
    let (mut reader, mut writer) = client.split();
    let write = async {
        writer.write_all(&vec![b'c'; 8 << 20]).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let read = async { reader.rest().await };
    let ((), read) = tokio::join!(write, read);
    assert_eq!(read, 8 << 20);
}

#[tokio::test]
async fn a_tunnel_that_is_stuck_is_closed_within_the_send_limit() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        conn.send(SWITCHED).await;
        std::future::pending::<()>().await;
    })
    .await;
    let weir = Weir::before(&[&api])
        .with("timeouts.send = '300ms'")
        .start()
        .await;
    let mut client = upgraded(&weir, "/").await;
    for _ in 0..64 {
        client.send(vec![b'x'; 1 << 20]).await;
    }
    assert_eq!(client.closed().await, b"");
    eventually("the line of the log", || {
        weir.process.stdout().contains("101")
    })
    .await;
}

#[tokio::test]
async fn only_what_connection_names_is_offered_and_never_http_2() {
    let api = Origin::named("plain").await;
    let weir = Weir::before(&[&api]).start().await;
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: upgrade\r\nUpgrade: H2C\r\n",
        "Upgrade: websocket\r\n",
        "Connection: close\r\nUpgrade: websocket\r\n",
    ] {
        weir.request("GET", "/", fields).await.expect(200);
        let seen = api.last();
        for name in ["upgrade", "http2-settings", "connection"] {
            assert!(!seen.headers.has(name), "{fields}: {}", seen.headers);
        }
    }
    weir.request(
        "GET",
        "/",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
    )
    .await
    .expect(200);
    assert_eq!(api.last().header("upgrade"), Some("websocket"));
}

#[tokio::test]
async fn upgrade_of_an_answer_is_for_one_hop_unless_the_status_is_about_it() {
    let api = Origin::start(|request| match request.target.as_str() {
        "/426" => Reply::status(426)
            .header("Upgrade", "websocket")
            .header("Connection", "upgrade"),
        _ => Reply::text("hi")
            .header("Upgrade", "h2,h2c")
            .header("Connection", "Upgrade, Keep-Alive")
            .header("Keep-Alive", "timeout=5"),
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let answer = weir.get("/426").await.expect(426);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    let answer = weir.get("/").await.expect(200);
    for name in ["upgrade", "keep-alive", "connection"] {
        assert!(!answer.headers.has(name), "{}", answer.headers);
    }
}

#[tokio::test]
async fn what_follows_a_connect_is_no_request() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send(
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    let answer = client.answer().await.expect(405);
    assert!(
        answer
            .header("allow")
            .is_some_and(|allow| allow.contains("GET"))
    );
    assert_eq!(answer.header("connection"), Some("close"));
    client.finish_sending().await;
    assert_eq!(client.closed().await, b"");
    assert_eq!(api.count(), 0);
}
