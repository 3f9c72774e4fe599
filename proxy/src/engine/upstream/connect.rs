//! Opening connections to upstream servers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpStream;

use super::super::slots::Slot;
use super::UpstreamConn;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum ConnectError {
    /// Nothing answered within `timeouts.connect`.
    #[error("connect timed out")]
    Timeout,
    /// Refused, unreachable, …
    #[error("connect failed: {0}")]
    Failed(io::Error),
    /// This machine has no descriptor or memory left for it: no failure of the server.
    #[error("connect failed: {0}")]
    Exhausted(io::Error),
    /// This machine has no port left towards this address: no failure of the server.
    #[error("connect failed: {0}")]
    NoPort(io::Error),
}

impl From<io::Error> for ConnectError {
    fn from(e: io::Error) -> Self {
        match e.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                Self::Exhausted(e)
            }
            Some(Errno::EADDRNOTAVAIL) => Self::NoPort(e),
            Some(Errno::ETIMEDOUT) => Self::Timeout,
            _ => Self::Failed(e),
        }
    }
}

/// Opens connections.
#[derive(Debug, Default)]
pub(in super::super) struct Connector {}

impl Connector {
    pub(in super::super) fn new() -> Self {
        Self::default()
    }

    /// Connects to `address` within `limit`.
    ///
    /// # Errors
    /// [`ConnectError`], by cause.
    pub(in super::super) async fn connect(
        &self,
        address: SocketAddr,
        limit: Duration,
        slot: Slot,
    ) -> Result<UpstreamConn, ConnectError> {
        let stream = tokio::time::timeout(limit, TcpStream::connect(address))
            .await
            .map_err(|_| ConnectError::Timeout)??;
        stream.set_nodelay(true)?;
        Ok(UpstreamConn::new(stream, address, slot))
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
