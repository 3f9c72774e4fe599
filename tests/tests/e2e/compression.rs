//! Compression of answers.

use std::io::Read as _;

use serde_json::json;
use weir_tests::raw::RawServer;
use weir_tests::{Origin, Reply, Response, Weir};

/// 20 kB of JSON that compresses well, or another answer, by path.
async fn api() -> Origin {
    Origin::start(|request| {
        let body = vec![json!({ "name": "compliance", "value": 12345 }).to_string(); 500].join(",");
        let json = |body: &str| {
            Reply::sized(body.as_bytes().to_vec())
                .header("Content-Type", "application/json; charset=utf-8")
        };
        match request.target.as_str() {
            "/small" => json("{\"a\":1}"),
            "/image" => Reply::sized(body.into_bytes()).header("Content-Type", "image/png"),
            "/text" => Reply::sized(body.into_bytes()).header("Content-Type", "text/csv"),
            "/untyped" => Reply::sized(body.into_bytes()),
            "/encoded" => json(&body).header("Content-Encoding", "br"),
            "/etag" => json(&body).header("ETag", "\"v1\""),
            "/chunked" => Reply::chunked(&[body.as_bytes(), body.as_bytes()])
                .header("Content-Type", "application/json"),
            "/no-transform" => json(&body).header("Cache-Control", "no-transform"),
            "/error" => json(&body).with_status(500),
            _ => json(&body),
        }
    })
    .await
}

async fn weir(api: &Origin) -> Weir {
    Weir::before(&[api])
        .with("[compression]\nenabled = true\nlevel = 6\nmin_length = 256\ntypes = ['application/json', 'text/*']")
        .start()
        .await
}

async fn ask(weir: &Weir, target: &str, accept: &str) -> Response {
    weir.request("GET", target, &format!("Accept-Encoding: {accept}\r\n"))
        .await
}

fn is_gzip(response: &Response) -> bool {
    response.header("Content-Encoding") == Some("gzip")
}

fn unpacked(response: &Response) -> Vec<u8> {
    let mut body = Vec::new();
    flate2::read::MultiGzDecoder::new(response.body.as_slice())
        .read_to_end(&mut body)
        .unwrap();
    body
}

#[tokio::test]
async fn a_listed_type_is_compressed_for_who_can_read_it() {
    let api = api().await;
    let weir = weir(&api).await;
    for target in ["/", "/text", "/chunked"] {
        let plain = weir.get(target).await.expect(200);
        let packed = ask(&weir, target, "gzip").await.expect(200);
        assert!(!is_gzip(&plain) && is_gzip(&packed), "{target}");
        assert!(
            packed.body.len() * 10 < plain.body.len(),
            "{} of {}",
            packed.body.len(),
            plain.body.len()
        );
        assert!(
            unpacked(&packed) == plain.body,
            "{target}: the content is the same"
        );
        assert!(
            packed
                .headers
                .all("Vary")
                .any(|v| v.eq_ignore_ascii_case("accept-encoding"))
        );
        assert!(
            !packed.headers.has("Content-Length") || packed.framing == weir_tests::Framing::Length
        );
    }
}

#[tokio::test]
async fn what_gains_nothing_is_left_alone() {
    let api = api().await;
    let weir = weir(&api).await;
    for target in ["/small", "/image", "/untyped", "/no-transform"] {
        assert!(!is_gzip(&ask(&weir, target, "gzip").await), "{target}");
    }
    let encoded = ask(&weir, "/encoded", "gzip").await;
    assert_eq!(encoded.header("Content-Encoding"), Some("br"));
}

#[tokio::test]
async fn the_client_decides() {
    let api = api().await;
    let weir = weir(&api).await;
    for (accept, expected) in [
        ("gzip", true),
        ("gzip;q=0", false),
        ("gzip; q=0.0", false),
        ("gzip;q=0.001", true),
        ("*", true),
        ("*;q=0", false),
        ("gzip;q=0, *", false),
        ("br, gzip;q=0.5", true),
        ("br;q=1.0, deflate", false),
        ("identity", false),
        ("GZIP", true),
        ("x-gzip", true),
        ("notgzip", false),
        ("", false),
    ] {
        let response = ask(&weir, "/", accept).await.expect(200);
        assert_eq!(is_gzip(&response), expected, "Accept-Encoding: {accept}");
    }
}

