//! Answers that come while the client still writes can be read by clients that write first.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use weir_tests::raw::RawServer;
use weir_tests::{Origin, Weir, eventually, within};

const LIMIT: &str = "client.max_body = '1MiB'
    rate_limit.l = { key = 'global', rate = '1r/m', nodelay = true }
    route = [{ path = '/a', upstream = 'api' }, { path = '/l', upstream = 'api', rate_limit = ['l'] }]";

/// Writes everything, in pieces, and only then reads the answer.
async fn write_then_read(weir: &Weir, head: &str, piece: &[u8], pieces: usize) -> u16 {
    let (mut reader, mut writer) = weir.connect().await.split();
    within("writing", async {
        writer.write_all(head.as_bytes()).await.unwrap();
        for at in 0..pieces {
            if let Err(e) = writer.write_all(piece).await {
                panic!("{head:?}: {e} after {at} pieces");
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    reader.response().await.status
}

#[tokio::test]
async fn own_refusals_of_uploads_can_be_read() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).with(LIMIT).start().await;
    weir.get("/l").await.expect(200);
    for (target, status, pieces) in [("/a", 413, 128), ("/n", 404, 128), ("/l", 429, 24)] {
        let size = pieces * 32_768;
        let sized = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        let got = write_then_read(&weir, &sized, &[b'x'; 32_768], pieces).await;
        assert_eq!(got, status, "{target}");
        let chunked =
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = [b"8000\r\n", &[b'x'; 32_768][..], b"\r\n"].concat();
        let got = write_then_read(&weir, &chunked, &piece, pieces).await;
        assert_eq!(got, status, "{target}, chunked");
    }
}

#[tokio::test]
async fn a_head_that_is_refused_can_be_written_to_its_end() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let field = format!("X: {}\r\n", "v".repeat(1000));
    let got = write_then_read(
        &weir,
        "GET / HTTP/1.1\r\nHost: a\r\n",
        field.as_bytes(),
        1000,
    )
    .await;
    assert_eq!(got, 431);
    let got = write_then_read(&weir, "GET /", &[b'u'; 1000], 1000).await;
    assert_eq!(got, 431);
}

#[tokio::test]
async fn an_early_answer_of_the_server_can_be_read() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        conn.send(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\nforbidden",
        )
        .await;
    })
    .await;
    let weir = Weir::before(&[&api])
        .with("client.max_body = '64MiB'")
        .start()
        .await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n";
    assert_eq!(
        write_then_read(&weir, head, &[b'x'; 32_768], 128).await,
        403
    );
}

#[tokio::test]
async fn lingering_holds_no_place_that_others_need() {
    let api = Origin::named("served").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 16\nclient.max_body = '1KiB'")
        .start()
        .await;
    let mut refused = Vec::new();
    for _ in 0..14 {
        let mut client = weir.connect().await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
            .await;
        client.answer().await.expect(413);
        // The proxy waits for the rest of the body now.
        refused.push(client);
    }
    for _ in 0..6 {
        assert_eq!(weir.get("/").await.expect(200).text(), "served");
    }
}

#[tokio::test]
async fn readers_that_have_stopped_free_every_connection() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            .await;
        let piece = vec![b'd'; 1 << 20];
        while conn.stream.write_all(&piece).await.is_ok() {}
    })
    .await;
    let weir = Weir::before(&[&api])
        .with("timeouts.send = '500ms'")
        .start()
        .await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stuck.push(client);
    }
    weir.logged(20).await;
    within("the connections to be gone", async {
        loop {
            let open = weir.metric("weir_connections{side=\"upstream\"}").await
                + weir.metric("weir_connections{side=\"client\"}").await;
            if open == 0.0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    eventually("them all to be logged", || weir.access_log().len() == 20).await;
}
