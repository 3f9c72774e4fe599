//! Listening sockets.
//!
//! They are opened here, before any thread starts, so that a port in use is a plain error; pingora
//! then takes them over as if they had been inherited from an older process.

mod handover;

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::{Fds, ListenFds};
use pingora::services::listening::Service;
use weir_api::config::Listener;

pub(super) use self::handover::{hand_over, take_over};
use super::conn::Front;

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses the address.
    #[error("cannot listen on {address}: {cause}")]
    Address {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// No older process handed its sockets over.
    #[error("no running weir handed its sockets over through {}: {cause}", path.display())]
    HandOver {
        /// `server.upgrade_socket`.
        path: PathBuf,
        /// What went wrong.
        cause: String,
    },
}

/// Open sockets.
pub(super) struct Bound {
    pub(super) fds: ListenFds,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Opens every listener; port 0 asks for any free port. Those in `inherited` are open already.
pub(super) fn bind_all(listeners: &[Listener], mut inherited: Fds) -> Result<Bound, BindError> {
    let mut addresses = Vec::new();
    let mut sockets = Vec::new();
    for listener in listeners {
        let address = listener.address;
        if inherited.get(&address.to_string()).is_some() {
            addresses.push(address);
            continue;
        }
        let failed = |cause| BindError::Address { address, cause };
        let socket = TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let actual = socket.local_addr().map_err(failed)?;
        addresses.push(actual);
        sockets.push((actual, socket));
    }
    let wanted: HashSet<String> = addresses.iter().map(SocketAddr::to_string).collect();
    for gone in inherited.close_unclaimed(&wanted) {
        tracing::info!(
            address = gone,
            "inherited listener is not in the configuration; closed"
        );
    }
    // Only once all are open: a raw descriptor has no owner that would close it.
    for (address, socket) in sockets {
        inherited.add(address.to_string(), socket.into_raw_fd());
    }
    Ok(Bound {
        fds: Arc::new(parking_lot::Mutex::new(inherited)),
        addresses,
    })
}

impl Bound {
    /// pingora's service for these sockets. Connections come unbuffered: [`super::coalesce`] and
    /// [`super::conn`] buffer where it pays.
    pub(super) fn service(&self, front: Front) -> Service<Front> {
        let mut service = Service::new("proxy".to_owned(), front);
        for address in &self.addresses {
            service.add_listener(
                ListenerConfig::tcp(address.to_string()).l4_buffer(L4BufferSettings::unbuffered()),
            );
        }
        service
    }
}
