//! One request on an HTTP/1 connection.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use weir_http1::{Fields, Framing, RequestBody, RequestHead};

use super::super::wire::{BodyReader, BodyWriter, ReadError, Timer, Wire, WriteFraming};
use super::{AnswerBody, AnswerHead, ClientError, reason_of};

/// What a client may send ahead of its next request while this one is served.
const READ_AHEAD: usize = 8 * 1024;
/// How much of an unread request body is read so that the connection can be used again, and for how
/// long.
const DRAIN: u64 = 64 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// One request on an HTTP/1 connection.
#[derive(Debug)]
pub(in super::super) struct Session {
    wire: Wire,
    timer: Timer,
    head: RequestHead,
    reader: BodyReader,
    writer: BodyWriter,
    /// The connection may be used again, as far as is known.
    keep: bool,
    started: bool,
    finished: bool,
    /// The client has been told to go on with its body, or never waited.
    continued: bool,
}

/// What is left of a connection after a request.
#[derive(Debug)]
pub(in super::super) enum After {
    /// It can carry another.
    Next(Wire, Timer),
    /// It is to be closed; `unread`: the client may still be sending.
    Close {
        wire: Wire,
        timer: Timer,
        unread: bool,
    },
}

impl From<io::Error> for ClientError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl From<ReadError> for ClientError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::Closed | ReadError::Io(_) => Self::Gone,
            ReadError::Malformed(_) => Self::Malformed,
        }
    }
}

// === impl Session ===

impl Session {
    /// The request with this head, which has been taken off the wire.
    pub(in super::super) fn new(wire: Wire, timer: Timer, head: RequestHead) -> Self {
        let framing = match head.body {
            RequestBody::None => Framing::None,
            RequestBody::Length(n) => Framing::Length(n),
            RequestBody::Stream => Framing::Chunked,
        };
        Self {
            wire,
            timer,
            reader: BodyReader::new(framing),
            writer: BodyWriter::new(WriteFraming::Plain),
            keep: head.keep_alive,
            started: false,
            finished: false,
            continued: !head.expects_continue(),
            head,
        }
    }

    pub(super) fn head(&self) -> &RequestHead {
        &self.head
    }

    pub(super) fn is_body_done(&self) -> bool {
        self.reader.is_done()
    }

    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ClientError>> {
        if !self.continued {
            // Whoever reads the body wants it, whatever the server may say later.
            self.continued = true;
            if self.wire.input.is_empty() && !self.started {
                self.wire
                    .out()
                    .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                if let Poll::Ready(Err(e)) = self.wire.poll_flush(cx) {
                    return Poll::Ready(Err(e.into()));
                }
            }
        }
        Poll::Ready(Ok(ready!(self.reader.poll(&mut self.wire, cx))?))
    }