#[tokio::test]
async fn head_and_validators_agree_with_the_compressed_answer() {
    let api = api().await;
    let weir = weir(&api).await;
    let head = weir
        .request("HEAD", "/", "Accept-Encoding: gzip\r\n")
        .await
        .expect(200);
    assert!(head.body.is_empty());
    // A strong validator names other bytes than those that are sent (nginx makes it weak as well).
    let packed = ask(&weir, "/etag", "gzip").await;
    assert!(is_gzip(&packed));
    assert_ne!(packed.header("ETag"), Some("\"v1\""));
}

#[tokio::test]
async fn level_and_switch_can_be_changed_while_running() {
    let api = api().await;
    let weir = weir(&api).await;
    let mut client = weir.connect().await;
    let mut sizes = Vec::new();
    for level in [1, 9] {
        weir.admin
            .patch(json!({ "compression": { "level": level } }))
            .await;
        let response = client
            .request("GET", "/", "Accept-Encoding: gzip\r\n")
            .await;
        assert!(is_gzip(&response));
        sizes.push(response.body.len());
    }
    assert!(sizes[1] < sizes[0], "{sizes:?}");
    weir.admin
        .patch(json!({ "compression": { "enabled": false } }))
        .await;
    assert!(!is_gzip(
        &client
            .request("GET", "/", "Accept-Encoding: gzip\r\n")
            .await
    ));
    weir.admin
        .patch(json!({ "compression": { "enabled": true, "min_length": "1MiB" } }))
        .await;
    assert!(!is_gzip(
        &client
            .request("GET", "/", "Accept-Encoding: gzip\r\n")
            .await
    ));
}

#[tokio::test]
async fn an_old_client_gets_a_compressed_body_without_chunks() {
    let api = api().await;
    let weir = weir(&api).await;
    let mut client = weir.connect().await;
    client
        .send("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
        .await;
    let response = client.answer().await.expect(200);
    assert!(!response.headers.has("Transfer-Encoding"));
    if is_gzip(&response) {
        assert!(unpacked(&response).starts_with(b"{\"name\""));
    }
}

#[tokio::test]
async fn each_piece_of_a_compressed_stream_can_be_read_when_it_comes() {
    // Sends the next piece only once the client has read the last.
    let (read, reads) = tokio::sync::watch::channel(0);
    let api = RawServer::start(move |mut conn| {
        let mut reads = reads.clone();
        async move {
            let _ = conn.request_head().await;
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for piece in 0..3 {
                let _ = reads.wait_for(|read| *read == piece).await;
                conn.send(format!("c\r\n{{\"piece\": {piece}}}\r\n")).await;
            }
            conn.send("0\r\n\r\n").await;
            let _ = conn.rest().await;
        }
    })
    .await;
    let weir = Weir::before(&[&api])
        .with("compression = { enabled = true, min_length = 0, types = ['application/json'] }")
        .start()
        .await;
    let mut client = weir.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        .await;
    let mut raw = Vec::new();
    for piece in 0..3 {
        let wanted = format!("{{\"piece\": {piece}}}");
        while !so_far(&raw).ends_with(&wanted) {
            let more = client.receive().await;
            assert!(!more.is_empty(), "closed after {:?}", so_far(&raw));
            raw.extend(more);
        }
        read.send_replace(piece + 1);
    }
}

/// What can be unpacked of an answer that has come in part, chunked and compressed.
fn so_far(raw: &[u8]) -> String {
    let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n") else {
        return String::new();
    };
    let mut rest = &raw[end + 4..];
    let mut packed = Vec::new();
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let data = &rest[line + 2..];
        packed.extend(&data[..size.min(data.len())]);
        rest = data.get(size + 2..).unwrap_or_default();
    }
    let mut text = Vec::new();
    // Ends with an error as long as the stream is not complete.
    let _ = flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}
