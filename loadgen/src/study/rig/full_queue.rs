//! An address where connecting hangs, whatever the machine's network is like.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// How long a connect may take before its lack of an answer counts.
const PATIENCE: Duration = Duration::from_millis(300);
/// Connections after which the queue must be full.
const MOST: usize = 8;
/// State `SYN_SENT` in `/proc/net/tcp`.
const SYN_SENT: &str = "02";

/// A listener with a queue of length zero that is full: nobody accepts, and the kernel drops
/// further SYNs without an answer.
#[derive(Debug)]
pub(crate) struct FullQueue {
    address: SocketAddr,
    // Only kept open.
    _listener: Socket,
    _held: Vec<TcpStream>,
}

impl FullQueue {
    /// Fills the queue of a new listener.
    ///
    /// # Errors
    ///
    /// When there is no port, or the queue does not fill.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        listener.listen(0)?;
        let address = listener
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a listener without an address"))?;
        let mut held = Vec::new();
        for _ in 0..MOST {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => held.push(stream),
                // The first that hangs shows that the queue is full.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Ok(Self {
                        address,
                        _listener: listener,
                        _held: held,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(
            "the queue of a listener with backlog 0 does not fill",
        ))
    }

    /// Where connecting hangs.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects to it that wait for an answer at this moment (sockets in `SYN_SENT`).
    ///
    /// # Errors
    ///
    /// When `/proc/net/tcp` cannot be read.
    pub(crate) fn unanswered(&self) -> io::Result<usize> {
        let table = std::fs::read_to_string("/proc/net/tcp")?;
        let port = format!(":{:04X}", self.address.port());
        let waits = |line: &&str| {
            let mut fields = line.split_whitespace().skip(2);
            fields.next().is_some_and(|remote| remote.ends_with(&port))
                && fields.next() == Some(SYN_SENT)
        };
        Ok(table.lines().skip(1).filter(waits).count())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_hangs_and_is_counted() {
        let queue = FullQueue::start().unwrap();
        let address = queue.address();
        let connect =
            std::thread::spawn(move || TcpStream::connect_timeout(&address, PATIENCE * 4).is_ok());
        let mut most = 0;
        while !connect.is_finished() {
            most = most.max(queue.unanswered().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!connect.join().unwrap());
        assert!(most >= 1);
    }
}