    pub(super) fn piece(&self) -> &[u8] {
        self.reader.piece(&self.wire)
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.reader.consume(&mut self.wire, n);
    }

    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        self.reader.take_trailers()
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ClientError> {
        while self.wire.input.len() < READ_AHEAD {
            match ready!(self.wire.poll_first(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(ClientError::Gone),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    pub(super) fn send_interim(&mut self, status: u16, fields: &Fields) {
        let out = self.wire.out();
        status_line(out, status, None);
        fields.write(out);
        out.extend_from_slice(b"\r\n");
    }

    pub(super) fn send_head(&mut self, head: &AnswerHead) {
        self.started = true;
        let chunked = head.body == AnswerBody::Stream && self.head.is_modern();
        if head.body == AnswerBody::Tunnel || (head.body == AnswerBody::Stream && !chunked) {
            self.keep = false;
        }
        let keep = self.keep;
        let upgrade = head.body == AnswerBody::Tunnel || head.status == 426;
        let keep_alive_wanted = keep && !self.head.is_modern();
        let out = self.wire.out();
        status_line(out, head.status, head.reason.as_deref());
        head.fields.write(out);
        if chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        let connection: &[u8] = match (upgrade, keep) {
            (true, true) => b"Connection: upgrade\r\n",
            (true, false) if head.body == AnswerBody::Tunnel => b"Connection: upgrade\r\n",
            (true, false) => b"Connection: upgrade, close\r\n",
            (false, false) => b"Connection: close\r\n",
            (false, true) if keep_alive_wanted => b"Connection: keep-alive\r\n",
            (false, true) => b"",
        };
        out.extend_from_slice(connection);
        out.extend_from_slice(b"\r\n");
        self.writer = BodyWriter::new(match chunked {
            true => WriteFraming::Chunked,
            false => WriteFraming::Plain,
        });
    }

    pub(super) fn answer_started(&self) -> bool {
        self.started
    }

    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ClientError>> {
        Poll::Ready(Ok(ready!(self.writer.poll_send(&mut self.wire, cx, data))?))
    }

    pub(super) fn finish(&mut self, trailers: Option<&Fields>) {
        self.writer.finish(&mut self.wire, trailers);
        self.finished = true;
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(ready!(self.wire.poll_flush(cx))?))
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.wire.bytes_written()
    }

    pub(super) fn start_tunnel(&mut self) {
        self.reader = BodyReader::new(Framing::UntilClose);
        self.writer = BodyWriter::new(WriteFraming::Plain);
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(ready!(self.wire.poll_shutdown(cx))?))
    }

    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.timer.poll_until(cx, deadline)
    }

    pub(super) fn close_after(&mut self) {
        self.keep = false;
    }

    /// Whether the rest of the request body is small enough to read it for the sake of the connection.
    fn is_worth_draining(&self) -> bool {
        match self.head.body {
            RequestBody::None => true,
            RequestBody::Length(n) => n <= DRAIN && self.continued,
            RequestBody::Stream => false,
        }
    }

    /// The connection may be used again after an answer that did not wait for the request body, if
    /// that is small; else it closes after the answer.
    pub(in super::super) fn keep_if_small(&mut self) {
        if !self.is_body_done() && !self.is_worth_draining() {
            self.keep = false;
        }
    }

    /// What becomes of the connection. `usable`: both messages went as they should.
    pub(in super::super) async fn end(mut self: Box<Self>, usable: bool) -> After {
        if usable && self.keep && self.finished && self.wire.is_flushed() && self.drain().await {
            let Self {
                mut wire, timer, ..
            } = *self;
            wire.rest();
            return After::Next(wire, timer);
        }
        let unread = !self.is_body_done() || !self.wire.is_quiet();
        let Self { wire, timer, .. } = *self;
        After::Close {
            wire,
            timer,
            unread,
        }
    }

    /// Reads what is left of the request body and throws it away. Returns whether its end was reached.
    async fn drain(&mut self) -> bool {
        if self.is_body_done() {
            return true;
        }
        if !self.is_worth_draining() {
            return false;
        }
        self.continued = true;
        let deadline = Instant::now() + DRAIN_LIMIT;
        poll_fn(|cx| {
            loop {
                match self.reader.poll(&mut self.wire, cx) {
                    Poll::Ready(Ok(true)) => {
                        let n = self.piece().len();
                        self.consume(n);
                    }
                    Poll::Ready(Ok(false)) => return Poll::Ready(true),
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => {
                        return self.timer.poll_until(cx, deadline).map(|()| false);
                    }
                }
            }
        })
        .await
    }
}

/// `HTTP/1.1 status reason`.
fn status_line(out: &mut Vec<u8>, status: u16, reason: Option<&[u8]>) {
    out.reserve(512);
    out.extend_from_slice(b"HTTP/1.1 ");
    let digits = [status / 100 % 10, status / 10 % 10, status % 10];
    out.extend(digits.map(|d| b'0' + d as u8));
    out.push(b' ');
    out.extend_from_slice(reason.unwrap_or_else(|| reason_of(status)));
    out.extend_from_slice(b"\r\n");
}
