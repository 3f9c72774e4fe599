//! Listening sockets.
//!
//! They are opened before anything is served, so that a port in use is a plain error, or inherited from the
//! process that is replaced ([`handover`]).

pub(super) mod accept;
mod establish;
pub mod handover;
mod queue;
mod socket;
mod terms;

use std::io;
use std::os::fd::OwnedFd;

use weir_api::config::ListenAddress;

pub use self::socket::ListenSocket;
use self::socket::SocketFile;
pub(super) use self::terms::Terms;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct BindError {
    /// The configured address.
    pub address: ListenAddress,
    /// What the system said.
    pub cause: io::Error,
}

/// An attempt to open a listener. While another process has the address it fails, and the socket may still
/// come from that process.
#[derive(Debug)]
pub struct Claim {
    address: ListenAddress,
    opened: io::Result<ListenSocket>,
}

impl Claim {
    /// Tries to open `address`; port 0 asks for any free port.
    #[must_use]
    pub fn new(address: impl Into<ListenAddress>) -> Self {
        let address = address.into();
        Self {
            opened: ListenSocket::open(&address),
            address,
        }
    }

    /// The address as it was asked for.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
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
    pub fn settle(self, inherited: Option<OwnedFd>) -> Result<ListenSocket, BindError> {
        let Self { address, opened } = self;
        let socket = match (opened, inherited) {
            (Ok(socket), _) => socket,
            (Err(_), Some(socket)) => ListenSocket::inherit(address.clone(), socket),
            (Err(cause), None) => return Err(BindError { address, cause }),
        };
        match socket.set_nonblocking() {
            Ok(()) => Ok(socket),
            Err(cause) => Err(BindError { address, cause }),
        }
    }
}

/// Listening sockets, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: Vec<ListenSocket>,
    /// Files of Unix sockets, which go when nobody listens any more.
    files: Vec<SocketFile>,
}

impl Listeners {
    pub(super) fn new(open: Vec<ListenSocket>) -> Self {
        Self {
            open,
            files: Vec::new(),
        }
    }

    pub(super) fn addresses(&self) -> Vec<ListenAddress> {
        self.open.iter().map(|it| it.address().clone()).collect()
    }

    /// Further handles on the same sockets.
    ///
    /// # Errors
    /// Want of descriptors.
    pub(super) fn handles(&self) -> io::Result<Vec<ListenSocket>> {
        self.open.iter().map(ListenSocket::share).collect()
    }

    /// The files of Unix sockets go with the sockets of this process.
    pub(super) fn keep_files(&mut self) {
        let files = self
            .open
            .iter()
            .filter_map(|it| SocketFile::of(it.address()));
        self.files = files.collect();
    }

    /// The files of Unix sockets are another process's from now on.
    pub(super) fn leave_files(&mut self) {
        self.files.drain(..).for_each(SocketFile::leave);
    }
}
