//! A connection of which everything is known: when it was opened, from where, and how it ended.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpSocket, task::JoinHandle, time::timeout};

/// What a stand-in replica serves to whoever has a token.
pub(crate) const READ: &str = "/api/v1/compliance/statistics";
const LOGIN: &str = "/api/v1/auth/login";
const PATIENCE: Duration = Duration::from_secs(10);

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// An answer with this status and so many bytes of body.
    Answered(u16, u64),
    /// The connection could not be opened, or was closed without an answer.
    Refused,
    /// No answer in time.
    TimedOut,
}

impl End {
    pub(crate) fn is_served(self) -> bool {
        matches!(self, Self::Answered(200..=299, _))
    }

    /// Rejected by a rate limit, whose status is 429 here on every proxy.
    pub(crate) fn is_rejected(self) -> bool {
        matches!(self, Self::Answered(429, _))
    }
}

/// What a request carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) token: String,
    pub(crate) gzip: bool,
}

impl Asked {
    pub(crate) fn read(token: &str) -> Self {
        Self {
            path: READ.to_owned(),
            token: token.to_owned(),
            gzip: false,
        }
    }
}

/// One open connection; closed when dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Opens a connection, from one of this machine's loopback addresses if that matters.
    pub(crate) async fn open(to: SocketAddr, from: Option<Ipv4Addr>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        }
        let stream = timeout(PATIENCE, socket.connect(to)).await??;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            // How it ended, the request that was on it learns.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn get(&mut self, asked: &Asked, within: Duration) -> End {
        let exchange = async {
            let mut request = Request::get(&asked.path).header(header::HOST, "weir.test");
            if !asked.token.is_empty() {
                request = request.header(header::AUTHORIZATION, &asked.token);
            }
            if asked.gzip {
                request = request.header(header::ACCEPT_ENCODING, "gzip");
            }
            let request = request.body(Full::default()).ok()?;
            self.sender.ready().await.ok()?;
            let mut answer = self.sender.send_request(request).await.ok()?;
            let mut bytes = 0;
            while let Some(frame) = answer.frame().await {
                bytes += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
            }
            Some(End::Answered(answer.status().as_u16(), bytes))
        };
        match timeout(within, exchange).await {
            Ok(Some(end)) => end,
            Ok(None) => End::Refused,
            Err(_) => End::TimedOut,
        }
    }

    /// Sends a request and gives the body of a 200.
    pub(crate) async fn text(&mut self, request: Request<Full<Bytes>>) -> io::Result<Bytes> {
        let exchange = async {
            self.sender.ready().await.map_err(io::Error::other)?;
            let answer = self
                .sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?;
            let status = answer.status();
            let body = answer
                .into_body()
                .collect()
                .await
                .map_err(io::Error::other)?
                .to_bytes();
            if status == StatusCode::OK {
                Ok(body)
            } else {
                Err(io::Error::other(format!(
                    "answered {status}: {}",
                    String::from_utf8_lossy(&body)
                )))
            }
        };
        timeout(PATIENCE, exchange).await?
    }

    /// As [`Connection::text`], of a path.
    pub(crate) async fn page(&mut self, path: &str) -> io::Result<Bytes> {
        let request = Request::get(path)
            .header(header::HOST, "weir.test")
            .body(Full::default())
            .map_err(io::Error::other)?;
        self.text(request).await
    }

    /// Logs in and gives the value of the `Authorization` header.
    pub(crate) async fn login(&mut self) -> io::Result<String> {
        let body = Bytes::from_static(br#"{"username":"tuning","password":"load-test"}"#);
        let request = Request::post(LOGIN)
            .header(header::HOST, "weir.test")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let answer: serde_json::Value =
            serde_json::from_slice(&self.text(request).await?).map_err(io::Error::other)?;
        let token = answer.get("access_token").and_then(|token| token.as_str());
        token
            .map(|token| format!("Bearer {token}"))
            .ok_or_else(|| io::Error::other("the login answer has no access_token"))
    }
}

/// One request on a connection of its own, and how long it took, connecting included.
pub(crate) async fn once(
    to: SocketAddr,
    from: Option<Ipv4Addr>,
    asked: &Asked,
    within: Duration,
) -> (End, Duration) {
    let begun = Instant::now();
    let end = match timeout(within, Connection::open(to, from)).await {
        Ok(Ok(mut connection)) => connection.get(asked, within).await,
        Ok(Err(_)) => End::Refused,
        Err(_) => End::TimedOut,
    };
    (end, begun.elapsed())
}
