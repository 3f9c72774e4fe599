//! HTTP/2 from clients.

mod drain;
mod framing;
mod hostile;
mod hpack;
mod messages;
mod real_clients;
mod requests;
mod rules;
mod websocket;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use weir_tests::weir::{Builder, Server};
use weir_tests::{Frames, Weir, within};

/// A proxy that takes HTTP/2 with prior knowledge.
fn h2c(servers: &[&dyn Server]) -> Builder {
    Weir::before(servers).with("listener = [{ address = '127.0.0.1:0', h2c = true }]")
}

async fn open(weir: &Weir) -> Frames {
    Frames::open(weir.addr()).await
}

/// A connection of the `h2` crate, whose frames move by themselves.
async fn client(weir: &Weir) -> SendRequest<Bytes> {
    let stream = within("a connection", TcpStream::connect(weir.addr()))
        .await
        .unwrap();
    let (send, connection) = within("a handshake", h2::client::handshake(stream))
        .await
        .unwrap();
    tokio::spawn(async move {
        // How it ends is seen by its requests.
        let _ = connection.await;
    });
    within("the server's settings", send.ready()).await.unwrap()
}

/// A request to send with [`client`].
fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("http://test{path}"))
}

/// All of a body.
async fn all(body: &mut h2::RecvStream) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(piece) = within("a piece of the body", body.data()).await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        whole.extend(piece);
    }
    whole
}

/// The status and the body of an answer to a request without a body.
async fn ask(
    send: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> (http::response::Parts, Vec<u8>) {
    let mut ready = within("a stream", send.clone().ready()).await.unwrap();
    let (response, _) = ready.send_request(request, true).unwrap();
    let (parts, mut body) = within("an answer", response).await.unwrap().into_parts();
    let body = all(&mut body).await;
    (parts, body)
}
