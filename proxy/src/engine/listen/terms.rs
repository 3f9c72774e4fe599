//! What a listener does with a connection before HTTP begins.

use std::sync::Arc;

use weir_api::config::Listener;

use super::super::conn::Protocols;
use crate::tls::ServerTls;

/// The terms of one listener.
#[derive(Debug)]
pub(in crate::engine) struct Terms {
    pub(in crate::engine) tls: Option<Arc<ServerTls>>,
    pub(in crate::engine) proxy_protocol: bool,
    /// What may be spoken in the clear.
    pub(in crate::engine) protocols: Protocols,
}

impl Terms {
    pub(in crate::engine) fn new(listener: &Listener, tls: Option<Arc<ServerTls>>) -> Self {
        Self {
            tls,
            proxy_protocol: listener.proxy_protocol,
            protocols: Protocols::of(listener),
        }
    }

    /// Whether connections are in the clear from their first byte.
    pub(super) fn are_plain(&self) -> bool {
        self.tls.is_none() && !self.proxy_protocol
    }
}
