//! gRPC end to end: a client and servers made with `tonic`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tonic::{Code, Request};
use weir_tests::rpc::{RpcClient, RpcServer};
use weir_tests::weir::Builder;
use weir_tests::{Weir, within};

fn before(server: &RpcServer) -> Builder {
    Weir::before(&[server]).with(
        "upstream.api.protocol = 'http2'
         listener = [{ address = '127.0.0.1:0', h2c = true }]",
    )
}

fn text(text: &'static str) -> Request<Bytes> {
    Request::new(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn calls_and_their_statuses() {
    let server = RpcServer::start().await;
    let weir = before(&server).start().await;
    let mut client = RpcClient::connect(weir.addr()).await;
    for _ in 0..3 {
        let answer = client.call("/test/Echo", text("hello")).await.unwrap();
        assert_eq!(&answer.get_ref()[..], b"hello");
    }
    let status = client.call("/test/Fail", text("")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "not today")
    );
    let status = client.call("/test/None", text("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let log = weir.logged(5).await;
    let statuses: Vec<_> = log
        .iter()
        .map(|line| line["grpc_status"].as_u64())
        .collect();
    assert_eq!(statuses, [Some(0), Some(0), Some(0), Some(9), Some(12)]);
    assert_eq!(log[0]["protocol"], "HTTP/2.0");
}

#[tokio::test]
async fn many_messages_from_one_side() {
    let server = RpcServer::start().await;
    let weir = before(&server).start().await;
    let mut client = RpcClient::connect(weir.addr()).await;
    let asked = stream::once(async { Bytes::from_static(b"20000") });
    let answer = client.talk("/test/Count", asked).await.unwrap();
    let mut messages = answer.into_inner();
    let mut n = 0;
    while let Some(message) = within("a message", messages.next()).await {
        assert_eq!(message.unwrap(), Bytes::from(n.to_string()));
        n += 1;
    }
    assert_eq!(n, 20_000);
}

#[tokio::test]
async fn a_conversation_holds_nothing_back() {
    let server = RpcServer::start().await;
    let weir = before(&server).start().await;
    let mut client = RpcClient::connect(weir.addr()).await;
    let (say, said) = mpsc::unbounded_channel::<Bytes>();
    let said = stream::unfold(said, |mut said| async { Some((said.recv().await?, said)) });
    let answer = within("the head", client.talk("/test/Echo", said))
        .await
        .unwrap();
    let mut echoes = answer.into_inner();
    for n in 0..50 {
        let message = Bytes::from(format!("message {n}"));
        say.send(message.clone()).unwrap();
        let echo = within("an echo", echoes.next()).await.unwrap().unwrap();
        assert_eq!(echo, message);
    }
    drop(say);
    assert!(within("the end", echoes.next()).await.is_none());
}

#[tokio::test]
async fn a_dead_server_is_unavailable() {
    let server = RpcServer::start().await;
    let weir = before(&server).start().await;
    let mut client = RpcClient::connect(weir.addr()).await;
    drop(server);
    // Its connection may end a moment later.
    let code = within("the server to be gone", async {
        loop {
            match client.call("/test/Echo", text("")).await {
                Err(status) if status.code() == Code::Unavailable => return status,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    assert_eq!(code.message(), "weir: 502 Bad Gateway");
}
