//! One request on a stream of an HTTP/2 connection.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf as _, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use weir_http1::{Fields, Name, RequestHead};

use super::super::super::wire::Timer;
use super::super::{AnswerBody, AnswerHead, ClientError};
use super::SEND_BUFFER;
use super::request::{is_of_connection, trailers_of};

/// One request on a stream of an HTTP/2 connection.
#[derive(Debug)]
pub(in super::super::super) struct Session {
    head: RequestHead,
    timer: Timer,
    recv: RecvStream,
    /// The part of the body that is ready.
    piece: Bytes,
    /// The body has ended, its piece aside.
    ended: bool,
    trailers: Option<Fields>,
    respond: SendResponse<Bytes>,
    /// From the final head on.
    send: Option<SendStream<Bytes>>,
    /// How much of the answer's body is missing, if that is known.
    missing: Option<u64>,
    sent: u64,
    /// END_STREAM has been given away.
    finished: bool,
    /// The client has been told to go on with its body, or never waited.
    continued: bool,
}

// === impl Session ===

impl Session {
    /// The request with this head.
    pub(in super::super::super) fn new(
        head: RequestHead,
        recv: RecvStream,
        respond: SendResponse<Bytes>,
    ) -> Self {
        let ended = recv.is_end_stream() || head.upgrades().next().is_some();
        Self {
            continued: !head.expects_continue(),
            timer: Timer::default(),
            ended,
            head,
            recv,
            piece: Bytes::new(),
            trailers: None,
            respond,
            send: None,
            missing: None,
            sent: 0,
            finished: false,
        }
    }

    pub(in super::super) fn head(&self) -> &RequestHead {
        &self.head
    }

    pub(in super::super) fn is_body_done(&self) -> bool {
        self.ended && self.piece.is_empty()
    }

