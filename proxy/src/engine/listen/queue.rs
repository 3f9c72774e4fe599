//! The accept queue of a listener.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, sockopt};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A connection on its way to a thread.
pub(super) struct Accepted {
    pub(super) socket: OwnedFd,
    pub(super) peer: SocketAddr,
}

/// A listener that connections are taken from. tokio's own would tie each connection to the event loop of this
/// thread; here the loop only says when there are some.
pub(super) struct Queue(TcpStream);

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

    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        rustix::net::listen(&listener, Self::LENGTH)?;
        // Connections inherit it.
        sockopt::set_tcp_nodelay(&listener, true)?;
        let socket = std::net::TcpStream::from(OwnedFd::from(listener));
        TcpStream::from_std(socket).map(Self)
    }

    pub(super) async fn is_filled(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// The next connection, as far as the event loop knows of one.
    pub(super) fn next(&self) -> Next {
        self.0
            .try_io(Interest::READABLE, || self.accept())
            .map_or_else(Next::without, Next::Taken)
    }

    /// The next connection, also one that the event loop has not noticed yet.
    pub(super) fn next_unnoticed(&self) -> Next {
        self.accept().map_or_else(Next::without, Next::Taken)
    }

    fn accept(&self) -> io::Result<Accepted> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, peer) = acceptfrom_with(&self.0, flags)?;
        match peer.map(SocketAddr::try_from) {
            Some(Ok(peer)) => Ok(Accepted { socket, peer }),
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let to = listener.local_addr().unwrap();
        let queue = Queue::new(listener).unwrap();
        let client = TcpStream::connect(to).await.unwrap();
        queue.is_filled().await.unwrap();
        let Next::Taken(accepted) = queue.next() else {
            panic!("nobody");
        };
        assert_eq!(accepted.peer, client.local_addr().unwrap());
        assert!(sockopt::tcp_nodelay(&accepted.socket).unwrap());
        assert!(matches!(queue.next(), Next::Empty));
    }
}
