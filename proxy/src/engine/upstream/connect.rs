//! Opening connections to upstream servers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use weir_http1::Version;

use super::super::slots::Slot;
use super::super::stream::{Ahead, Io, Raw};
use super::super::wire::Socket;
use super::TransportPlan;
use crate::proxy_protocol::{self, Origin};
use crate::tls::handshake_failure;
use crate::upstream::Endpoint;

/// Why a connection could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub(in super::super) enum ConnectError {
    /// Nothing answered within `timeouts.connect`.
    #[error("connect timed out")]
    Timeout,
    /// Refused, unreachable, …
    #[error("connect failed: {0}")]
    Failed(String),
    /// Connected, but the two do not trust each other.
    #[error("TLS: {0}")]
    Tls(String),
    /// This machine has no descriptor or memory left for it: no failure of the server.
    #[error("connect failed: {0}")]
    Exhausted(String),
    /// This machine has no port left towards this address: no failure of the server.
    #[error("connect failed: {0}")]
    NoPort(String),
}

impl From<io::Error> for ConnectError {
    fn from(e: io::Error) -> Self {
        match e.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                Self::Exhausted(e.to_string())
            }
            Some(Errno::EADDRNOTAVAIL) => Self::NoPort(e.to_string()),
            Some(Errno::ETIMEDOUT) => Self::Timeout,
            _ => Self::Failed(e.to_string()),
        }
    }
}

/// A connection to open.
#[derive(Debug)]
pub(in super::super) struct Dial<'a> {
    pub(in super::super) address: Endpoint,
    /// The server as it is written in the settings: its host is what TLS verifies.
    pub(in super::super) name: &'a str,
    pub(in super::super) transport: &'a TransportPlan,
    /// For whom, if the server is to be told.
    pub(in super::super) client: Origin,
    /// HTTP/2 is to be spoken on it.
    pub(in super::super) http2: bool,
}

/// An open connection that has carried nothing yet.
#[derive(Debug)]
pub(in super::super) struct Connected {
    pub(in super::super) socket: Socket,
    /// What TLS agreed on by ALPN, if HTTP/2 was asked for. In the clear the server is known to speak it.
    pub(in super::super) agreed: Option<Version>,
    /// Its place among `connections.max`.
    pub(in super::super) slot: Slot,
}

/// Opens connections.
#[derive(Debug, Default)]
pub(in super::super) struct Connector {}

impl Connector {
    pub(in super::super) fn new() -> Self {
        Self::default()
    }

    /// Connects within `limit`, the handshake of TLS included.
    ///
    /// # Errors
    /// [`ConnectError`], by cause.
    pub(in super::super) async fn connect(
        &self,
        dial: &Dial<'_>,
        limit: Duration,
        slot: Slot,
    ) -> Result<Connected, ConnectError> {
        let (socket, agreed) = match dial.address {
            Endpoint::Inet(address) if dial.transport.is_plain() => {
                let connected = timeout(limit, TcpStream::connect(address)).await;
                let stream = connected.map_err(|_| ConnectError::Timeout)??;
                stream.set_nodelay(true)?;
                (Socket::from(stream), None)
            }
            // Boxed, so that connections in the clear do not carry the room for it.
            _ => match timeout(limit, Box::pin(open(dial))).await {
                Ok(opened) => {
                    let (io, agreed) = opened?;
                    (Socket::from(io), agreed)
                }
                Err(_) => return Err(ConnectError::Timeout),
            },
        };
        Ok(Connected {
            socket,
            agreed,
            slot,
        })
    }
}

/// Connects, tells who the client is, and shakes hands. Returns what ALPN agreed on, if HTTP/2 was asked for.
async fn open(dial: &Dial<'_>) -> Result<(Io, Option<Version>), ConnectError> {
    let mut raw = match dial.address {
        Endpoint::Inet(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Raw::Tcp(stream)
        }
        Endpoint::Unix(path) => Raw::Unix(UnixStream::connect(path.as_path()).await?),
    };
    if let Some(version) = dial.transport.proxy_protocol {
        let mut header = Vec::with_capacity(128);
        proxy_protocol::write(version, dial.client, &mut header);
        raw.write_all(&header).await?;
    }
    let stream = Ahead::new(raw, Vec::new());
    let Some(tls) = &dial.transport.tls else {
        return Ok((Io::Clear(stream), None));
    };
    let host = dial
        .name
        .rsplit_once(':')
        .map_or(dial.name, |(host, _)| host);
    let name = tls.server_name(host).ok_or_else(|| {
        ConnectError::Tls(format!(
            "{host} is no name to verify; tls.server_name tells another"
        ))
    })?;
    let mut config = tls.config();
    if dial.http2 {
        // Cheap beside the handshake, and rare: connections of HTTP/2 are shared.
        Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec()];
    }
    let connector = TlsConnector::from(config);
    match connector.connect(name, stream.greedy()).await {
        Ok(stream) => {
            let agreed = dial
                .http2
                .then(|| match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Version::Http2,
                    _ => Version::Http11,
                });
            Ok((Io::Tls(Box::new(stream.into())), agreed))
        }
        Err(error) => Err(ConnectError::Tls(handshake_failure(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_full_is_told_from_a_server_that_refuses() {
        let classified =
            |code: Errno| ConnectError::from(io::Error::from_raw_os_error(code as i32));
        for code in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            assert!(matches!(classified(code), ConnectError::Exhausted(_)));
        }
        let no_port = classified(Errno::EADDRNOTAVAIL);
        assert!(matches!(no_port, ConnectError::NoPort(_)));
        for code in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH] {
            assert!(matches!(classified(code), ConnectError::Failed(_)));
        }
        assert!(matches!(
            classified(Errno::ETIMEDOUT),
            ConnectError::Timeout
        ));
    }
}
