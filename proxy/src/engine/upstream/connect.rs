//! Opening connections to upstream servers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use pingora::connectors::TransportConnector;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

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
    Failed(String),
    /// This machine has no descriptor, port or memory left for it.
    #[error("connect failed: {0}")]
    Exhausted(String),
}

/// Opens connections.
pub(in super::super) struct Connector {
    transport: TransportConnector,
}

impl Connector {
    pub(in super::super) fn new() -> Self {
        Self {
            transport: TransportConnector::new(None),
        }
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
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(limit);
        peer.options.total_connection_timeout = Some(limit);
        match self.transport.new_stream(&peer).await {
            Ok(stream) => Ok(UpstreamConn::new(stream, address, slot)),
            Err(e) => Err(classify(&e)),
        }
    }
}

fn classify(e: &Error) -> ConnectError {
    let cause = e.root_cause().downcast_ref::<io::Error>();
    let timed_out = cause.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
    if timed_out || matches!(e.etype(), ErrorType::ConnectTimedout) {
        ConnectError::Timeout
    } else if cause.is_some_and(is_exhaustion) {
        ConnectError::Exhausted(e.to_string())
    } else {
        ConnectError::Failed(e.to_string())
    }
}

fn is_exhaustion(e: &io::Error) -> bool {
    let Some(code) = e.raw_os_error() else {
        return false;
    };
    matches!(
        Errno::from_raw(code),
        Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL | Errno::ENOBUFS | Errno::ENOMEM
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_full_is_told_from_a_server_that_refuses() {
        let is = |code: Errno| is_exhaustion(&io::Error::from_raw_os_error(code as i32));
        assert!(is(Errno::EMFILE) && is(Errno::EADDRNOTAVAIL));
        assert!(!is(Errno::ECONNREFUSED) && !is(Errno::EHOSTUNREACH));
        assert!(!is_exhaustion(&io::ErrorKind::TimedOut.into()));
    }
}
