//! Request and answer at the same time, and answers that come before the request is through.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use weir_tests::raw::RawServer;
use weir_tests::{Weir, within};

const BIG: usize = 12 << 20;

/// Sends an upload until it is through, or the peer has had enough; then reads the answer.
async fn upload(weir: &Weir, target: &str, size: usize) -> (std::io::Result<()>, u16) {
    let client = weir.connect().await;
    let (mut reader, mut writer) = client.split();
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
    let write = async {
        writer.write_all(head.as_bytes()).await?;
        for _ in 0..size / 65_536 {
            writer.write_all(&[b'x'; 65_536]).await?;
        }
        Ok(())
    };
    let read = async { reader.response().await.status };
    tokio::select! {
        (sent, status) = async { tokio::join!(write, read) } => (sent, status),
        () = tokio::time::sleep(weir_tests::BOUND) => panic!("no answer"),
    }
}

#[tokio::test]
async fn a_refusal_arrives_although_the_server_reads_no_further() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        conn.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\ntoo big")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let weir = Weir::before(&[&api])
        .with("client.max_body = '64MiB'\ntimeouts.send = '30s'")
        .start()
        .await;
    for framing in ["Content-Length: 33554432", "Transfer-Encoding: chunked"] {
        let (mut reader, mut writer) = weir.connect().await.split();
        let push = async {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            let _ = writer.write_all(head.as_bytes()).await;
            let piece = match framing.contains("chunked") {
                true => [b"10000\r\n", &[b'x'; 65_536][..], b"\r\n"].concat(),
                false => vec![b'x'; 65_536],
            };
            while writer.write_all(&piece).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let started = Instant::now();
        tokio::select! {
            answer = reader.response() => assert_eq!(answer.text(), "too big"),
            () = push => {}
        }
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{framing}: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn a_server_that_answers_while_it_reads_gets_everything() {
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let api = RawServer::start(move |mut conn| {
        let heard = heard.clone();
        async move {
            let _ = conn.request_head().await;
            let early = conn.buffer.len();
            let (mut read, mut write) = conn.stream.split();
            let talk = async {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
                write.write_all(head.as_bytes()).await.unwrap();
                write.write_all(&vec![b'r'; BIG]).await.unwrap();
            };
            let listen = async {
                let mut left = BIG - early;
                let mut buffer = vec![0; 65_536];
                while left > 0 {
                    left -= tokio::io::AsyncReadExt::read(&mut read, &mut buffer)
                        .await
                        .unwrap();
                }
            };
            let hear = async {
                listen.await;
                heard.send(()).unwrap();
            };
            tokio::join!(talk, hear);
            std::future::pending::<()>().await;
        }
    })
    .await;
    let weir = Weir::before(&[&api])
        .with("client.max_body = '64MiB'")
        .start()
        .await;
    let mut client = weir.connect().await;
    // All of the request first, and only then the answer.
    let mut request =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BIG}\r\n\r\n").into_bytes();
    request.resize(request.len() + BIG, b'q');
    client.send(request).await;
    within("the server to have everything", hears.recv()).await;
    assert_eq!(client.answer().await.expect(200).body.len(), BIG);
}

#[tokio::test]
async fn refused_uploads_take_no_server_out() {
    let server = || {
        RawServer::start(|mut conn| async move {
            while let Some((start, _)) = conn.request_head().await {
                if start.contains("/stall") {
                    conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
                        .await;
                    std::future::pending::<()>().await;
                } else if start.contains("/close") {
                    conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
                    return;
                } else if start.contains("/partial") {
                    // Waits for the rest in vain, as long as it likes to.
                    return;
                }
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        })
    };
    let (a, b) = (server().await, server().await);
    let weir = Weir::before(&[&a, &b])
        .with("client.max_body = '64MiB'\ntimeouts.send = '500ms'\nupstream.api.keepalive = 0")
        .start()
        .await;
    for target in ["/stall", "/close"] {
        for _ in 0..2 {
            assert_eq!(upload(&weir, target, 16 << 20).await.1, 403, "{target}");
        }
    }
    for _ in 0..2 {
        let mut client = weir.connect().await;
        client
            .send("POST /partial HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
            .await;
        client.answer().await.expect(502);
    }
    for _ in 0..4 {
        weir.get("/").await.expect(200);
    }
    let failed = weir
        .metric("weir_upstream_attempts_total{outcome=\"failed\",upstream=\"api\"}")
        .await;
    assert_eq!(failed, 0.0);
}

#[tokio::test]
async fn informational_answers_without_end_are_cut_off() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
        while conn.stream.write_all(hint.as_bytes()).await.is_ok() {}
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let answer = weir.get("/").await.expect(502);
    assert!(answer.interim.len() <= 64, "{}", answer.interim.len());
}

#[tokio::test]
async fn slow_informational_answers_do_not_stretch_the_time_for_an_answer() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if conn
                .stream
                .write_all(b"HTTP/1.1 102 Processing\r\n\r\n")
                .await
                .is_err()
            {
                return;
            }
        }
    })
    .await;
    let weir = Weir::before(&[&api])
        .with("timeouts.read = '500ms'")
        .start()
        .await;
    weir.get("/").await.expect(504);
}

