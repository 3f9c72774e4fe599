//! One request on a shared connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use weir_http1::{Asked, BadAnswer, Fields, Framing, RequestBody, RequestHead, ResponseHead};

use super::super::super::forward::Forward;
use super::super::AnswerError;
use super::head;
use super::shared::Lease;

/// Most body bytes given to the connection at once.
const MAX_SEND: usize = 32 * 1024;

/// One request on a shared connection, and its answer. Dropping it cancels what is not through.
#[derive(Debug)]
pub(in super::super::super) struct Stream {
    lease: Lease,
    /// Over TLS.
    secure: bool,
    /// Until the final head has come.
    response: Option<ResponseFuture>,
    /// Until the request has ended.
    send: Option<SendStream<Bytes>>,
    recv: Option<RecvStream>,
    /// The stream could not be opened.
    failed: Option<AnswerError>,
    piece: Bytes,
    trailers: Option<Fields>,
    /// Bytes of a body are allowed.
    bodiless: bool,
    written: u64,
}

// === impl Stream ===

impl Stream {
    pub(in super::super::super) fn new(lease: Lease, secure: bool) -> Self {
        Self {
            lease,
            secure,
            response: None,
            send: None,
            recv: None,
            failed: None,
            piece: Bytes::new(),
            trailers: None,
            bodiless: false,
            written: 0,
        }
    }

    pub(in super::super) fn is_reused(&self) -> bool {
        self.lease.is_reused()
    }

    pub(in super::super) fn send_head(&mut self, req: &RequestHead, forward: &Forward<'_>) {
        let ends = matches!(forward.body, RequestBody::None | RequestBody::Length(0));
        match head::request(req, forward, self.secure) {
            Ok(request) => self.start(request, ends),
            Err(e) => self.failed = Some(e),
        }
    }

    /// Sends a head; `ends`: it is the whole request.
    pub(in super::super::super) fn start(&mut self, request: http::Request<()>, ends: bool) {
        match self.lease.sender().send_request(request, ends) {
            Ok((response, send)) => {
                self.response = Some(response);
                self.send = (!ends).then_some(send);
            }
            // The connection is closed or about to be: nothing has been sent on it.
            Err(e) => {
                let leaving = !matches!(
                    AnswerError::from(e),
                    AnswerError::Unprocessed { leaving: false }
                );
                self.failed = Some(AnswerError::Unprocessed { leaving });
            }
        }
    }

    pub(in super::super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let part = data.get(..MAX_SEND).unwrap_or(data);
        if part.is_empty() {
            return Poll::Ready(Ok(0));
        }
        send.reserve_capacity(part.len());
        if send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let n = send.capacity().min(part.len());
        let part = part.get(..n).unwrap_or_default();
        send.send_data(Bytes::copy_from_slice(part), false)
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.written += n as u64;
        Poll::Ready(Ok(n))
    }

    /// What cannot be sent any more is told by [`Stream::poll_head`].
    pub(in super::super) fn finish(&mut self, trailers: Option<&Fields>) {
        let Some(mut send) = self.send.take() else {
            return;
        };
        let _ = match trailers {
            Some(trailers) => send.send_trailers(head::header_map(trailers)),
            None => send.send_data(Bytes::new(), true),
        };
    }

    pub(in super::super) fn bytes_written(&self) -> u64 {
        self.written
    }

    /// The next head: an informational one or the final one.
    pub(in super::super::super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        asked: Asked<'_>,
    ) -> Poll<Result<ResponseHead, AnswerError>> {
        if let Some(e) = self.failed.take() {
            return Poll::Ready(Err(e));
        }
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(AnswerError::Closed));
        };
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            return Poll::Ready(head::response(interim, asked.method, false));
        }
        let final_head = ready!(Pin::new(response).poll(cx))?;
        self.response = None;
        let (parts, recv) = final_head.into_parts();
        let ends = recv.is_end_stream();
        self.recv = Some(recv);
        let head = http::Response::from_parts(parts, ());
        Poll::Ready(head::response(head, asked.method, ends))
    }

    pub(in super::super) fn begin_body(&mut self, framing: Framing) {
        self.bodiless = framing == Framing::None;
    }

    /// Makes the next piece of the body ready: `true` if there is one, `false` at the end.
    pub(in super::super::super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, AnswerError>> {
        let Some(recv) = &mut self.recv else {
            return Poll::Ready(Ok(false));
        };
        while self.piece.is_empty() {
            match ready!(recv.poll_data(cx)) {
                Some(piece) => self.piece = piece?,
                None => {
                    let trailers = ready!(recv.poll_trailers(cx))?;
                    self.trailers = trailers.as_ref().map(head::fields);
                    self.recv = None;
                    return Poll::Ready(Ok(false));
                }
            }
        }
        if self.bodiless {
            return Poll::Ready(Err(BadAnswer::Framing("body where none may be").into()));
        }
        Poll::Ready(Ok(true))
    }

    /// The piece of the body that is ready.
    pub(in super::super::super) fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// Uses up the first `n` bytes of the piece, and lets the server send as many more.
    pub(in super::super::super) fn consume(&mut self, n: usize) {
        let n = n.min(self.piece.len());
        self.piece.advance(n);
        if let Some(recv) = &mut self.recv {
            // Fails only for more than was received.
            let _ = recv.flow_control().release_capacity(n);
        }
    }

    pub(in super::super) fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }
}
