//! One connection to an upstream server.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use pingora::time::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::super::slots::Slot;

/// What is kept between answers; a larger buffer is given back when the connection goes idle.
const IDLE_BUFFER: usize = 2 * 1024;
/// Largest read.
const MAX_READ: usize = 64 * 1024;

/// A connection with the bytes read from it and not yet used. Dropping it closes it.
#[derive(Debug)]
pub(in super::super) struct UpstreamConn {
    io: Stream,
    input: BytesMut,
    next_read: usize,
    address: SocketAddr,
    served: u64,
    _slot: Slot,
}

impl UpstreamConn {
    pub(in super::super) fn new(io: Stream, address: SocketAddr, slot: Slot) -> Self {
        Self {
            io,
            input: BytesMut::new(),
            next_read: IDLE_BUFFER,
            address,
            served: 0,
            _slot: slot,
        }
    }

    pub(in super::super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether an answer has been read on this connection before, so that the server may have
    /// closed it in the meantime.
    pub(in super::super) fn is_reused(&self) -> bool {
        self.served > 0
    }

    /// Bytes read and not yet used.
    pub(in super::super) fn input(&self) -> &[u8] {
        &self.input
    }

    /// Marks the first `n` bytes of [`Self::input`] as used.
    pub(in super::super) fn consume(&mut self, n: usize) {
        self.input.advance(n.min(self.input.len()));
    }

    /// Reads more input; 0 at the end of the connection. Safe to cancel.
    ///
    /// # Errors
    /// `TimedOut` if nothing comes within `limit`, else what the socket says.
    pub(in super::super) async fn fill(&mut self, limit: Duration) -> io::Result<usize> {
        self.input.reserve(self.next_read);
        let room = self.input.capacity() - self.input.len();
        match timeout(limit, self.io.read_buf(&mut self.input)).await {
            Ok(Ok(n)) => {
                if n == room {
                    self.next_read = (self.next_read * 4).min(MAX_READ);
                }
                Ok(n)
            }
            Ok(Err(e)) => Err(e),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// `TimedOut` if the server takes nothing for `limit`, else what the socket says.
    pub(in super::super) async fn write(
        &mut self,
        bytes: &[u8],
        limit: Duration,
    ) -> io::Result<()> {
        let write = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        match timeout(limit, write).await {
            Ok(done) => done,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Prepares the connection for the pool after a complete exchange.
    pub(in super::super) fn rest(mut self) -> Self {
        self.served += 1;
        if self.input.capacity() > 2 * IDLE_BUFFER {
            self.input = BytesMut::new();
            self.next_read = IDLE_BUFFER;
        }
        self
    }

    /// Whether the idle connection is still open and silent, as far as the kernel has told.
    pub(in super::super) fn is_quiet(&mut self) -> bool {
        if !self.input.is_empty() {
            return false;
        }
        let mut probe = [0u8; 1];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.io)
            .poll_read(&mut cx, &mut ReadBuf::new(&mut probe))
            .is_pending()
    }
}
