//! Listening sockets.
//!
//! They are opened here, before any thread starts, so that a port in use is a plain error; pingora
//! then takes them over as if they had been inherited from an older process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;

use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::{Fds, ListenFds};
use pingora::services::listening::Service;
use weir_api::config::Listener;

use super::conn::Front;

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct BindError {
    /// The configured address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

/// Open sockets.
pub(super) struct Bound {
    pub(super) fds: ListenFds,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Opens every listener; port 0 asks for any free port.
pub(super) fn bind_all(listeners: &[Listener]) -> Result<Bound, BindError> {
    let mut fds = Fds::new();
    let mut addresses = Vec::new();
    let mut sockets = Vec::new();
    for listener in listeners {
        let failed = |cause| BindError {
            address: listener.address,
            cause,
        };
        let socket = TcpListener::bind(listener.address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        addresses.push(socket.local_addr().map_err(failed)?);
        sockets.push(socket);
    }
    // Only once all are open: a raw descriptor has no owner that would close it.
    for (socket, address) in sockets.into_iter().zip(&addresses) {
        fds.add(address.to_string(), socket.into_raw_fd());
    }
    Ok(Bound {
        fds: Arc::new(parking_lot::Mutex::new(fds)),
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
