//! Listening sockets.
//!
//! They are opened before anything is served, so that a port in use is a plain error, or inherited from the
//! process that is replaced ([`handover`]).

pub(super) mod accept;
pub mod handover;
mod queue;

use std::io;
use std::net::{SocketAddr, TcpListener};

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