    pub(in super::super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, ClientError>> {
        while self.piece.is_empty() {
            if self.ended {
                return Poll::Ready(Ok(false));
            }
            let polled = self.recv.poll_data(cx);
            if !self.continued {
                // Whoever reads the body wants it, whatever the server may say later.
                self.continued = true;
                if polled.is_pending() && self.send.is_none() {
                    self.send_interim(100, &Fields::new());
                }
            }
            match ready!(polled) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(e)) => return Poll::Ready(Err(error_of(&e))),
                None => {
                    let trailers = ready!(self.recv.poll_trailers(cx));
                    let trailers = trailers.map_err(|e| error_of(&e))?;
                    self.trailers = trailers.map(|headers| trailers_of(&headers));
                    self.ended = true;
                }
            }
        }
        Poll::Ready(Ok(true))
    }

    pub(in super::super) fn piece(&self) -> &[u8] {
        &self.piece
    }

    pub(in super::super) fn consume(&mut self, n: usize) {
        let n = n.min(self.piece.len());
        self.piece.advance(n);
        // Fails only if more is released than has come.
        let _ = self.recv.flow_control().release_capacity(n);
    }

    pub(in super::super) fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    pub(in super::super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ClientError> {
        let reset = match &mut self.send {
            // Whoever has sent all of an answer has nothing to watch for.
            Some(_) if self.finished => return Poll::Pending,
            Some(send) => send.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|_| ClientError::Gone)
    }

    pub(in super::super) fn send_interim(&mut self, status: u16, fields: &Fields) {
        let Ok(status) = StatusCode::from_u16(status) else {
            return;
        };
        let mut head = Response::new(());
        *head.status_mut() = status;
        *head.headers_mut() = headers_of(fields);
        // A stream that has been reset is noticed by whoever goes on with it.
        let _ = self.respond.send_informational(head);
    }

    pub(in super::super) fn send_head(&mut self, answer: &AnswerHead) {
        let status = match answer.body {
            AnswerBody::Tunnel => 200,
            _ => answer.status,
        };
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *head.headers_mut() = headers_of(&answer.fields);
        let length = match answer.body {
            // With trailers the end comes behind them.
            AnswerBody::Sized if !answer.fields.has(Name::Trailer) => length_of(&answer.fields),
            _ => None,
        };
        let ends = answer.body == AnswerBody::None || length == Some(0);
        match self.respond.send_response(head, ends) {
            Ok(send) => self.send = Some(send),
            // Whoever goes on is told that the client has gone.
            Err(error) => tracing::debug!(%error, "an answer cannot be sent"),
        }
        self.missing = length;
        self.finished = ends;
    }

    pub(in super::super) fn answer_started(&self) -> bool {
        self.send.is_some()
    }

    pub(in super::super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ClientError>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Some(send) = self.send.as_mut().filter(|_| !self.finished) else {
            return Poll::Ready(Err(ClientError::Gone));
        };
        send.reserve_capacity(data.len().min(SEND_BUFFER));
        while send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(ClientError::Gone)),
            }
        }
        let piece = data.get(..send.capacity()).unwrap_or(data);
        let n = piece.len();
        if let Some(missing) = &mut self.missing {
            *missing = missing.saturating_sub(n as u64);
            self.finished = *missing == 0;
        }
        let sent = send.send_data(Bytes::copy_from_slice(piece), self.finished);
        sent.map_err(|_| ClientError::Gone)?;
        self.sent += n as u64;
        Poll::Ready(Ok(n))
    }

    pub(in super::super) fn finish(&mut self, trailers: Option<&Fields>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let Some(send) = &mut self.send else { return };
        // A stream that has been reset has ended as well.
        let _ = match trailers.filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => send.send_trailers(headers_of(trailers)),
            None => send.send_data(Bytes::new(), true),
        };
    }

    /// What is held is in the buffers of the connection, which has its own time limit.
    pub(in super::super) fn poll_flush(&mut self) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    pub(in super::super) fn bytes_written(&self) -> u64 {
        self.sent
    }

    pub(in super::super) fn start_tunnel(&mut self) {
        self.ended = self.recv.is_end_stream();
    }

    pub(in super::super) fn poll_shutdown(&mut self) -> Poll<Result<(), ClientError>> {
        self.finish(None);
        Poll::Ready(Ok(()))
    }

    pub(in super::super) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Instant,
    ) -> Poll<()> {
        self.timer.poll_until(cx, deadline)
    }

    /// The request is over. Returns whether its answer is complete; if not, the stream is reset. What the client
    /// has not sent yet of its body is refused by `h2`, as RFC 9113 section 8.1 says.
    pub(in super::super::super) fn end(mut self) -> bool {
        if !self.finished {
            let reason = match self.send {
                Some(_) => Reason::INTERNAL_ERROR,
                None => Reason::CANCEL,
            };
            self.respond.send_reset(reason);
        }
        self.finished
    }
}

fn length_of(fields: &Fields) -> Option<u64> {
    let text = std::str::from_utf8(fields.get(Name::ContentLength)?).ok()?;
    text.parse().ok()
}

/// What a client's stream broke on.
fn error_of(error: &h2::Error) -> ClientError {
    // A body of another length than `content-length` says, and the like.
    let malformed = error.is_reset() && error.is_library();
    match malformed && error.reason() == Some(Reason::PROTOCOL_ERROR) {
        true => ClientError::Malformed,
        false => ClientError::Gone,
    }
}

/// Fields as HTTP/2 has them: in lower case, without those that are about a connection. The values share one
/// buffer.
fn headers_of(fields: &Fields) -> HeaderMap {
    let kept = || {
        fields
            .iter()
            .filter(|field| !is_of_connection(field.id, field.name))
    };
    let mut values = Vec::with_capacity(kept().map(|field| field.value.len()).sum());
    for field in kept() {
        values.extend_from_slice(field.value);
    }
    let values = Bytes::from(values);
    let mut headers = HeaderMap::with_capacity(fields.len());
    let mut at = 0;
    for field in kept() {
        let value = values.slice(at..at + field.value.len());
        at += field.value.len();
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(field.name),
            HeaderValue::from_maybe_shared(value),
        ) {
            headers.append(name, value);
        }
    }
    headers
}
