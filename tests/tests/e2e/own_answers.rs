//! What the proxy says itself: complete answers, and only to those who asked.

use weir_tests::{Origin, Reply, Response, Weir};

fn is_complete(answer: &Response) {
    for name in ["Date", "Server", "X-Request-Id", "Content-Length"] {
        assert!(
            answer.headers.has(name),
            "{}: no {name}{}",
            answer.status,
            answer.headers
        );
    }
    assert_eq!(answer.header("Server"), Some("weir"));
}

#[tokio::test]
async fn every_own_answer_says_who_when_and_which() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("client.max_body = '1KiB'\nclient.max_header = '2KiB'\nroute = [{ path = '/a', upstream = 'api' }]")
        .start()
        .await;
    for (request, status) in [
        ("GET /a HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /n HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        ("TRACE /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        (
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n".to_owned(),
            413,
        ),
        (
            format!(
                "GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(4000)
            ),
            431,
        ),
        ("GET /a HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        (
            "GET /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
            501,
        ),
    ] {
        let mut client = weir.connect().await;
        client.send(&request).await;
        let answer = client.answer().await.expect(status);
        is_complete(&answer);
        assert_eq!(answer.headers.has("Allow"), status == 405, "{request}");
    }
    let log = weir.logged(8).await;
    assert!(
        log.iter().any(|line| line["target"] == "GET /a HTTP/2.0"),
        "{log:?}"
    );
}

#[tokio::test]
async fn a_date_is_added_only_where_the_server_has_none() {
    let api = Origin::start(|request| match request.target.as_str() {
        "/dated" => Reply::text("x").header("Date", "Tue, 01 Jan 2019 00:00:00 GMT"),
        _ => Reply::text("x"),
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let answer = weir.get("/dated").await;
    assert_eq!(answer.header("Date"), Some("Tue, 01 Jan 2019 00:00:00 GMT"));
    assert!(weir.get("/").await.header("Date").is_some());
}

#[tokio::test]
async fn retry_after_says_when_a_request_would_pass() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("rate_limit.l = { key = 'global', rate = '2r/m', nodelay = true }\nroute = [{ upstream = 'api', rate_limit = ['l'] }]")
        .start()
        .await;
    weir.get("/").await.expect(200);
    let answer = weir.get("/").await.expect(429);
    let seconds: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((10..=31).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn what_cannot_become_a_request_is_refused_at_once() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("timeouts.client_header = '60s'")
        .start()
        .await;
    let hello = [
        &b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"[..],
        &[0x41; 100],
    ]
    .concat();
    let starts: [&[u8]; 9] = [
        &hello,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        &[0; 64],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HELLO WORLD\r\n",
        b"GET / HTTP/1.1\r\nHost a\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    ];
    for start in starts {
        let mut client = weir.connect().await;
        client.send(start).await;
        let answer = client.answer().await;
        assert!(
            matches!(answer.status, 400 | 505),
            "{start:?}: {}",
            answer.status
        );
    }
    assert_eq!(api.count(), 0);
}

#[tokio::test]
async fn nobody_is_told_408_who_asked_nothing() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("timeouts = { client_header = '200ms', keepalive = '300ms' }")
        .start()
        .await;
    for junk in ["", "\r\n", "\r\n\r\n"] {
        let mut client = weir.connect().await;
        client.send(junk).await;
        assert_eq!(client.closed().await, b"", "a new connection, {junk:?}");
        let mut client = weir.connect().await;
        client.get("/").await.expect(200);
        client.send(junk).await;
        assert_eq!(client.closed().await, b"", "a kept connection, {junk:?}");
    }
    let mut client = weir.connect().await;
    client.send("GET / HT").await;
    client.answer().await.expect(408);
}

#[tokio::test]
async fn every_connection_field_is_read() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    let answer = client
        .request(
            "GET",
            "/",
            "Connection: keep-alive\r\nConnection: close, X-B\r\nX-B: 1\r\n",
        )
        .await
        .expect(200);
    assert_eq!(answer.header("Connection"), Some("close"));
    assert_eq!(client.closed().await, b"");
    assert!(!api.last().headers.has("X-B"));
}

#[tokio::test]
async fn targets_pass_as_they_are_written() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    for target in ["/a\"b<c>d`e|f", "/?\"<>`{}\\^", "/?%zz"] {
        weir.get(target).await.expect(200);
        assert_eq!(api.last().target, target);
    }
    let mut client = weir.connect().await;
    client
        .send(b"GET /caf\xc3\xa9?\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    client.answer().await.expect(200);
    assert_eq!(api.last().target, "/caf\u{e9}?\u{e9}");
    weir.get("/a#b").await.expect(400);
}

#[tokio::test]
async fn an_absolute_target_says_who_is_asked() {
    let a = Origin::named("A").await;
    let b = Origin::named("B").await;
    let server = weir_tests::weir::Server::addr(&b);
    let weir = Weir::before(&[&a])
        .with(&format!(
            "upstream.b.servers = [{{ address = '{server}' }}]
             route = [{{ host = 'b.example', upstream = 'b' }}, {{ upstream = 'api' }}]"
        ))
        .start()
        .await;
    for target in [
        "http://b.example/x",
        "http://B.EXAMPLE:80/x",
        "http://b.example?q=1",
    ] {
        let mut client = weir.connect().await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.expect(200).text(), "B", "{target}");
        let host = b.last().header("host").unwrap().to_ascii_lowercase();
        assert!(host.starts_with("b.example"), "{host}");
    }
}

#[tokio::test]
async fn a_retry_that_finds_no_other_server_is_not_counted() {
    let api = Origin::answering(Reply::reset()).await;
    let weir = Weir::before(&[&api]).start().await;
    weir.get("/").await.expect(502);
    let retried = weir
        .metric("weir_upstream_attempts_total{outcome=\"retried\",upstream=\"api\"}")
        .await;
    assert_eq!(retried, 0.0);
}
