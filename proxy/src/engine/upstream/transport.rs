//! How connections to the servers of an upstream are made.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_api::config::{ProxyProtocol, Transport};

use crate::proxy_protocol::Version;
use crate::tls::{ClientTls, Upstreams};

/// How connections to servers are made: in the clear, unless told otherwise.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct TransportPlan {
    pub(super) tls: Option<Arc<ClientTls>>,
    pub(super) proxy_protocol: Option<Version>,
}

impl TransportPlan {
    /// The plans of all upstreams, by name.
    pub(in super::super) fn all(
        transports: &BTreeMap<String, Transport>,
        tls: &Upstreams,
    ) -> HashMap<String, Arc<Self>> {
        let plan = |(name, transport): (&String, &Transport)| {
            let plan = Self {
                tls: tls.get(name).cloned(),
                proxy_protocol: transport.proxy_protocol.map(|version| match version {
                    ProxyProtocol::V1 => Version::V1,
                    ProxyProtocol::V2 => Version::V2,
                }),
            };
            (name.clone(), Arc::new(plan))
        };
        transports.iter().map(plan).collect()
    }

    /// Whether a connection is nothing but a connection to a server, so that it may serve other clients too.
    pub(in super::super) fn is_reusable(&self) -> bool {
        self.proxy_protocol.is_none()
    }

    /// Whether connections are encrypted.
    pub(in super::super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether connections are plain TCP or Unix sockets.
    pub(super) fn is_plain(&self) -> bool {
        self.tls.is_none() && self.proxy_protocol.is_none()
    }
}

impl PartialEq for TransportPlan {
    /// Whether connections made in one way are as good as those made in the other.
    fn eq(&self, other: &Self) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_tls && self.proxy_protocol == other.proxy_protocol
    }
}
