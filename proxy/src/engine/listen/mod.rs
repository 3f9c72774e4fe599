//! Listening sockets.
//!
//! They are opened before anything is served, so that a port in use is a plain error, or inherited from the
//! process that is replaced ([`handover`]).

pub mod handover;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;

use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::{Fds, ListenFds};
use pingora::services::listening::Service;

use super::conn::Front;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct BindError {
    /// The configured address.
    pub address: SocketAddr,
    /// What the system said.
    pub cause: io::Error,
}

/// An attempt to open a listener. While another process has the address it fails, and the socket may still
/// come from that process.
#[derive(Debug)]
pub struct Claim {
    address: SocketAddr,
    opened: io::Result<TcpListener>,
}

impl Claim {
    /// Tries to open `address`; port 0 asks for any free port.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            opened: TcpListener::bind(address),
        }
    }

    /// The address as it was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Only if it has been opened.
    ///
    /// # Errors
    /// [`BindError`] if not.
    pub fn opened(self) -> Result<Self, BindError> {
        match self.opened {
            Ok(_) => Ok(self),
            Err(cause) => Err(BindError {
                address: self.address,
                cause,
            }),
        }
    }

    /// The socket that was opened, or else the one that was inherited for the address.
    ///
    /// # Errors
    /// [`BindError`] when there is neither.
    pub fn settle(self, inherited: Option<TcpListener>) -> Result<TcpListener, BindError> {
        let failed = |cause| BindError {
            address: self.address,
            cause,
        };
        let socket = match (self.opened, inherited) {
            (Ok(socket), _) | (Err(_), Some(socket)) => socket,
            (Err(cause), None) => return Err(failed(cause)),
        };
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(socket)
    }
}

/// Listening sockets with their addresses, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: Vec<(SocketAddr, TcpListener)>,
}

impl Listeners {
    /// # Errors
    /// When the system does not tell the address of a socket.
    pub(super) fn new(sockets: Vec<TcpListener>) -> io::Result<Self> {
        let named = sockets
            .into_iter()
            .map(|socket| Ok((socket.local_addr()?, socket)));
        Ok(Self {
            open: named.collect::<io::Result<_>>()?,
        })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().map(|(address, _)| *address).collect()
    }

    /// Further handles on the same sockets.
    ///
    /// # Errors
    /// Want of descriptors.
    pub(super) fn handles(&self) -> io::Result<Vec<(SocketAddr, TcpListener)>> {
        let handles = self
            .open
            .iter()
            .map(|(address, socket)| Ok((*address, socket.try_clone()?)));
        handles.collect()
    }
}

/// pingora's service for these sockets, with the table in which it looks for them. Connections come
/// unbuffered: [`super::coalesce`] and [`super::conn`] buffer where it pays.
pub(super) fn service(
    sockets: Vec<(SocketAddr, TcpListener)>,
    front: Front,
) -> (Service<Front>, ListenFds) {
    let mut service = Service::new("proxy".to_owned(), front);
    let mut fds = Fds::new();
    for (address, socket) in sockets {
        service.add_listener(
            ListenerConfig::tcp(address.to_string()).l4_buffer(L4BufferSettings::unbuffered()),
        );
        // pingora owns it from here, and closes it when the service stops.
        fds.add(address.to_string(), socket.into_raw_fd());
    }
    (service, Arc::new(parking_lot::Mutex::new(fds)))
}
