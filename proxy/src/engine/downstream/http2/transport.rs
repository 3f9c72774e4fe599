//! The bytes of an HTTP/2 connection.
//!
//! `h2` reads and writes through an [`Io`]. The task of the connection has the same [`Transport`]: it flushes
//! once all that can be written has been given, and learns what is wrong with the frames and how long a client
//! has owed something.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Buf as _;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::super::turn::Turn;
use super::super::super::wire::Wire;
use super::blocks::is_undecodable;
use super::frames::{Frames, Limits, Violation};

/// A wire whose frames are watched.
#[derive(Debug)]
pub(in super::super::super) struct Transport {
    wire: Wire,
    frames: Frames,
    /// So many bytes of the input are good to be parsed.
    good: usize,
    violation: Option<Violation>,
    /// A part of a field block has been given to `h2`, which has not asked for more yet.
    decoding: bool,
    read_turn: Turn,
    write_turn: Turn,
    /// Since when the client has owed the rest of a frame or of headers.
    incomplete: Option<Instant>,
    /// Since when the client has taken nothing of what waits.
    blocked: Option<Instant>,
    blocked_at: u64,
    /// What has been written and credited.
    credited: u64,
}

/// What `h2` reads from and writes to.
#[derive(Debug)]
pub(in super::super::super) struct Io(pub(in super::super::super) Arc<Mutex<Transport>>);

// === impl Transport ===

impl Transport {
    pub(in super::super::super) fn new(wire: Wire, limits: Limits) -> Self {
        Self {
            wire,
            frames: Frames::new(limits),
            good: 0,
            violation: None,
            decoding: false,
            read_turn: Turn::new(),
            write_turn: Turn::new(),
            incomplete: Some(Instant::now()),
            blocked: None,
            blocked_at: 0,
            credited: 0,
        }
    }

    pub(in super::super::super) fn into_wire(self) -> Wire {
        self.wire
    }

    /// What is wrong with the frames. Nothing is read behind it.
    pub(in super::super::super) fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Since when the client has owed the rest of a frame or of headers; that of DATA does not count.
    pub(in super::super::super) fn incomplete_since(&self) -> Option<Instant> {
        self.incomplete
    }

    /// Since when the client has taken nothing of what waits.
    pub(in super::super::super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked
    }

    /// A request has been answered.
    pub(in super::super::super) fn answered(&mut self) {
        self.frames.budgets().answered();
    }

    /// Writes what waits.
    pub(in super::super::super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let flushed = self.wire.poll_flush(cx);
        self.note(flushed.is_pending());
        flushed
    }

    /// Notes whether the socket takes no more.
    fn note(&mut self, pending: bool) {
        let written = self.wire.bytes_written();
        if !pending && self.wire.is_flushed() {
            self.blocked = None;
        } else if pending && (self.blocked.is_none() || written != self.blocked_at) {
            self.blocked = Some(Instant::now());
            self.blocked_at = written;
        }
        let moved = usize::try_from(written - self.credited).unwrap_or(usize::MAX);
        if moved > 0 {
            self.credited = written;
            self.frames.budgets().moved(moved);
        }
    }

    /// Follows the input, of which nothing has been followed yet.
    fn follow(&mut self) {
        let (good, violation) = self.frames.follow(&self.wire.input);
        self.frames.budgets().moved(good);
        self.good = good;
        self.violation = violation;
        if !self.frames.is_incomplete() {
            self.incomplete = None;
        } else if self.incomplete.is_none() {
            self.incomplete = Some(Instant::now());
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.good == 0 {
            if self.violation.is_some() {
                // The task that polls this looks at it next.
                return Poll::Pending;
            }
            self.decoding = false;
            if self.read_turn.is_over() {
                self.read_turn = Turn::new();
                Turn::pass(cx);
                return Poll::Pending;
            }
            if self.wire.input.is_empty() {
                let read = self.wire.poll_fill(cx);
                if read.is_pending() {
                    self.read_turn = Turn::new();
                }
                let n = ready!(read)?;
                if n == 0 {
                    return Poll::Ready(Ok(()));
                }
                self.read_turn.spend(n);
            }
            self.follow();
            if self.good == 0 {
                return Poll::Pending;
            }
        }
        let n = self.good.min(buf.remaining());
        buf.put_slice(self.wire.input.get(..n).unwrap_or_default());
        self.wire.input.advance(n);
        self.good -= n;
        self.decoding = self.good == 0 && self.frames.last_block().is_some();
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_turn.is_over() {
            self.write_turn = Turn::new();
            Turn::pass(cx);
            return Poll::Pending;
        }
        let block = self.frames.last_block().filter(|_| self.decoding);
        let sent = match block {
            Some(block) if self.violation.is_none() => {
                self.wire.poll_send(cx, &with_right_code(data, block))
            }
            _ => self.wire.poll_send(cx, data),
        };
        self.note(sent.is_pending());
        match &sent {
            Poll::Ready(Ok(n)) => self.write_turn.spend(*n),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.write_turn = Turn::new(),
        }
        sent
    }
}

/// GOAWAY as RFC 9113 section 4.3 wants it for a field block that cannot be decoded: `h2` says PROTOCOL_ERROR where
/// COMPRESSION_ERROR is due.
fn with_right_code<'a>(data: &'a [u8], block: &[u8]) -> Cow<'a, [u8]> {
    const GOAWAY: [u8; 9] = [0, 0, 8, 7, 0, 0, 0, 0, 0];
    const LENGTH: usize = GOAWAY.len() + 8;
    const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];
    const COMPRESSION_ERROR: [u8; 4] = [0, 0, 0, 9];
    let is_one = data
        .len()
        .checked_sub(LENGTH)
        .and_then(|at| data.get(at..))
        .is_some_and(|frame| frame.starts_with(&GOAWAY) && frame.ends_with(&PROTOCOL_ERROR));
    match data.split_last_chunk::<4>() {
        Some((before, _)) if is_one && is_undecodable(block) => {
            Cow::Owned([before, &COMPRESSION_ERROR].concat())
        }
        _ => Cow::Borrowed(data),
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, data)
    }

    /// Nothing is flushed yet: the task of the connection does it once `h2` has given all it has, so that the
    /// frames of many streams leave together.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut transport = self.0.lock();
        let shut = transport.wire.poll_shutdown(cx);
        transport.note(shut.is_pending());
        shut
    }
}
