//! gRPC by `tonic`, with messages that are plain bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::oneshot;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;

use crate::weir::Server;

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// A gRPC server in this process. `Echo` sends every message back as it comes, `Count` sends as many as the first
/// message says, `Fail` refuses, `Slow` never answers.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    /// Dropped, it tells clients goodbye, and listens no more.
    _stop: oneshot::Sender<()>,
}

// === impl RpcServer ===

impl RpcServer {
    pub async fn start() -> Self {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = service_fn(|request: http::Request<tonic::body::Body>| async move {
            let path = request.uri().path().to_owned();
            let method = service_fn(move |messages| answer(path.clone(), messages));
            let mut grpc = tonic::server::Grpc::new(Raw);
            Ok::<_, Infallible>(grpc.streaming(method, request).await)
        });
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let server = tonic::transport::Server::builder();
            let stopped = async { drop(stopped.await) };
            let serving = server.serve_with_incoming_shutdown(service, incoming, stopped);
            let _ = serving.await;
        });
        Self {
            address,
            _stop: stop,
        }
    }
}

impl Server for RpcServer {
    fn addr(&self) -> SocketAddr {
        self.address
    }
}

async fn answer(
    path: String,
    request: Request<Streaming<Bytes>>,
) -> Result<Response<Answers>, Status> {
    let mut messages = request.into_inner();
    let answers: Answers = match path.as_str() {
        "/test/Echo" => messages.boxed(),
        "/test/Count" => {
            let first = messages.next().await.transpose()?.unwrap_or_default();
            let n: usize = String::from_utf8_lossy(&first).parse().unwrap();
            stream::iter((0..n).map(|n| Ok(Bytes::from(n.to_string())))).boxed()
        }
        "/test/Fail" => return Err(Status::failed_precondition("not today")),
        "/test/Slow" => std::future::pending().await,
        _ => return Err(Status::unimplemented(path)),
    };
    Ok(Response::new(answers))
}

/// A client of gRPC on one connection.
#[derive(Debug, Clone)]
pub struct RpcClient(tonic::client::Grpc<Channel>);

// === impl RpcClient ===

impl RpcClient {
    pub async fn connect(to: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{to}")).unwrap();
        Self(tonic::client::Grpc::new(channel.connect().await.unwrap()))
    }

    /// One message for one.
    pub async fn call(
        &mut self,
        path: &'static str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Status> {
        self.0
            .ready()
            .await
            .map_err(|e| Status::unknown(e.to_string()))?;
        self.0
            .unary(request, http::uri::PathAndQuery::from_static(path), Raw)
            .await
    }

    /// Messages in both directions.
    pub async fn talk(
        &mut self,
        path: &'static str,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        self.0
            .ready()
            .await
            .map_err(|e| Status::unknown(e.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(path);
        self.0.streaming(Request::new(messages), path, Raw).await
    }
}
