//! What could be understood in two ways is refused, in front of and behind the proxy.

use std::time::Duration;

use tokio::time::timeout;
use weir_tests::{Origin, Reply, Weir};

/// Sends each text on a connection of its own: each must be refused, and none of it may reach the origin.
async fn refused(requests: &[&str]) {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut wrong = Vec::new();
    for request in requests {
        let before = api.count();
        let mut client = weir.connect().await;
        client.send(request).await;
        // Every one of them is wrong as far as it goes: there is nothing to wait for.
        let answer = timeout(Duration::from_secs(2), client.try_answer_to("GET")).await;
        let status = match &answer {
            Ok(Ok(Some(response))) => Some(response.status),
            _ => None,
        };
        if !matches!(status, Some(400..=499 | 501 | 505)) {
            wrong.push(format!("{request:?} was answered {answer:?}"));
        }
        for seen in api.requests().into_iter().skip(before) {
            wrong.push(format!(
                "{request:?} arrived as {} {} {:?}",
                seen.method,
                seen.target,
                seen.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(weir.get("/").await.status, 200, "the proxy goes on");
}

#[tokio::test]
async fn ambiguous_lengths() {
    refused(&[
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello",
    ])
    .await;
}

#[tokio::test]
async fn transfer_codings_that_are_not_plainly_chunked() {
    refused(&[
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn bad_chunks() {
    let with = |chunks: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
    };
    let bad = [
        "x\r\n\r\n",
        "-1\r\nx\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1 \nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "fffffffffffffffff\r\nx\r\n",
        "1;\0\r\nx\r\n0\r\n\r\n",
        "\r\n",
    ]
    .map(with);
    refused(&bad.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn bad_heads() {
    refused(&[
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET relative HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 x\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
        "CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn a_header_above_the_limit_is_431() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("client.max_header = '4KiB'")
        .start()
        .await;
    weir.request("GET", "/", &format!("X: {:1$}\r\n", "", 3000))
        .await
        .expect(200);
    weir.request("GET", "/", &format!("X: {}\r\n", "x".repeat(5000)))
        .await
        .expect(431);
    assert_eq!(api.count(), 1);
}

#[tokio::test]
async fn a_refused_request_ends_its_connection() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let answers = client.closed().await;
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    assert_eq!(api.count(), 0);
}

#[tokio::test]
async fn a_client_cannot_strip_fields_that_the_server_relies_on() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let nominate = "Connection: X-Real-IP, X-Forwarded-For, X-Request-Id, Host, Content-Length, Authorization\r\n\
                    Authorization: Bearer t\r\n";
    let mut client = weir.connect().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{nominate}\r\nhi"
        ))
        .await;
    assert_eq!(client.answer().await.expect(200).text(), "hi");
    let request = api.last();
    for name in [
        "X-Real-IP",
        "X-Forwarded-For",
        "X-Request-Id",
        "Host",
        "Content-Length",
        "Authorization",
    ] {
        assert!(
            request.headers.has(name),
            "{name} is gone: {}",
            request.headers
        );
    }
}

#[tokio::test]
async fn answers_that_are_not_http_are_502_and_their_connections_are_not_kept() {
    let mut wrong = Vec::new();
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nab",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let api = Origin::answering(Reply::raw(answer)).await;
        let weir = Weir::before(&[&api]).start().await;
        let mut client = weir.connect().await;
        let response = client.get("/").await;
        if response.status != 502 {
            wrong.push(format!(
                "{answer:?} became {} {:?}",
                response.status,
                response.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn bytes_after_an_answer_never_become_the_next_answer() {
    let api = Origin::answering(Reply::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ))
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.expect(200).text(), "ok");
    }
}

#[tokio::test]
async fn whatever_is_refused_is_told_so() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut wrong = Vec::new();
    for target in [
        "/a\"b", "/a<b>", "/{x}", "/a\\b", "/a^b`c", "/\u{e9}", "/%zz", "/#x", "//", "/../..",
    ] {
        let mut client = weir.connect().await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        match client.try_answer_to("GET").await {
            Ok(Some(response)) if response.status == 400 => {}
            Ok(Some(response)) if response.status == 200 && api.last().target == target => {}
            other => wrong.push(format!("{target}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
