//! The accept queue of a listener.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, acceptfrom_with, sockopt};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::socket::ListenSocket;

/// A connection on its way to a thread.
pub(super) struct Accepted {
    pub(super) socket: OwnedFd,
    /// None on a Unix socket.
    pub(super) peer: Option<SocketAddr>,
}

/// A listener that connections are taken from. tokio's own would tie each connection to the event loop of this
/// thread; here the loop only says when there are some.
pub(super) struct Queue {
    /// Not a connection: only something that tokio watches for us.
    socket: TcpStream,
    unix: bool,
}

/// What the queue of a listener had to give.
pub(super) enum Next {
    Taken(Accepted),
    Empty,
    /// No descriptor or memory for another connection.
    Exhausted(io::Error),
    /// The connection is gone already, or something that concerns only this one.
    Failed(io::Error),
}

impl Queue {
    /// What is asked of the system, which cuts it to `net.core.somaxconn`.
    pub(super) const LENGTH: i32 = 65_535;

    pub(super) fn new(listener: ListenSocket) -> io::Result<Self> {
        rustix::net::listen(&listener, Self::LENGTH)?;
        let unix = listener.address().inet().is_none();
        if !unix {
            // Connections inherit it.
            sockopt::set_tcp_nodelay(&listener, true)?;
        }
        let socket = std::net::TcpStream::from(listener.into_fd());
        let socket = TcpStream::from_std(socket)?;
        Ok(Self { socket, unix })
    }

    pub(super) async fn is_filled(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// The next connection, as far as the event loop knows of one.
    pub(super) fn next(&self) -> Next {
        self.socket
            .try_io(Interest::READABLE, || self.accept())
            .map_or_else(Next::without, Next::Taken)
    }

    /// The next connection, also one that the event loop has not noticed yet.
    pub(super) fn next_unnoticed(&self) -> Next {
        self.accept().map_or_else(Next::without, Next::Taken)
    }

    fn accept(&self) -> io::Result<Accepted> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if self.unix {
            let socket = accept_with(&self.socket, flags)?;
            return Ok(Accepted { socket, peer: None });
        }
        let (socket, peer) = acceptfrom_with(&self.socket, flags)?;
        match peer.map(SocketAddr::try_from) {
            Some(Ok(peer)) => Ok(Accepted {
                socket,
                peer: Some(peer),
            }),
            // A peer that has no address has gone.
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Next {
    fn without(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            _ if error.kind() == io::ErrorKind::WouldBlock => Self::Empty,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                Self::Exhausted(error)
            }
            _ => Self::Failed(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_gives_whoever_has_connected() {
        let listener = ListenSocket::open(&"127.0.0.1:0".parse().unwrap()).unwrap();
        listener.set_nonblocking().unwrap();
        let to = listener.address().inet().unwrap();
        let queue = Queue::new(listener).unwrap();
        let client = TcpStream::connect(to).await.unwrap();
        queue.is_filled().await.unwrap();
        let Next::Taken(accepted) = queue.next() else {
            panic!("nobody");
        };
        assert_eq!(accepted.peer, client.local_addr().ok());
        assert!(sockopt::tcp_nodelay(&accepted.socket).unwrap());
        assert!(matches!(queue.next(), Next::Empty));
    }
}
