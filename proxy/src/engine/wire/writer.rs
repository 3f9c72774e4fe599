//! Writing a message's body on a wire, in its framing.

use std::io;
use std::task::{Context, Poll, ready};

use weir_http1::{ChunkWriter, Fields};

use super::Wire;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum WriteFraming {
    /// The bytes as they are: the head has told the length, or the connection ends with them.
    Plain,
    Chunked,
}

/// Writes one body.
#[derive(Debug)]
pub(in super::super) struct BodyWriter {
    framing: WriteFraming,
    /// What is missing of the present chunk.
    chunk: usize,
}

// === impl BodyWriter ===

impl BodyWriter {
    pub(in super::super) fn new(framing: WriteFraming) -> Self {
        Self { framing, chunk: 0 }
    }

    /// Writes from `data`; see [`Wire::poll_send`]. After `Pending` the same data must come again, longer
    /// maybe.
    pub(in super::super) fn poll_send(
        &mut self,
        wire: &mut Wire,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() || self.framing == WriteFraming::Plain {
            return wire.poll_send(cx, data);
        }
        if self.chunk == 0 {
            if wire.is_full() {
                ready!(wire.poll_flush(cx))?;
            }
            ChunkWriter::start(wire.out(), data.len());
            self.chunk = data.len();
        }
        let data = data.get(..self.chunk).unwrap_or(data);
        let n = ready!(wire.poll_send(cx, data))?;
        self.chunk -= n;
        if self.chunk == 0 {
            wire.out().extend_from_slice(b"\r\n");
        }
        Poll::Ready(Ok(n))
    }

    /// Ends the body. What is left to write waits for [`Wire::poll_flush`].
    pub(in super::super) fn finish(&mut self, wire: &mut Wire, trailers: Option<&Fields>) {
        if self.framing == WriteFraming::Chunked {
            match trailers.filter(|trailers| !trailers.is_empty()) {
                Some(trailers) => ChunkWriter::end_with(wire.out(), trailers),
                None => ChunkWriter::end(wire.out()),
            }
        }
    }
}
