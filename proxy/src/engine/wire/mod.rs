//! One HTTP/1 connection as bytes: a socket with what has been read and not used, and what is to be
//! written. Both sides of the proxy use the same.
//!
//! All calls poll: they do what can be done now and never wait, so that one task can drive both
//! directions of both sides (see [`super::exchange`]). An idle wire owns no buffer.

mod reader;
mod socket;
mod timer;
mod writer;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) use self::reader::{BodyReader, ReadError};
pub(super) use self::socket::Socket;
pub(super) use self::timer::Timer;
pub(super) use self::writer::{BodyWriter, WriteFraming};

/// Size of the first read, and of every read while a request is awaited.
const FIRST_READ: usize = 4 * 1024;
/// Largest read.
const MAX_READ: usize = 64 * 1024;
/// Data up to this size is copied behind what waits to be written; larger data is written from where
/// it is.
const COPY_LIMIT: usize = 4 * 1024;
/// With this much waiting nothing more is taken in.
const HIGH_WATER: usize = 32 * 1024;

/// A socket with its buffers.
#[derive(Debug)]
pub(super) struct Wire {
    io: Socket,
    /// Read and not yet used.
    pub(super) input: BytesMut,
    out: Vec<u8>,
    /// Bytes of `out` already written.
    written: usize,
    next_read: usize,
    /// The largest read since the last [`Wire::rest`].
    largest: usize,
    total_written: u64,
    /// The socket may hold something back (TLS) that was written since the last flush.
    held: bool,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(io: impl Into<Socket>) -> Self {
        Self {
            io: io.into(),
            input: BytesMut::new(),
            out: Vec::new(),
            written: 0,
            next_read: FIRST_READ,
            largest: 0,
            total_written: 0,
            held: false,
        }
    }

    /// The socket, for a protocol that reads it by itself. What was read is lost with the wire.
    #[allow(dead_code, reason = "HTTP/2 takes connections over")]
    pub(super) fn into_parts(self) -> (Socket, BytesMut) {
        (self.io, self.input)
    }

    /// Reads once behind the input; 0 at the end of the stream. The buffer grows with what comes, and
    /// none is kept while nothing comes.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(self.next_read);
        let room = self.input.capacity() - self.input.len();
        let read = tokio_util::io::poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input);
        match read {
            Poll::Ready(Ok(n)) => {
                self.largest = self.largest.max(n);
                if n == room {
                    self.next_read = (self.next_read * 4).min(MAX_READ);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
            }
        }
        read
    }

    /// The same by way of the stack, so that nothing is allocated before there is something to hold.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [const { MaybeUninit::<u8>::uninit() }; FIRST_READ];
        let mut buf = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        self.input.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Reads and throws away; 0 at the end of the stream.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input = BytesMut::new();
        let mut room = [const { MaybeUninit::<u8>::uninit() }; 16 * 1024];
        let mut buf = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Uses up the first `n` bytes of the input.
    pub(super) fn consume(&mut self, n: usize) {
        self.input.advance(n.min(self.input.len()));
    }

    /// Where a head or chunk framing is added to what will be written.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes written so far.
    pub(super) fn bytes_written(&self) -> u64 {
        self.total_written
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.held
    }

    /// Whether so much waits to be written that the other side should wait too.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() - self.written >= HIGH_WATER
    }

    /// Writes what waits and then from `data`. Returns how much of `data` was taken, which is not 0
    /// unless `data` is empty. Small data may only have been put behind what waits:
    /// [`Wire::poll_flush`] should follow when there is no more.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.len() <= COPY_LIMIT && !self.is_full() {
            self.out.extend_from_slice(data);
            return Poll::Ready(Ok(data.len()));
        }
        loop {
            let waiting = self.out.get(self.written..).unwrap_or_default();
            if waiting.is_empty() {
                let n = not_zero(ready!(Pin::new(&mut self.io).poll_write(cx, data))?)?;
                self.wrote(n);
                return Poll::Ready(Ok(n));
            }
            let bufs = [io::IoSlice::new(waiting), io::IoSlice::new(data)];
            let before = waiting.len();
            let n = not_zero(ready!(
                Pin::new(&mut self.io).poll_write_vectored(cx, &bufs)
            )?)?;
            self.wrote(n);
            if n > before {
                self.written();
                return Poll::Ready(Ok(n - before));
            }
            self.written += n;
            if n == before {
                self.written();
            }
        }
    }

    fn wrote(&mut self, n: usize) {
        self.total_written += n as u64;
        self.held = self.io.holds_back();
    }

    /// Everything in `out` is written.
    fn written(&mut self) {
        self.written = 0;
        if self.out.capacity() > 2 * COPY_LIMIT {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
    }

    /// Writes what waits.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            let n = not_zero(ready!(Pin::new(&mut self.io).poll_write(cx, rest))?)?;
            self.written += n;
            self.wrote(n);
        }
        self.written();
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.held = false;
        Poll::Ready(Ok(()))
    }

    /// Writes what waits and says that nothing more comes.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Gives back what an idle connection does not need.
    pub(super) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        if self.largest < self.next_read / 4 {
            self.next_read = (self.next_read / 2).max(FIRST_READ);
        }
        self.largest = 0;
    }

    /// Whether the connection is still open and silent, as far as the kernel has told.
    pub(super) fn is_quiet(&mut self) -> bool {
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

fn not_zero(n: usize) -> io::Result<usize> {
    match n {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n => Ok(n),
    }
}
