//! HTTP/2 to servers: the same requests and answers as over HTTP/1, on shared connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::sync::Semaphore;
use weir_tests::http2::{Frame, fields, read_all, send_all};
use weir_tests::weir::{Builder, Server};
use weir_tests::{FrameOrigin, Http2Origin, Origin, Weir, eventually, within};

fn before(servers: &[&dyn Server]) -> Builder {
    Weir::before(servers).with("upstream.api.protocol = 'http2'")
}

#[tokio::test]
async fn a_request_becomes_one_of_http2() {
    let origin = Http2Origin::start(|it| async move {
        let head = format!(
            "{} {} {:?} {:?} te={:?} hop={:?} connection={:?} id={}",
            it.head.method,
            it.head.uri,
            it.header("x-one"),
            it.header("x-forwarded-for"),
            it.header("te"),
            it.header("x-hop"),
            it.header("connection"),
            it.header("x-request-id").is_some(),
        );
        it.text(200, head).await;
    })
    .await;
    let weir = before(&[&origin]).start().await;
    let headers = "X-One: 1\r\nConnection: X-Hop, TE\r\nX-Hop: 2\r\nTE: trailers, gzip\r\n";
    let answer = weir.request("GET", "/a?b=<c>", headers).await.expect(200);
    assert_eq!(
        answer.text(),
        "GET http://test/a?b=%3Cc%3E Some(\"1\") Some(\"127.0.0.1\") te=Some(\"trailers\") hop=None connection=None id=true"
    );
}

#[tokio::test]
async fn bodies_of_every_kind_arrive_in_both_directions() {
    let origin = Http2Origin::start(|mut it| async move {
        let (body, trailers) = read_all(&mut it.body).await;
        let length = it.header("content-length").map(str::to_owned);
        let trailer = trailers.and_then(|t| Some(t.get("x-sum")?.to_str().ok()?.to_owned()));
        let seen = format!("{} {length:?} {trailer:?}", body.len());
        let mut out = it.begin(200, &[("x-seen", &seen)]);
        send_all(&mut out, Bytes::from(body)).await;
        let _ = out.send_trailers(fields(&[("x-end", "yes")]));
    })
    .await;
    let weir = before(&[&origin])
        .with("client.max_body = '8MiB'")
        .start()
        .await;
    let mut client = weir.connect().await;
    for size in [0, 1, 100_000, 3_000_000] {
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
            ))
            .await;
        let sending = client.send(vec![b'x'; size]);
        sending.await;
        let answer = client.answer().await.expect(200);
        assert_eq!(
            answer.header("x-seen"),
            Some(format!("{size} Some(\"{size}\") None").as_str())
        );
        assert_eq!(answer.body.len(), size);
    }
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n")
        .await;
    let answer = client.answer().await.expect(200);
    assert_eq!(answer.header("x-seen"), Some("3 None Some(\"3\")"));
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let came = String::from_utf8(client.closed().await).unwrap();
    assert!(came.ends_with("\r\n0\r\nx-end: yes\r\n\r\n"), "{came}");
    assert_eq!(origin.connections(), 1, "one connection carried them all");
}

#[tokio::test]
async fn an_answer_without_a_body_has_an_end_for_http1_clients() {
    let origin = Http2Origin::start(|it| async move {
        let status = it.head.uri.path()[1..].parse().unwrap();
        it.head_only(status, &[("x-a", "b")]);
    })
    .await;
    let weir = before(&[&origin]).start().await;
    let mut client = weir.connect().await;
    let empty = client.get("/200").await.expect(200);
    assert_eq!(
        (empty.header("content-length"), empty.body.len()),
        (Some("0"), 0)
    );
    client.get("/204").await.expect(204);
    client.get("/304").await.expect(304);
    client.request("HEAD", "/200", "").await.expect(200);
    client.get("/404").await.expect(404);
}

#[tokio::test]
async fn many_requests_share_one_connection_up_to_what_the_server_allows() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = Http2Origin::with_streams(4, move |it| {
        let held = Arc::clone(&held);
        async move {
            held.acquire().await.unwrap().forget();
            it.text(200, "ok").await;
        }
    })
    .await;
    let weir = before(&[&origin]).start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    eventually("all requests at the server", || origin.count() == 10).await;
    assert_eq!(origin.connections(), 3);
    assert_eq!(
        weir.metric("weir_upstream_connections_total{kind=\"opened\",upstream=\"api\"}")
            .await,
        3.0
    );
    gate.add_permits(10);
    for client in &mut clients {
        client.answer().await.expect(200);
    }
}

