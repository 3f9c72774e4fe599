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
    /// This machine has no descriptor or memory left for it: no failure of the server.
    #[error("connect failed: {0}")]
    Exhausted(String),
    /// This machine has no port left towards this address: no failure of the server.
    #[error("connect failed: {0}")]
    NoPort(String),
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
    } else {
        let why = e.to_string();
        match cause.and_then(io::Error::raw_os_error).map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                ConnectError::Exhausted(why)
            }
            Some(Errno::EADDRNOTAVAIL) => ConnectError::NoPort(why),
            _ => ConnectError::Failed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use pingora::OrErr as _;

    use super::*;

    #[test]
    fn a_machine_that_is_full_is_told_from_a_server_that_refuses() {
        let classified = |code: Errno| {
            let e = Err::<(), _>(io::Error::from_raw_os_error(code as i32));
            e.or_err(ErrorType::ConnectError, "cannot connect")
                .map_err(|e| classify(&e))
        };
        for code in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            assert!(matches!(classified(code), Err(ConnectError::Exhausted(_))));
        }
        let no_port = classified(Errno::EADDRNOTAVAIL);
        assert!(matches!(no_port, Err(ConnectError::NoPort(_))));
        for code in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH] {
            assert!(matches!(classified(code), Err(ConnectError::Failed(_))));
        }
        let timeout = classified(Errno::ETIMEDOUT);
        assert!(matches!(timeout, Err(ConnectError::Timeout)));
    }
}
