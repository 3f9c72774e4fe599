//! Compression of answers.

use std::io::Read as _;

use serde_json::json;
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
