//! Requests over HTTP/2 go the way of all requests: routes, limits, bodies, trailers, logs.

use bytes::Bytes;
use weir_tests::{Gate, Origin, Reply, within};

use super::{all, ask, client, h2c, request};

#[tokio::test]
async fn a_request_reaches_an_http1_server_as_one_of_its_own() {
    let api = Origin::answering(
        Reply::text("hello")
            .header("X-Answer", "1")
            .header("Connection", "keep-alive")
            .header("Keep-Alive", "timeout=5"),
    )
    .await;
    let weir = h2c(&[&api]).start().await;
    let mut client = client(&weir).await;
    let asked = request("GET", "/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-custom", "yes")
        .header("x-forwarded-for", "6.6.6.6")
        .body(())
        .unwrap();
    let (parts, body) = ask(&mut client, asked).await;
    assert_eq!(
        (parts.status.as_u16(), body.as_slice()),
        (200, &b"hello"[..])
    );
    assert_eq!(parts.headers["x-answer"], "1");
    assert!(parts.headers.contains_key("x-request-id") && parts.headers.contains_key("date"));
    assert!(!parts.headers.contains_key("connection") && !parts.headers.contains_key("keep-alive"));
    let seen = api.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/a?b=c")
    );
    assert_eq!(seen.header("Host"), Some("test"));
    assert_eq!(seen.header("Cookie"), Some("a=1; b=2"));
    assert_eq!(seen.header("TE"), Some("trailers"));
    assert_eq!(seen.header("X-Custom"), Some("yes"));
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
    let line = &weir.logged(1).await[0];
    assert_eq!(line["protocol"], "HTTP/2.0");
    assert_eq!(
        (&line["host"], &line["target"]),
        (&"test".into(), &"/a?b=c".into())
    );
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &5.into()));
}