#[tokio::test]
async fn a_hundred_at_once_open_one_connection() {
    let origin = Http2Origin::named("ok").await;
    let weir = before(&[&origin]).start().await;
    let answers = (0..80).map(|_| weir.get("/"));
    for answer in futures_util::future::join_all(answers).await {
        answer.expect(200);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn idle_connections_close_after_their_time() {
    let origin = Http2Origin::named("ok").await;
    let weir = before(&[&origin])
        .with("upstream.api.keepalive_timeout = '100ms'")
        .start()
        .await;
    weir.get("/").await.expect(200);
    eventually("the idle connection to close", || origin.open() == 0).await;
    weir.get("/").await.expect(200);
    assert_eq!(origin.connections(), 2);
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_refused_stream_is_tried_elsewhere_whatever_the_method() {
    let refuses = Http2Origin::start(|it| async move { it.reset(Reason::REFUSED_STREAM) }).await;
    let good = Http2Origin::start(|mut it| async move {
        let (body, _) = read_all(&mut it.body).await;
        it.text(200, body).await;
    })
    .await;
    let weir = before(&[&refuses, &good])
        .with("upstream.api.retry.tries = 2")
        .start()
        .await;
    let mut client = weir.connect().await;
    for _ in 0..3 {
        client.send(POST).await;
        assert_eq!(
            client.answer().await.expect(200).text(),
            "hi",
            "the body came along"
        );
    }
    assert!(refuses.count() >= 1);
}

#[tokio::test]
async fn a_reset_stream_is_tried_elsewhere_only_if_idempotent() {
    let resets = Http2Origin::start(|it| async move { it.reset(Reason::INTERNAL_ERROR) }).await;
    let weir = before(&[&resets]).start().await;
    let mut client = weir.connect().await;
    client.send(POST).await;
    client.answer().await.expect(502);
    let log = weir.logged(1).await;
    assert!(
        log[0]["error"]
            .as_str()
            .unwrap()
            .contains("reset the stream"),
        "{log:?}"
    );
    let good = Http2Origin::named("good").await;
    let weir = before(&[&resets, &good]).start().await;
    for _ in 0..4 {
        weir.get("/").await.expect(200);
    }
    assert_eq!(resets.open(), 2, "the connection outlives the stream");
}

#[tokio::test]
async fn what_a_goodbye_left_undone_is_done_over_another_connection() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    // The first stream of a connection is answered, the second one finds the server leaving.
    let origin = FrameOrigin::start(move |frame| match (frame.kind, frame.stream) {
        (Frame::HEADERS, 1) => {
            count.fetch_add(1, SeqCst);
            // `:status: 204` of the static table, END_STREAM and END_HEADERS.
            vec![Frame {
                kind: Frame::HEADERS,
                flags: 5,
                stream: 1,
                payload: vec![0x89],
            }]
        }
        (Frame::HEADERS, _) => vec![Frame::goaway(1, Reason::NO_ERROR)],
        _ => Vec::new(),
    })
    .await;
    let weir = before(&[&origin])
        .with("upstream.api.retry.tries = 1")
        .start()
        .await;
    let mut client = weir.connect().await;
    for _ in 0..4 {
        client.send(POST).await;
        client.answer().await.expect(204);
    }
    assert_eq!((seen.load(SeqCst), origin.connections()), (4, 4));
    assert_eq!(
        weir.metric("weir_upstream_attempts_total{outcome=\"failed\",upstream=\"api\"}")
            .await,
        0.0
    );
}

#[tokio::test]
async fn a_server_that_leaves_answers_what_it_has_and_gets_nothing_new() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = Http2Origin::start(move |it| {
        let held = Arc::clone(&held);
        async move {
            if it.head.uri.path() == "/slow" {
                it.connection.say_goodbye();
                held.acquire().await.unwrap().forget();
            }
            it.text(200, "ok").await;
        }
    })
    .await;
    let weir = before(&[&origin]).start().await;
    let mut slow = weir.connect().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the slow request", || origin.count() == 1).await;
    for _ in 0..20 {
        weir.get("/").await.expect(200);
    }
    gate.add_permits(1);
    slow.answer().await.expect(200);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_server_killed_in_mid_stream_breaks_the_answer_and_the_next_finds_another() {
    let origin = Http2Origin::start(|mut it| async move {
        if it.head.uri.path() == "/dies" {
            let mut body = it.begin(200, &[]);
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            // The piece is on its way before the connection goes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            it.connection.kill();
            return;
        }
        it.text(200, "ok").await;
    })
    .await;
    let weir = before(&[&origin]).start().await;
    let mut client = weir.connect().await;
    client.send("GET /dies HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let came = client.closed().await;
    let came = String::from_utf8_lossy(&came).into_owned();
    assert!(
        came.contains("half") && !came.ends_with("0\r\n\r\n"),
        "{came}"
    );
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn an_early_answer_is_passed_on_while_the_upload_stalls() {
    let origin = Http2Origin::start(|mut it| async move {
        let mut body = it.begin(413, &[("content-length", "2")]);
        body.send_data(Bytes::from_static(b"no"), true).unwrap();
        // Without reading on: `h2` resets the stream with NO_ERROR (RFC 9113 section 8.1).
    })
    .await;
    let weir = before(&[&origin])
        .with("client.max_body = '1GiB'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nabc")
        .await;
    let answer = client.answer().await.expect(413);
    assert_eq!(answer.text(), "no");
    assert_eq!(origin.open(), 1, "the connection stays");
}

#[tokio::test]
async fn one_slow_reader_keeps_nobody_waiting() {
    let origin = Http2Origin::start(|mut it| async move {
        if it.head.uri.path() == "/big" {
            let mut body = it.begin(200, &[]);
            send_all(&mut body, vec![b'x'; 20 << 20].into()).await;
            let _ = body.send_data(Bytes::new(), true);
            return;
        }
        it.text(200, "ok").await;
    })
    .await;
    let weir = before(&[&origin]).start().await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        let mut client = weir.connect().await;
        client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
        slow.push(client);
    }
    eventually("the downloads to begin", || origin.count() == 10).await;
    for _ in 0..20 {
        within("a small answer", weir.get("/")).await.expect(200);
    }
    assert_eq!(origin.connections(), 1);
    drop(slow);
    within("room again", weir.get("/")).await.expect(200);
}

#[tokio::test]
async fn a_silent_server_times_out_and_its_connection_stays() {
    let origin = Http2Origin::start(|it| async move {
        if it.head.uri.path() == "/silent" {
            std::future::pending::<()>().await;
        }
        it.text(200, "ok").await;
    })
    .await;
    let weir = before(&[&origin])
        .with("timeouts.read = '200ms'")
        .start()
        .await;
    weir.get("/silent").await.expect(504);
    weir.get("/").await.expect(200);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_server_of_http1_is_told_from_one_of_http2_before_anything_is_sent() {
    let old = Origin::named("old").await;
    let good = Http2Origin::named("good").await;
    let weir = before(&[&old, &good]).start().await;
    for _ in 0..3 {
        let mut client = weir.connect().await;
        client.send(POST).await;
        assert_eq!(client.answer().await.expect(200).text(), "good");
    }
}

#[tokio::test]
async fn informational_answers_are_passed_on() {
    let origin = Http2Origin::start(|mut it| async move {
        let hints = http::Response::builder().status(103).header("link", "</a>");
        it.answer
            .send_informational(hints.body(()).unwrap())
            .unwrap();
        it.text(200, "ok").await;
    })
    .await;
    let weir = before(&[&origin]).start().await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut came = String::new();
    while !came.ends_with("ok") && !came.ends_with("0\r\n\r\n") {
        came += &String::from_utf8_lossy(&client.receive().await);
    }
    assert!(
        came.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n"),
        "{came}"
    );
    assert!(came.contains("\r\n\r\nHTTP/1.1 200"), "{came}");
}

#[tokio::test]
async fn health_checks_speak_http2_too() {
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let now = Arc::clone(&healthy);
    let origin = Http2Origin::start(move |it| {
        let status = if now.load(SeqCst) { 200 } else { 503 };
        async move { it.text(status, "").await }
    })
    .await;
    let other = Http2Origin::named("other").await;
    let weir = before(&[&origin, &other])
        .with("upstream.api.health_check = { path = '/h', interval = '100ms', timeout = '100ms', fall = 1, rise = 1 }")
        .start()
        .await;
    let state = async || weir.admin.server(origin.addr()).await["state"].clone();
    eventually("checks", || origin.count() > 1).await;
    assert_eq!(state().await, "up");
    healthy.store(false, SeqCst);
    weir_tests::wait::eventually_some("the server to be out", async || {
        (state().await != "up").then_some(())
    })
    .await;
    healthy.store(true, SeqCst);
    weir_tests::wait::eventually_some("the server to be back", async || {
        (state().await == "up").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_drain_waits_for_streams_and_a_reload_disturbs_none() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = Http2Origin::start(move |mut it| {
        let held = Arc::clone(&held);
        async move {
            let mut body = it.begin(200, &[]);
            body.send_data(Bytes::from_static(b"first"), false).unwrap();
            held.acquire().await.unwrap().forget();
            let _ = body.send_data(Bytes::from_static(b"last"), true);
        }
    })
    .await;
    let mut weir = before(&[&origin]).start().await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the request", || origin.count() == 1).await;
    weir.rewrite_config("upstream.api.protocol = 'http1'");
    weir.process.signal(nix::sys::signal::Signal::SIGHUP);
    weir_tests::wait::eventually_some("the reload", async || {
        let settings = weir.admin.get("/v1/settings").await;
        (settings["effective"]["upstream"]["api"]["protocol"] == "http1").then_some(())
    })
    .await;
    weir.process.signal(nix::sys::signal::Signal::SIGTERM);
    gate.add_permits(1);
    assert_eq!(client.answer().await.expect(200).text(), "firstlast");
    assert_eq!(weir.process.exit_code().await, Some(0));
}
