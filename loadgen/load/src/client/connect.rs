//! Opening one connection: from where, to where, with or without TLS, and how long each part took.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, HandshakeKind, pki_types::ServerName};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::Plan;
use crate::record::{FailureKind, connections::Setup};

/// A connection, in the clear or encrypted.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Opens connections of one lane.
#[derive(Debug)]
pub(super) struct Connector {
    address: SocketAddr,
    source: Option<IpAddr>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: Duration,
    http2: bool,
}

impl Connector {
    /// For the base URL of a lane; `source` is the local address to connect from.
    pub(super) fn new(plan: &Plan, lane: u32, source: Option<IpAddr>) -> io::Result<Self> {
        let base = plan
            .base(lane)
            .ok_or_else(|| io::Error::other("a plan without a target"))?;
        let tls = match plan.transport.tls_of_one_user() {
            Some(config) if base.is_secure() => {
                let name = plan.transport.server_name(base).to_owned();
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                Some((config, name))
            }
            None if base.is_secure() => {
                return Err(io::Error::other("a plan without TLS for an https target"));
            }
            _ => None,
        };
        Ok(Self {
            address: base.address(),
            source,
            tls,
            timeout: plan.timeouts.connect,
            http2: plan.transport.is_http2(),
        })
    }

    /// Opens a connection, TLS handshake included, within the connect timeout.
    pub(super) async fn open(&self) -> Result<(Stream, Setup), FailureKind> {
        match tokio::time::timeout(self.timeout, self.attempt()).await {
            Ok(result) => result,
            Err(_) => Err(FailureKind::ConnectTimeout),
        }
    }

    async fn attempt(&self) -> Result<(Stream, Setup), FailureKind> {
        let began = Instant::now();
        let stream = self
            .tcp()
            .await
            .map_err(|error| FailureKind::of_connect(&error))?;
        let Some((config, name)) = &self.tls else {
            let setup = Setup {
                whole: began.elapsed(),
                ..Setup::default()
            };
            return Ok((Stream::Left(stream), setup));
        };
        let greeted = Instant::now();
        let stream = TlsConnector::from(config.clone())
            .connect(name.clone(), stream)
            .await
            .map_err(|error| FailureKind::of_connect(&error))?;
        let (_, session) = stream.get_ref();
        // A server without ALPN goes on as if nothing had been asked: it would speak HTTP/1.1.
        if self.http2 && session.alpn_protocol() != Some(b"h2") {
            return Err(FailureKind::TlsFailed);
        }
        let setup = Setup {
            whole: began.elapsed(),
            tls: Some(greeted.elapsed()),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        Ok((Stream::Right(Box::new(stream)), setup))
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