#[tokio::test]
async fn http1_is_spoken_on_the_same_listener() {
    let api = Origin::named("a").await;
    let weir = h2c(&[&api]).start().await;
    assert_eq!(weir.get("/").await.expect(200).text(), "a");
    // It begins like the preface of HTTP/2.
    let response = weir.request("PRI", "/", "").await;
    assert_eq!(response.text(), "a");
    let mut slow = weir.connect().await;
    slow.send("P").await;
    slow.send("UT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .await;
    slow.answer().await.expect(200);
    let mut client = client(&weir).await;
    let (parts, _) = ask(&mut client, request("GET", "/").body(()).unwrap()).await;
    assert_eq!(parts.status, 200);
}

#[tokio::test]
async fn without_h2c_the_preface_is_refused_at_once() {
    let api = Origin::named("a").await;
    let weir = weir_tests::Weir::before(&[&api]).start().await;
    let mut conn = weir.connect().await;
    conn.send(weir_tests::frames::PREFACE).await;
    conn.answer().await.expect(505);
    conn.closed().await;
}

#[tokio::test]
async fn bodies_of_any_size_pass_in_both_directions_at_once() {
    let api = Origin::echo().await;
    let weir = h2c(&[&api]).with("client.max_body = '64MiB'").start().await;
    let mut client = client(&weir).await;
    let (response, mut send) = client
        .send_request(request("POST", "/").body(()).unwrap(), false)
        .unwrap();
    let sent: Vec<u8> = (0..8_000_000u32).map(|n| (n * 31) as u8).collect();
    let mut left = Bytes::from(sent.clone());
    let sending = async {
        while !left.is_empty() {
            send.reserve_capacity(left.len().min(100_000));
            let room = within("room", std::future::poll_fn(|cx| send.poll_capacity(cx))).await;
            let piece = left.split_to(room.unwrap().unwrap().min(left.len()));
            send.send_data(piece, left.is_empty()).unwrap();
        }
    };
    let receiving = async {
        let mut body = within("an answer", response).await.unwrap().into_body();
        all(&mut body).await
    };
    let ((), got) = tokio::join!(sending, receiving);
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    assert!(api.last().is_chunked());
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
               5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n";
    let api = Origin::answering(Reply::raw(raw)).await;
    let weir = h2c(&[&api]).start().await;
    let mut client = client(&weir).await;
    let (response, mut send) = client
        .send_request(
            request("POST", "/")
                .header("te", "trailers")
                .body(())
                .unwrap(),
            false,
        )
        .unwrap();
    send.send_data(Bytes::from_static(b"data"), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-check", "7".parse().unwrap());
    send.send_trailers(trailers).unwrap();
    let mut body = within("an answer", response).await.unwrap().into_body();
    assert_eq!(all(&mut body).await, b"hello");
    let trailers = within("trailers", body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["x-sum"], "42");
    assert_eq!(api.last().body, b"data");
}

#[tokio::test]
async fn what_has_no_body_has_none() {
    let api = Origin::start(|request| match request.target.as_str() {
        "/204" => Reply::empty(204),
        "/304" => Reply::empty(304).header("ETag", "\"a\""),
        _ => Reply::text("hello"),
    })
    .await;
    let weir = h2c(&[&api]).start().await;
    let mut client = client(&weir).await;
    for (method, path, status) in [
        ("GET", "/204", 204),
        ("GET", "/304", 304),
        ("HEAD", "/", 200),
    ] {
        let (parts, body) = ask(&mut client, request(method, path).body(()).unwrap()).await;
        assert_eq!(
            (parts.status.as_u16(), body.len()),
            (status, 0),
            "{method} {path}"
        );
    }
    let (parts, _) = ask(&mut client, request("HEAD", "/").body(()).unwrap()).await;
    assert_eq!(parts.headers["content-length"], "5");
}

#[tokio::test]
async fn informational_answers_come_first() {
    let raw = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
               HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let api = Origin::answering(Reply::raw(raw)).await;
    let weir = h2c(&[&api]).start().await;
    let mut frames = super::open(&weir).await;
    frames.send(weir_tests::frames::request(1)).await;
    let heads = |frame: &weir_tests::frames::Frame| frame.kind == weir_tests::frames::HEADERS;
    let first = frames.until(heads).await.unwrap();
    assert_eq!(first.status(), None, "103 is not in HPACK's table");
    assert!(!first.has(weir_tests::frames::END_STREAM));
    let second = frames.until(heads).await.unwrap();
    assert_eq!(second.status(), Some(200));
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let api = Origin::echo().await;
    let weir = h2c(&[&api]).start().await;
    let mut client = client(&weir).await;
    let asked = request("POST", "/")
        .header("expect", "100-continue")
        .body(())
        .unwrap();
    let (mut response, mut send) = client.send_request(asked, false).unwrap();
    let interim = within(
        "100",
        std::future::poll_fn(|cx| response.poll_informational(cx)),
    )
    .await;
    assert_eq!(interim.unwrap().unwrap().status(), 100);
    send.send_data(Bytes::from_static(b"now"), true).unwrap();
    let mut body = within("an answer", response).await.unwrap().into_body();
    assert_eq!(all(&mut body).await, b"now");
    assert_eq!(api.last().header("Expect"), None);
}

#[tokio::test]
async fn limits_of_requests_are_those_of_http1() {
    let api = Origin::named("a").await;
    let weir = h2c(&[&api])
        .with(
            "client.max_body = '1KiB'\nclient.max_header = '2KiB'
             rate_limit.slow = { rate = '1r/m', burst = 2, nodelay = true, key = 'header:x-key' }
             route = [{ upstream = 'api', rate_limit = ['slow'] }, { path = '/free', upstream = 'api' }]",
        )
        .start()
        .await;
    let mut client = client(&weir).await;
    let mut status = async |request| ask(&mut client, request).await.0;
    let large = "v".repeat(4000);
    let asked = request("GET", "/free")
        .header("x-large", &large)
        .body(())
        .unwrap();
    let refused = status(asked).await;
    assert_eq!(refused.status, 431);
    assert!(refused.headers.contains_key("x-request-id") && refused.headers["server"] == "weir");
    let mut limited = 0;
    for _ in 0..6 {
        let asked = request("GET", "/").header("x-key", "k").body(()).unwrap();
        let parts = status(asked).await;
        limited += u32::from(parts.status == 429);
        assert_eq!(
            parts.status == 429,
            parts.headers.contains_key("retry-after")
        );
    }
    assert_eq!(limited, 3);
    assert_eq!(
        status(request("TRACE", "/free").body(()).unwrap())
            .await
            .status,
        405
    );

    let mut send_body = async |declared: Option<&str>| {
        let mut asked = request("POST", "/free");
        if let Some(length) = declared {
            asked = asked.header("content-length", length);
        }
        let (response, mut send) = client.send_request(asked.body(()).unwrap(), false).unwrap();
        let _ = send.send_data(Bytes::from(vec![0; 5000]), true);
        within("an answer", response).await.unwrap().status()
    };
    assert_eq!(send_body(Some("5000")).await, 413);
    assert_eq!(send_body(None).await, 413);
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    use weir_tests::frames::{REFUSED_STREAM, RST_STREAM, request};
    let gate = Gate::closed();
    let api = Origin::answering(Reply::text("late").when(&gate)).await;
    let weir = h2c(&[&api]).with("client.max_streams = 3").start().await;
    let mut frames = super::open(&weir).await;
    for stream in [1, 3, 5, 7] {
        frames.send(request(stream)).await;
    }
    let refused = frames
        .until(|frame| frame.kind == RST_STREAM)
        .await
        .unwrap();
    assert_eq!((refused.stream, refused.code()), (7, REFUSED_STREAM));
    gate.open();
    for stream in [1, 3, 5] {
        // They may come in any order.
        let end = frames
            .until(|frame| frame.has(0x1) && frame.kind == 0)
            .await;
        assert!(end.is_some(), "{stream}");
    }
    frames.send(request(9)).await;
    assert_eq!(frames.answer(9).await, (Some(200), b"late".to_vec()));
}

#[tokio::test]
async fn a_client_that_gives_up_frees_the_server() {
    let api = Origin::answering(Reply::hang()).await;
    let weir = h2c(&[&api]).start().await;
    let mut frames = super::open(&weir).await;
    frames.send(weir_tests::frames::request(1)).await;
    api.is_serving(1).await;
    frames.send(weir_tests::frames::reset(1, 8)).await;
    weir_tests::eventually("the server's connection to be closed", || api.open() == 0).await;
    assert_eq!(weir.logged(1).await[0]["status"], 499);
    assert!(frames.is_alive().await);
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_its_stream_alone() {
    use weir_tests::frames::{RST_STREAM, request};
    let api = Origin::start(|asked| match asked.target.as_str() {
        "/" => Reply::partial("half", 100),
        _ => Reply::text("whole"),
    })
    .await;
    let weir = h2c(&[&api]).start().await;
    let mut frames = super::open(&weir).await;
    frames.send(request(1)).await;
    let reset = frames
        .until(|frame| frame.kind == RST_STREAM)
        .await
        .unwrap();
    assert_eq!((reset.stream, reset.code()), (1, 2));
    assert!(frames.is_alive().await);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let api = Origin::echo().await;
    let weir = h2c(&[&api])
        .with("timeouts.client_body = '200ms'")
        .start()
        .await;
    let mut client = client(&weir).await;
    let (response, _send) = client
        .send_request(request("POST", "/").body(()).unwrap(), false)
        .unwrap();
    let response = within("an answer", response).await.unwrap();
    assert_eq!(response.status(), 408);
    // Others on the connection are not concerned.
    let (parts, _) = ask(&mut client, request("GET", "/").body(()).unwrap()).await;
    assert_eq!(parts.status, 200);
}
