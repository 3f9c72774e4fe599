//! HTTP/1 beside the plain request: old clients, pipelining, upgrades.

use weir_tests::{Framing, Origin, Reply, Weir};

#[tokio::test]
async fn http_1_0_is_answered_without_chunks_and_closed() {
    let api = Origin::answering(Reply::chunked(&[b"one", b"two"])).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let response = client.answer().await.expect(200);
    assert_eq!(response.text(), "onetwo");
    assert!(
        !response.headers.has("Transfer-Encoding"),
        "{}",
        response.headers
    );
    assert!(matches!(
        response.framing,
        Framing::UntilClose | Framing::Length
    ));
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn http_1_0_may_ask_to_keep_the_connection() {
    let api = Origin::named("kept").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let response = client.answer().await.expect(200);
        let connection = response
            .header("Connection")
            .unwrap_or_default()
            .to_ascii_lowercase();
        assert_eq!(connection, "keep-alive");
    }
}

#[tokio::test]
async fn connection_close_is_honoured_and_announced() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    let response = client
        .request("GET", "/", "Connection: close\r\n")
        .await
        .expect(200);
    assert_eq!(
        response
            .header("Connection")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("close")
    );
    assert!(client.closed().await.is_empty());
    weir.get("/").await.expect(200);
    assert_eq!(
        api.accepted(),
        1,
        "the server's connection is not closed for that"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let api = Origin::start(|request| Reply::text(&request.target)).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    let requests: String = (0..20)
        .map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    client.send(requests).await;
    for i in 0..20 {
        assert_eq!(client.answer().await.expect(200).text(), format!("/{i}"));
    }
}

#[tokio::test]
async fn requests_pipelined_behind_a_body_are_not_lost() {
    let api =
        Origin::start(|request| Reply::text(&format!("{} {}", request.target, request.text())))
            .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send(
            "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
             POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n\
             GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    for expected in ["/1 abc", "/2 def", "/3 "] {
        assert_eq!(client.answer().await.expect(200).text(), expected);
    }
}

#[tokio::test]
async fn an_empty_line_before_a_request_is_ignored() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client.send("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.answer().await.expect(200);
}

#[tokio::test]
async fn a_request_may_arrive_byte_by_byte() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for byte in b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.expect(200).text(), "hello");
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let api = Origin::answering(Reply::upgrade("websocket")).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    let response = client.request("GET", "/ws", UPGRADE).await.expect(101);
    assert_eq!(response.header("Upgrade"), Some("websocket"));
    assert_eq!(api.last().header("Upgrade"), Some("websocket"));
    for message in [b"first".to_vec(), vec![0; 100_000], b"last".to_vec()] {
        client.send(&message).await;
        assert_eq!(client.receive_exactly(message.len()).await, message);
    }
    client.finish_sending().await;
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let api = Origin::answering(Reply::text("no").with_status(403)).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client.request("GET", "/ws", UPGRADE).await.expect(403);
    client.get("/").await.expect(403);
}

#[tokio::test]
async fn interim_answers_do_not_confuse() {
    let api = Origin::answering(Reply::raw(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ))
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.expect(200).text(), "ok");
    }
}

#[tokio::test]
async fn options_for_the_whole_server_is_passed_on() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("route = [{ path = '/', upstream = 'api' }]")
        .start()
        .await;
    let mut client = weir.connect().await;
    // Whether or not a route takes it, the connection stays in order.
    let status = client.request("OPTIONS", "*", "").await.status;
    assert!(matches!(status, 200 | 404), "{status}");
    client.get("/").await.expect(200);
}
