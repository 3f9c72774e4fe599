//! WebSockets over HTTP/2 (RFC 8441).

use bytes::Bytes;
use h2::ext::Protocol;
use http::Request;
use weir_tests::frames::SETTINGS;
use weir_tests::{Frames, Origin, Reply, within};

use super::{client, h2c};

fn connect() -> Request<()> {
    let mut request = Request::builder()
        .method("CONNECT")
        .uri("http://test/chat")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap();
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    request
}

#[tokio::test]
async fn extended_connect_is_offered() {
    let api = Origin::named("a").await;
    let weir = h2c(&[&api]).start().await;
    let mut frames = Frames::silent(weir.addr()).await;
    frames.send(weir_tests::frames::PREFACE).await;
    let first = frames.next().await.unwrap();
    assert_eq!(first.kind, SETTINGS);
    assert!(
        first.payload.chunks(6).any(|it| it == [0, 8, 0, 0, 0, 1]),
        "{first:?}"
    );
}

#[tokio::test]
async fn a_websocket_passes_through_to_an_http1_server() {
    let api =
        Origin::answering(Reply::upgrade("websocket").header("Sec-WebSocket-Accept", "whatever"))
            .await;
    let weir = h2c(&[&api]).start().await;
    let mut client = client(&weir).await;
    let (response, mut send) = client.send_request(connect(), false).unwrap();
    let response = within("an answer", response).await.unwrap();
    assert_eq!(response.status(), 200);
    for name in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let seen = api.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/chat")
    );
    assert_eq!(seen.header("Upgrade"), Some("websocket"));
    assert_eq!(seen.header("Sec-WebSocket-Version"), Some("13"));
    assert_eq!(seen.header("Sec-WebSocket-Protocol"), Some("chat"));
    assert_eq!(seen.header("Sec-WebSocket-Key").map(str::len), Some(24));
    let mut body = response.into_body();
    for text in ["one", "two", "three"] {
        send.send_data(Bytes::from(text), false).unwrap();
        let back = within("an echo", body.data()).await.unwrap().unwrap();
        body.flow_control().release_capacity(back.len()).unwrap();
        assert_eq!(back, text.as_bytes());
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert!(super::all(&mut body).await.is_empty());
    let line = &weir.logged(1).await[0];
    assert_eq!(
        (&line["status"], &line["protocol"]),
        (&101.into(), &"HTTP/2.0".into())
    );
}

#[tokio::test]
async fn a_server_that_does_not_switch_answers() {
    let api = Origin::answering(Reply::text("no").with_status(403)).await;
    let weir = h2c(&[&api]).start().await;
    let mut client = client(&weir).await;
    let (response, _send) = client.send_request(connect(), false).unwrap();
    let response = within("an answer", response).await.unwrap();
    assert_eq!(response.status(), 403);
}
