//! Connections to upstream servers: opening, keeping, speaking HTTP/1 and HTTP/2 on them.
//!
//! An [`UpstreamConn`] is the place for one request and its answer, the mirror of
//! [`super::downstream::Downstream`]: an HTTP/1 connection of its own, or a stream on an HTTP/2
//! connection that others use too. Nothing here waits: every `poll_` function does what can be done
//! now and registers the task to be woken.
//!
//! To add a version: a type with these functions, a variant, and a way to get one in
//! [`super::attempts`].

mod connect;
mod error;
mod http1;
mod http2;
mod pool;
mod transport;

use std::io;
use std::task::{Context, Poll};

use weir_http1::{Asked, Fields, Framing, RequestHead, ResponseHead};

use super::forward::{Forward, write_head};

pub(super) use connect::{ConnectError, Connected, Connector, Dial};
pub(super) use error::AnswerError;
pub(super) use http1::Conn as Http1Conn;
pub(super) use http2::{Opened, Permit, Place, Stream as Http2Stream, open as open_http2};
pub(super) use pool::IdlePool;
pub(super) use transport::TransportPlan;

/// Where one request goes and its answer comes from.
#[derive(Debug)]
pub(super) enum UpstreamConn {
    /// An HTTP/1 connection. Dropping it closes it.
    Http1(Box<http1::Conn>),
    /// A stream of a shared HTTP/2 connection. Dropping it cancels what is not through.
    Http2(Box<http2::Stream>),
}

/// Passes a call on to the connection of whatever version.
macro_rules! conn {
    ($self:expr, $conn:ident => $call:expr) => {
        match $self {
            Self::Http1($conn) => $call,
            Self::Http2($conn) => $call,
        }
    };
}

// === impl UpstreamConn ===

impl UpstreamConn {
    /// Whether it goes over a connection that was there before, which the server may have closed in
    /// the meantime.
    pub(super) fn is_reused(&self) -> bool {
        conn!(self, c => c.is_reused())
    }

    /// Whether a request is worth being kept until the server has taken it up: one of HTTP/2 may say
    /// that it has not, and then any request may go to another.
    pub(super) fn may_refuse(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Whether its answers have reason phrases.
    pub(super) fn has_reasons(&self) -> bool {
        matches!(self, Self::Http1(_))
    }

    /// Begins a request. It goes out with [`UpstreamConn::poll_flush`].
    pub(super) fn send_head(&mut self, head: &RequestHead, forward: &Forward<'_>) {
        match self {
            Self::Http1(conn) => conn.send_head(forward.body, |out| write_head(out, head, forward)),
            Self::Http2(stream) => stream.send_head(head, forward),
        }
    }

    /// Takes bytes of the request body; how many is not 0 unless `data` is empty. After `Pending` the
    /// same data must come again.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        conn!(self, c => c.poll_send(cx, data))
    }

    /// Ends the request body.
    pub(super) fn finish(&mut self, trailers: Option<&Fields>) {
        conn!(self, c => c.finish(trailers));
    }

    /// Ready once nothing is held back here any more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Http1(conn) => conn.poll_flush(cx),
            // The connection's own task writes.
            Self::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    /// Bytes taken so far, to tell a slow server from one that takes nothing.
    pub(super) fn bytes_written(&self) -> u64 {
        conn!(self, c => c.bytes_written())
    }

    /// Whether something of the answer has come that is not used yet.
    pub(super) fn has_input(&self) -> bool {
        match self {
            Self::Http1(conn) => conn.has_input(),
            // Heads come as a whole.
            Self::Http2(_) => false,
        }
    }

    /// The next head: an informational one or the final one.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        asked: Asked<'_>,
    ) -> Poll<Result<ResponseHead, AnswerError>> {
        conn!(self, c => c.poll_head(cx, asked))
    }

    /// From here on the body of an answer is read.
    pub(super) fn begin_body(&mut self, framing: Framing) {
        match self {
            Self::Http1(conn) => conn.begin_body(framing),
            Self::Http2(stream) => stream.begin_body(framing),
        }
    }

    /// Makes the next piece of the body ready: `true` if there is one, `false` at the end.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, AnswerError>> {
        match self {
            Self::Http1(conn) => conn.poll_body(cx).map_err(Into::into),
            Self::Http2(stream) => stream.poll_body(cx),
        }
    }

    /// The piece of the body that is ready.
    pub(super) fn piece(&self) -> &[u8] {
        conn!(self, c => c.piece())
    }

    /// Uses up the first `n` bytes of the piece.
    pub(super) fn consume(&mut self, n: usize) {
        conn!(self, c => c.consume(n));
    }

    /// The trailers of the answer, after the end of its body.
    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        conn!(self, c => c.take_trailers())
    }

    /// From here on both directions carry bytes of a tunnel.
    pub(super) fn start_tunnel(&mut self) {
        match self {
            Self::Http1(conn) => conn.start_tunnel(),
            // There is no 101 in HTTP/2 (RFC 9113 section 8.6).
            Self::Http2(_) => {}
        }
    }

    /// Closes our direction of a tunnel.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Http1(conn) => conn.poll_shutdown(cx),
            Self::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether the answer ended as it should and nothing follows it. Bytes beyond it belong to nobody: such
    /// a connection is not to be trusted.
    pub(super) fn is_clean(&self) -> bool {
        match self {
            Self::Http1(conn) => conn.is_clean(),
            Self::Http2(_) => true,
        }
    }
}
