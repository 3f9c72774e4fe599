//! Every wait has an end.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::{FullBacklog, Origin, Reply, Weir, eventually, weir::Server as _};

#[tokio::test]
async fn connecting_to_a_server_with_a_full_queue_times_out() {
    let full = FullBacklog::start().await;
    let weir = Weir::before(&[&full.addr()])
        .with("timeouts.connect = '400ms'")
        .start()
        .await;
    let started = Instant::now();
    weir.get("/").await.expect(504);
    assert!(
        started.elapsed() >= Duration::from_millis(390),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn after_a_connect_timeout_the_next_server_is_tried() {
    let full = FullBacklog::start().await;
    let good = Origin::named("good").await;
    let weir = Weir::before(&[&full.addr(), &good])
        .with("timeouts.connect = '200ms'\n upstream.api.retry = { tries = 2, timeout = '5s' }")
        .start()
        .await;
    let mut client = weir.connect().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.expect(200).text(), "good");
    }
    assert_eq!(weir.admin.server(full.addr()).await["state"], "failed");
}

#[tokio::test]
async fn the_connect_timeout_can_be_changed_while_running() {
    let full = FullBacklog::start().await;
    let weir = Weir::before(&[&full.addr()])
        .with("timeouts.connect = '60s'")
        .start()
        .await;
    weir.admin
        .patch(json!({ "timeouts": { "connect": "200ms" } }))
        .await;
    weir.get("/").await.expect(504);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_504() {
    let api = Origin::answering(Reply::hang()).await;
    let weir = Weir::before(&[&api])
        .with("timeouts.read = '300ms'")
        .start()
        .await;
    let started = Instant::now();
    let mut client = weir.connect().await;
    client.get("/").await.expect(504);
    assert!(started.elapsed() >= Duration::from_millis(290));
    eventually("its connection to be closed", || api.open() == 0).await;
}

#[tokio::test]
async fn a_server_that_stops_within_its_answer_breaks_the_answer_off() {
    let api = Origin::answering(Reply::partial("begun", 1000).then_hang()).await;
    let weir = Weir::before(&[&api])
        .with("timeouts.read = '300ms'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let received = client.closed().await;
    assert!(
        received.ends_with(b"begun"),
        "{}",
        String::from_utf8_lossy(&received)
    );
}

#[tokio::test]
async fn a_slow_server_that_goes_on_sending_is_not_cut_off() {
    // The read timeout is between two reads, not for the whole answer.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await?;
        let _ = stream.read(&mut [0; 1000]).await?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            .await?;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.write_all(b"x").await?;
        }
        stream.read(&mut [0]).await
    });
    let weir = Weir::before(&[&address])
        .with("timeouts.read = '600ms'")
        .start()
        .await;
    assert_eq!(weir.get("/").await.expect(200).text(), "xxxxxxxxxx");
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_as_a_whole() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("timeouts.client_header = '500ms'")
        .start()
        .await;
    let mut client = weir.connect().await;
    let started = Instant::now();
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(400));
    client
        .send_slowly(endless.as_bytes(), Duration::from_millis(50))
        .await;
    let answer = client.closed().await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(api.count(), 0);
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_cut_off() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("timeouts.client_header = '300ms'\n timeouts.keepalive = '300ms'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client.closed().await;
}

#[tokio::test]
async fn a_body_that_stalls_is_408() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("timeouts.client_body = '300ms'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome")
        .await;
    let answer = client.closed().await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
    assert_eq!(api.count(), 0);
    assert_eq!(
        weir.admin.server(api.addr()).await["failures"],
        0,
        "not the server's fault"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let api = Origin::answering(Reply::sized(vec![b'x'; 20_000_000])).await;
    let weir = Weir::before(&[&api])
        .with("timeouts.send = '500ms'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Nothing is read: the buffers fill up, and then nothing moves.
    eventually("the server's connection to be given up", || {
        api.count() == 1 && api.open() == 0
    })
    .await;
}