#[tokio::test]
async fn an_answer_with_a_thousand_fields_passes() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        let fields: String = (0..1000).map(|i| format!("X-{i}: {i}\r\n")).collect();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"
        ))
        .await;
        let _ = conn.rest().await;
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let answer = weir.get("/").await.expect(200);
    assert_eq!(answer.header("X-999"), Some("999"));
}

#[tokio::test]
async fn many_tiny_chunks_arrive_as_few_pieces() {
    let api = RawServer::start(|mut conn| async move {
        while conn.request_head().await.is_some() {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            conn.send("1\r\nx\r\n".repeat(200_000) + "0\r\n\r\n").await;
        }
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let text = String::from_utf8(client.closed().await).unwrap();
    let pieces = text.matches("\r\nx").count();
    assert!(pieces < 2_000, "{pieces} chunks");
    assert_eq!(weir.get("/").await.expect(200).body.len(), 200_000);
}

#[tokio::test]
async fn trailers_are_passed_on_in_both_directions() {
    let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let api = RawServer::start(move |mut conn| {
        let seen = seen.clone();
        async move {
            let _ = conn.request_head().await;
            while !conn.buffer.ends_with(b"\r\n\r\n") && conn.fill().await.unwrap() {}
            seen.send(String::from_utf8_lossy(&conn.buffer).into_owned()).unwrap();
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n").await;
            let _ = conn.rest().await;
        }
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n3\r\nabc\r\n0\r\nX-Up: 1\r\nX-Real-IP: 6.6.6.6\r\n\r\n")
        .await;
    let heard = within("the request", sees.recv()).await.unwrap();
    assert_eq!(heard, "3\r\nabc\r\n0\r\nX-Up: 1\r\n\r\n");
    let answer = String::from_utf8(client.closed().await).unwrap();
    assert!(answer.contains("\r\nTrailer: X-Sum\r\n"), "{answer}");
    assert!(
        answer.ends_with("2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn pieces_of_a_sized_answer_are_passed_on_as_they_come() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
            .await;
        // Each after a byte of the next request, by which the client says that it has seen the last.
        for piece in ["one", "two"] {
            conn.send(piece).await;
            if piece == "one" {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        let _ = conn.rest().await;
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut text = Vec::new();
    while !text.ends_with(b"one") {
        let more = client.receive().await;
        assert!(!more.is_empty() && !more.ends_with(b"two"), "held back");
        text.extend(more);
    }
    assert_eq!(client.receive_exactly(3).await, b"two");
}

#[tokio::test]
async fn a_stalled_upload_does_not_hold_the_answer_up() {
    let api = RawServer::start(|mut conn| async move {
        let _ = conn.request_head().await;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
            .await;
        let _ = conn.rest().await;
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        .await;
    assert_eq!(client.answer().await.expect(200).text(), "early");
}
