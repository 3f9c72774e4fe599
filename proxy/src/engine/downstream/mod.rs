//! The one interface a request is served through, whatever version of HTTP the client speaks.
//!
//! A [`Downstream`] is one request and the place for its answer. [`super::request::serve`] takes one,
//! routes it, applies limits, and lets [`super::attempts`] and [`super::exchange`] answer it. They use
//! it in this order:
//!
//! 1. [`Downstream::head`] at any time: the request head, the same type for every version.
//! 2. The request body, as it comes: [`Downstream::poll_body`] makes a piece ready, [`Downstream::piece`]
//!    shows it, [`Downstream::consume`] uses it up (and gives flow control back, where there is one);
//!    after the end [`Downstream::take_trailers`]. [`Downstream::poll_gone`] watches for a client that
//!    leaves once the body is complete.
//! 3. Any number of [`Downstream::send_interim`], then one [`Downstream::send_head`].
//! 4. The body: [`Downstream::poll_send`] takes as much as there is room for, [`Downstream::finish`] ends
//!    it with or without trailers, and [`Downstream::poll_flush`] brings out what is still held.
//! 5. After a head of `101` (or an extended CONNECT) [`Downstream::start_tunnel`]: from there on
//!    `poll_body` and `poll_send` carry bytes of the tunnel, the end of the body is the client's
//!    half-close, and [`Downstream::poll_shutdown`] closes ours.
//!
//! Nothing here waits: every `poll_` function does what can be done now and registers the task to be
//! woken. So one task can drive both directions of both sides at once. Time limits are the caller's,
//! by way of [`Downstream::poll_until`].
//!
//! To add a version: a session type with these functions, a variant, and a task that calls
//! [`super::request::serve`] for each of its requests.

pub(super) mod http1;
pub(super) mod http2;

use std::task::{Context, Poll};
use std::time::Instant;

use http::StatusCode;
use weir_http1::{Fields, RequestHead};

/// The client can no longer be written to, or sent something that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientError {
    /// The client closed the connection.
    #[error("client closed the connection")]
    Gone,
    /// The client took or sent nothing for too long.
    #[error("client timed out")]
    Timeout,
    /// The body broke its framing.
    #[error("malformed request body")]
    Malformed,
}

/// The head of an answer, of any version: no field of it is about the connection.
#[derive(Debug, Default)]
pub(super) struct AnswerHead {
    pub(super) status: u16,
    /// As the server wrote it; none: the standard one.
    pub(super) reason: Option<Vec<u8>>,
    /// The fields; `Content-Length` is among them where the length is known.
    pub(super) fields: Fields,
    pub(super) body: AnswerBody,
}

/// What follows the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum AnswerBody {
    /// Nothing: an answer to HEAD, or of a status without a body.
    #[default]
    None,
    /// As many bytes as `Content-Length` says.
    Sized,
    /// A body whose end is marked in the stream.
    Stream,
    /// A tunnel.
    Tunnel,
}

/// The standard reason phrase.
pub(super) fn reason_of(status: u16) -> &'static [u8] {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
        .as_bytes()
}

/// One request of a client.
#[derive(Debug)]
pub(super) enum Downstream {
    /// On an HTTP/1 connection.
    Http1(Box<http1::Session>),
    /// On a stream of an HTTP/2 connection.
    Http2(Box<http2::Session>),
}

/// Passes a call on to the session of whatever version.
macro_rules! session {
    ($self:expr, $session:ident => $call:expr) => {
        match $self {
            Self::Http1($session) => $call,
            Self::Http2($session) => $call,
        }
    };
}

// === impl Downstream ===

impl Downstream {
    /// The request head.
    pub(super) fn head(&self) -> &RequestHead {
        session!(self, s => s.head())
    }

    /// Whether the whole request body has been used up.
    pub(super) fn is_body_done(&self) -> bool {
        session!(self, s => s.is_body_done())
    }

    /// Makes the next piece of the body ready: `true` if there is one, `false` at the end.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ClientError>> {
        session!(self, s => s.poll_body(cx))
    }

    /// The piece of the body that is ready.
    pub(super) fn piece(&self) -> &[u8] {
        session!(self, s => s.piece())
    }

    /// Uses up the first `n` bytes of the piece.
    pub(super) fn consume(&mut self, n: usize) {
        session!(self, s => s.consume(n));
    }

    /// The trailers of the request, after the end of its body.
    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        session!(self, s => s.take_trailers())
    }

    /// Ready when the client has gone away. Only after the whole body was read.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ClientError> {
        session!(self, s => s.poll_gone(cx))
    }

    /// Waits until the client has gone away. Only after the whole body was read. Safe to cancel.
    pub(super) async fn gone(&mut self) -> ClientError {
        std::future::poll_fn(|cx| self.poll_gone(cx)).await
    }

    /// Sends an informational answer with these fields.
    pub(super) fn send_interim(&mut self, status: u16, fields: &Fields) {
        session!(self, s => s.send_interim(status, fields));
    }

    /// Sends the final head. It may wait for the start of the body until [`Downstream::poll_flush`].
    pub(super) fn send_head(&mut self, head: &AnswerHead) {
        session!(self, s => s.send_head(head));
    }

    /// Whether the final head has been given away, so that there can be no other answer.
    pub(super) fn answer_started(&self) -> bool {
        session!(self, s => s.answer_started())
    }

    /// Takes bytes of the body; how many is not 0 unless `data` is empty. After `Pending` the same data
    /// must come again.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ClientError>> {
        session!(self, s => s.poll_send(cx, data))
    }

    /// Ends the body.
    pub(super) fn finish(&mut self, trailers: Option<&Fields>) {
        session!(self, s => s.finish(trailers));
    }

    /// Ready once nothing is held back here any more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        match self {
            Self::Http1(s) => s.poll_flush(cx),
            Self::Http2(s) => s.poll_flush(),
        }
    }

    /// Bytes written to the client so far, to tell a slow reader from one that has stopped.
    pub(super) fn bytes_written(&self) -> u64 {
        session!(self, s => s.bytes_written())
    }

    /// From here on both directions carry bytes of a tunnel.
    pub(super) fn start_tunnel(&mut self) {
        session!(self, s => s.start_tunnel());
    }

    /// Closes our direction of a tunnel.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        match self {
            Self::Http1(s) => s.poll_shutdown(cx),
            Self::Http2(s) => s.poll_shutdown(),
        }
    }

    /// Ready once `deadline` has passed.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        session!(self, s => s.poll_until(cx, deadline))
    }

    /// No further request comes on this connection. One of HTTP/2 has others under way; it ends when its own
    /// task says so.
    pub(super) fn close_after(&mut self) {
        if let Self::Http1(s) = self {
            s.close_after();
        }
    }

    /// The connection may be used again after an answer that did not wait for the request body, if
    /// what is left of that is small; else it closes after the answer.
    pub(super) fn keep_if_small(&mut self) {
        if let Self::Http1(s) = self {
            s.keep_if_small();
        }
    }
}
