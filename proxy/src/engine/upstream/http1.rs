//! One HTTP/1 connection to an upstream server, and the message under way on it.
//!
//! The mirror of [`super::super::downstream`]: the same polling calls, for the client's role.

use std::io;
use std::task::{Context, Poll, ready};

use weir_http1::{Asked, Fields, Framing, RequestBody, ResponseHead, ResponseParser};

use super::super::slots::Slot;
use super::super::wire::{BodyReader, BodyWriter, ReadError, Wire, WriteFraming};
use super::{AnswerError, Connected};
use crate::upstream::Endpoint;

/// Largest head of an answer, however many fields it has.
const MAX_HEAD: usize = 256 * 1024;

/// A connection with the message under way on it. Dropping it closes it.
#[derive(Debug)]
pub(in super::super) struct Conn {
    wire: Wire,
    parser: ResponseParser,
    reader: BodyReader,
    writer: BodyWriter,
    address: Endpoint,
    served: u64,
    _slot: Slot,
}

// === impl Conn ===

impl Conn {
    pub(in super::super) fn new(connected: Connected, address: Endpoint) -> Self {
        Self {
            wire: Wire::new(connected.socket),
            parser: ResponseParser::new(),
            reader: BodyReader::new(Framing::None),
            writer: BodyWriter::new(WriteFraming::Plain),
            address,
            served: 0,
            _slot: connected.slot,
        }
    }

    pub(in super::super) fn address(&self) -> Endpoint {
        self.address
    }

    /// Whether an answer has been read on this connection before, so that the server may have
    /// closed it in the meantime.
    pub(in super::super) fn is_reused(&self) -> bool {
        self.served > 0
    }

    /// Begins a request, whose head `write` appends. It goes out with [`Conn::poll_flush`].
    pub(in super::super) fn send_head(
        &mut self,
        body: RequestBody,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        write(self.wire.out());
        self.parser = ResponseParser::new();
        self.writer = BodyWriter::new(match body {
            RequestBody::Stream => WriteFraming::Chunked,
            RequestBody::None | RequestBody::Length(_) => WriteFraming::Plain,
        });
    }

    /// Takes bytes of the request body; see [`Wire::poll_send`].
    pub(in super::super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer.poll_send(&mut self.wire, cx, data)
    }

    /// Ends the request body.
    pub(in super::super) fn finish(&mut self, trailers: Option<&Fields>) {
        self.writer.finish(&mut self.wire, trailers);
    }

    /// Ready once everything has been given to the system.
    pub(in super::super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_flush(cx)
    }

    /// Bytes written so far, to tell a slow server from one that takes nothing.
    pub(in super::super) fn bytes_written(&self) -> u64 {
        self.wire.bytes_written()
    }

    /// Whether something of the answer has come that is not used yet.
    pub(in super::super) fn has_input(&self) -> bool {
        !self.wire.input.is_empty()
    }

    /// The next head: an informational one or the final one.
    pub(in super::super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        asked: Asked<'_>,
    ) -> Poll<Result<ResponseHead, AnswerError>> {
        loop {
            if self.wire.input.len() > self.parser.scanned()
                && let Some((head, len)) = self.parser.advance(&self.wire.input, asked)?
            {
                self.wire.consume(len);
                return Poll::Ready(Ok(head));
            }
            if self.wire.input.len() > MAX_HEAD {
                return Poll::Ready(Err(AnswerError::TooLarge));
            }
            if ready!(self.wire.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(AnswerError::Closed));
            }
        }
    }

    /// From here on the body of an answer is read.
    pub(in super::super) fn begin_body(&mut self, framing: Framing) {
        self.reader = BodyReader::new(framing);
    }

    /// Makes the next piece of the body ready: `true` if there is one, `false` at the end.
    pub(in super::super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, ReadError>> {
        self.reader.poll(&mut self.wire, cx)
    }

    /// The piece of the body that is ready.
    pub(in super::super) fn piece(&self) -> &[u8] {
        self.reader.piece(&self.wire)
    }

    /// Uses up the first `n` bytes of the piece.
    pub(in super::super) fn consume(&mut self, n: usize) {
        self.reader.consume(&mut self.wire, n);
    }

    /// The trailers of the answer, after the end of its body.
    pub(in super::super) fn take_trailers(&mut self) -> Option<Fields> {
        self.reader.take_trailers()
    }

    /// From here on both directions carry bytes of a tunnel.
    pub(in super::super) fn start_tunnel(&mut self) {
        self.reader = BodyReader::new(Framing::UntilClose);
        self.writer = BodyWriter::new(WriteFraming::Plain);
    }

    /// Closes our direction of a tunnel.
    pub(in super::super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_shutdown(cx)
    }

    /// Whether the answer ended as it should and nothing follows it. Bytes beyond it belong to nobody: such
    /// a connection is not to be trusted.
    pub(in super::super) fn is_clean(&self) -> bool {
        self.reader.is_framed_end() && self.wire.input.is_empty() && self.wire.is_flushed()
    }

    /// Prepares the connection for the pool after a complete exchange.
    pub(in super::super) fn rest(&mut self) {
        self.served += 1;
        self.wire.rest();
    }

    /// Whether the idle connection is still open and silent, as far as the kernel has told.
    pub(in super::super) fn is_quiet(&mut self) -> bool {
        self.wire.is_quiet()
    }
}
