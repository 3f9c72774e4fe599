//! Reading a message's body off a wire, in its framing.

use std::io;
use std::task::{Context, Poll, ready};

use weir_http1::{BadBody, BodyDecoder, Fields, Framing};

use super::Wire;

/// Pieces below this size are collected, as long as more of them have been read already.
const SMALL: usize = 2 * 1024;
/// Collected pieces are passed on from this size.
const COLLECTED: usize = 16 * 1024;

/// Why a body cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum ReadError {
    /// The connection ended before the body did.
    #[error("closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The body broke its framing.
    #[error("{0}")]
    Malformed(#[from] BadBody),
}

/// Reads one body.
#[derive(Debug)]
pub(in super::super) struct BodyReader {
    decoder: BodyDecoder,
    /// The next so many bytes of the input are body, decoded and not yet used.
    direct: usize,
    collected: Vec<u8>,
    /// Bytes of `collected` already used.
    used: usize,
    ended: bool,
}

// === impl BodyReader ===

impl BodyReader {
    pub(in super::super) fn new(framing: Framing) -> Self {
        Self {
            decoder: BodyDecoder::new(framing),
            direct: 0,
            collected: Vec::new(),
            used: 0,
            ended: false,
        }
    }

    /// Whether all of the body has been read and used.
    pub(in super::super) fn is_done(&self) -> bool {
        self.piece_len() == 0 && (self.decoder.is_done() || self.ended)
    }

    /// Whether the body ended in its framing, and not with the connection.
    pub(in super::super) fn is_framed_end(&self) -> bool {
        self.decoder.is_done() && !self.ended
    }

    /// The trailers, after the end.
    pub(in super::super) fn take_trailers(&mut self) -> Option<Fields> {
        self.decoder.take_trailers()
    }

    fn piece_len(&self) -> usize {
        if self.direct > 0 {
            self.direct
        } else {
            self.collected.len() - self.used
        }
    }

    /// Makes the next piece ready: `true` if there is one, `false` at the end of the body. What has been
    /// read already is decoded as far as it is small, so that many tiny chunks become one piece.
    pub(in super::super) fn poll(
        &mut self,
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, ReadError>> {
        loop {
            if self.piece_len() > 0 {
                return Poll::Ready(Ok(true));
            }
            if self.decoder.is_done() || self.ended {
                return Poll::Ready(Ok(false));
            }
            if !wire.input.is_empty() {
                self.decode(wire)?;
                if self.piece_len() > 0 || self.decoder.is_done() {
                    continue;
                }
            }
            if ready!(wire.poll_fill(cx))? == 0 {
                if !self.decoder.ends_at_close() {
                    return Poll::Ready(Err(ReadError::Closed));
                }
                self.ended = true;
            }
        }
    }

    fn decode(&mut self, wire: &mut Wire) -> Result<(), BadBody> {
        self.collected.clear();
        self.used = 0;
        loop {
            let step = self.decoder.step(&wire.input)?;
            wire.consume(step.consumed - step.data);
            if step.data == 0 {
                return Ok(());
            }
            if self.collected.is_empty() && (step.data >= SMALL || step.data == wire.input.len()) {
                self.direct = step.data;
                return Ok(());
            }
            let data = wire.input.get(..step.data).unwrap_or_default();
            self.collected.extend_from_slice(data);
            wire.consume(step.data);
            if self.collected.len() >= COLLECTED || self.decoder.is_done() || wire.input.is_empty()
            {
                return Ok(());
            }
        }
    }

    /// The piece that is ready.
    pub(in super::super) fn piece<'a>(&'a self, wire: &'a Wire) -> &'a [u8] {
        if self.direct > 0 {
            wire.input.get(..self.direct).unwrap_or_default()
        } else {
            self.collected.get(self.used..).unwrap_or_default()
        }
    }

    /// Uses up the first `n` bytes of the piece.
    pub(in super::super) fn consume(&mut self, wire: &mut Wire, n: usize) {
        if self.direct > 0 {
            let n = n.min(self.direct);
            self.direct -= n;
            wire.consume(n);
            return;
        }
        self.used = (self.used + n).min(self.collected.len());
        if self.used == self.collected.len() {
            self.collected = Vec::new();
            self.used = 0;
        }
    }
}
