//! Opening connections to upstream servers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

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
    let timed_out = e
        .root_cause()
        .downcast_ref::<io::Error>()
        .is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
    if timed_out || matches!(e.etype(), ErrorType::ConnectTimedout) {
        ConnectError::Timeout
    } else {
        ConnectError::Failed(e.to_string())
    }
}
