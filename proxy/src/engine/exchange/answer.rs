//! The answer on its way to the client.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use http::Method;
use weir_http1::{Asked, Framing, Name, ResponseHead, Version};

use super::super::clock;
use super::super::downstream::{AnswerBody, AnswerHead, reason_of};
use super::super::forward::plain_trailers;
use super::super::grpc;
use super::super::turn::Turn;
use super::super::upstream::AnswerError;
use super::{Exchange, Failure};
use crate::compress::{Gzip, accepts_gzip, is_compressible};

/// Most informational answers to one request.
const MAX_INTERIMS: u32 = 64;
/// How much is compressed at once. Compressing takes about sixteen times as long as copying.
const COMPRESS: usize = 8 * 1024;
const COMPRESS_COST: usize = 16;

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its final head has not come.
    Head,
    Body,
    /// The body has come to its end, and what was made of it waits to be taken.
    Ending,
    /// Its last bytes wait to be written.
    Flushing,
    Done,
    /// The server has switched protocols.
    Tunnel,
}

/// Compresses the body of an answer.
#[derive(Debug)]
pub(super) struct Encoder {
    /// None after the end.
    gzip: Option<Gzip>,
    /// Compressed and not yet sent.
    ready: Vec<u8>,
    sent: usize,
    /// Something was compressed that the client cannot read yet.
    held: bool,
}

impl Exchange<'_> {
    /// Moves bytes of the answer to the client. Returns whether any were.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
    ) -> Result<bool, Failure> {
        let mut moved = false;
        while self.answer == Answer::Head {
            let asked = Asked {
                method: &self.client.head().method,
                upgrade: self.plan.forward.upgrade,
            };
            let polled = self.server.poll_head(cx, asked);
            if self.progress.first_byte.is_none() && (polled.is_ready() || self.server.has_input())
            {
                self.progress.first_byte = Some(self.now().duration_since(self.started));
            }
            let Poll::Ready(head) = polled else {
                return self.flush(cx, moved);
            };
            let head = match head {
                Ok(head) => head,
                Err(e) => {
                    if !matches!(e, AnswerError::Bad(_) | AnswerError::TooLarge)
                        && !self.server.has_input()
                        && self.interims == 0
                    {
                        self.progress.first_byte = None;
                    }
                    return Err(e.into());
                }
            };
            moved = true;
            if head.is_informational() && head.status != 101 {
                self.interim(head)?;
            } else {
                self.begin(head);
            }
        }
        if self.answer == Answer::Body {
            moved |= self.poll_answer_body(cx, turn)?;
        }
        if self.answer == Answer::Ending {
            moved |= self.poll_encoded(cx)?;
            if self.is_encoded_sent() {
                self.client.finish(self.trailers.take().as_ref());
                self.answer = Answer::Flushing;
                moved = true;
            }
        }
        if self.answer == Answer::Flushing {
            if self.client.poll_flush(cx)?.is_ready() {
                self.client_stall.clear();
                self.answer = Answer::Done;
                moved = true;
            } else {
                self.note_client_stall();
            }
        }
        Ok(moved)
    }

    fn flush(&mut self, cx: &mut Context<'_>, moved: bool) -> Result<bool, Failure> {
        match self.client.poll_flush(cx)? {
            Poll::Ready(()) => self.client_stall.clear(),
            Poll::Pending => self.note_client_stall(),
        }
        Ok(moved)
    }

    /// Passes an informational head on.
    fn interim(&mut self, mut head: ResponseHead) -> Result<(), Failure> {
        self.interims += 1;
        if self.interims > MAX_INTERIMS {
            return Err(Failure::BadAnswer("too many informational answers".into()));
        }
        // A 100 has been sent already if the client waited for one.
        if head.status != 100 && self.client.head().is_modern() {
            head.strip_hop_by_hop();
            head.fields.remove(Name::ContentLength);
            self.client.send_interim(head.status, &head.fields);
        }
        Ok(())
    }

    /// Passes the final head on.
    fn begin(&mut self, mut head: ResponseHead) {
        self.progress.status = Some(head.status);
        self.close_upstream = head.close;
        head.strip_hop_by_hop();
        let framing = head.framing;
        let standard = reason_of(head.status);
        if self.plan.grpc {
            // Of an answer that consists of nothing but trailers.
            self.progress.grpc_status = grpc::status_in(&head.fields);
        }
        let asked = self.client.head();
        let ends_unsaid = framing == Framing::None
            && asked.version != Version::Http2
            && asked.method != Method::HEAD
            && !matches!(head.status, 100..200 | 204 | 304)
            && !head.fields.has(Name::ContentLength);
        if ends_unsaid {
            head.fields.push(b"Content-Length", b"0");
        }
        let mut answer = AnswerHead {
            status: head.status,
            reason: Some(head.reason())
                .filter(|reason| *reason != standard && self.server.has_reasons())
                .map(<[u8]>::to_vec),
            fields: head.fields,
            body: match framing {
                _ if head.status == 101 => AnswerBody::Tunnel,
                // Only HTTP/2 has answers that end with their head without saying so in it.
                Framing::None if ends_unsaid => AnswerBody::Sized,
                Framing::None => AnswerBody::None,
                Framing::Length(_) => AnswerBody::Sized,
                Framing::Chunked | Framing::UntilClose => AnswerBody::Stream,
            },
        };
        if answer.status == 204 {
            answer.fields.remove(Name::ContentLength);
        }
        self.compress(&mut answer, framing);
        self.decorate(&mut answer);
        if self.plan.draining.load(Ordering::Relaxed) {
            self.client.close_after();
        }
        self.client.send_head(&answer);
        if answer.body == AnswerBody::Tunnel {
            self.answer = Answer::Tunnel;
            return;
        }
        self.server.begin_body(framing);
        self.answer = Answer::Body;
    }

    /// Decides on compression and changes the head accordingly.
    fn compress(&mut self, answer: &mut AnswerHead, framing: Framing) {
        let settings = self.plan.compression;
        let length = match framing {
            Framing::Length(n) => Some(n),
            Framing::Chunked | Framing::UntilClose => None,
            Framing::None => return,
        };
        let request = self.client.head();
        if !settings.enabled
            || !is_compressible(
                settings,
                &request.method,
                answer.status,
                &answer.fields,
                length,
            )
        {
            return;
        }
        // Caches must know that the answer depends on what the client accepts, compressed or not.
        answer.fields.push(b"Vary", b"Accept-Encoding");
        if !request.is_modern() || !accepts_gzip(&request.fields) {
            return;
        }
        answer.fields.remove(Name::ContentLength);
        answer.fields.remove(Name::AcceptRanges);
        answer.fields.push(b"Content-Encoding", b"gzip");
        // A compressed body is not byte for byte the one that a strong tag names (nginx does the same).
        if let Some(tag) = answer.fields.get(Name::Etag)
            && !tag.starts_with(b"W/")
        {
            let weak = [b"W/", tag].concat();
            answer.fields.set(b"ETag", &weak);
        }
        answer.body = AnswerBody::Stream;
        self.encoder = Some(Encoder {
            gzip: Some(Gzip::new(settings.level)),
            ready: Vec::new(),
            sent: 0,
            held: false,
        });
    }

    /// Adds what the configuration and this proxy have to say.
    fn decorate(&self, answer: &mut AnswerHead) {
        let fields = &mut answer.fields;
        if !fields.has(Name::Date) {
            let since = self.progress.connected + self.progress.first_byte.unwrap_or_default();
            clock::with_date(self.plan.began + since, |date| fields.push(b"Date", date));
        }
        fields.remove(Name::XRequestId);
        fields.push(b"X-Request-Id", self.plan.forward.id.as_bytes());
        if self.plan.server_timing
            && let Some(stages) = self.progress.stages()
        {
            // Added to what the server itself may have said.
            fields.push(
                b"Server-Timing",
                stages.server_timing().to_string().as_bytes(),
            );
        }
        self.plan.response_headers.apply(fields);
    }

    fn poll_answer_body(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            moved |= self.poll_encoded(cx)?;
            if !self.is_encoded_sent() {
                return Ok(moved);
            }
            if turn.is_over() {
                return Ok(moved);
            }
            match self.server.poll_body(cx) {
                Poll::Ready(Ok(true)) => self.server_silent = None,
                Poll::Ready(Ok(false)) => {
                    self.trailers = self.server.take_trailers().map(plain_trailers);
                    if let Some(trailers) = self.trailers.as_ref().filter(|_| self.plan.grpc) {
                        let status = grpc::status_in(trailers);
                        self.progress.grpc_status = status.or(self.progress.grpc_status);
                    }
                    if let Some(encoder) = &mut self.encoder {
                        encoder.finish();
                    }
                    self.answer = Answer::Ending;
                    return Ok(true);
                }
                Poll::Ready(Err(e)) => {
                    // The client gets what there is.
                    let _ = self.client.poll_flush(cx);
                    return Err(e.into());
                }
                Poll::Pending => {
                    if self.server_silent.is_none() {
                        self.server_silent = Some(self.now());
                    }
                    if let Some(encoder) = &mut self.encoder
                        && encoder.flush()
                    {
                        continue;
                    }
                    return self.flush(cx, moved);
                }
            }
            if let Some(encoder) = &mut self.encoder {
                let n = encoder.push(self.server.piece());
                self.server.consume(n);
                turn.spend(n * COMPRESS_COST);
                moved = true;
                continue;
            }
            match self.client.poll_send(cx, self.server.piece())? {
                Poll::Ready(n) => {
                    self.client_stall.clear();
                    self.server.consume(n);
                    self.progress.body_bytes += n as u64;
                    turn.spend(n);
                    moved = true;
                }
                Poll::Pending => {
                    self.note_client_stall();
                    return Ok(moved);
                }
            }
        }
    }
}

impl Exchange<'_> {
    fn is_encoded_sent(&self) -> bool {
        self.encoder
            .as_ref()
            .is_none_or(|encoder| encoder.rest().is_empty())
    }

    /// Moves compressed bytes to the client. Returns whether any were.
    fn poll_encoded(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while let Some(encoder) = &mut self.encoder {
            if encoder.rest().is_empty() {
                break;
            }
            match self.client.poll_send(cx, encoder.rest())? {
                Poll::Ready(n) => {
                    encoder.sent += n;
                    self.client_stall.clear();
                    self.progress.body_bytes += n as u64;
                    moved = true;
                }
                Poll::Pending => {
                    self.note_client_stall();
                    break;
                }
            }
        }
        Ok(moved)
    }
}

// === impl Encoder ===

impl Encoder {
    fn rest(&self) -> &[u8] {
        self.ready.get(self.sent..).unwrap_or_default()
    }

    fn put(&mut self, ready: Vec<u8>) {
        self.ready = ready;
        self.sent = 0;
    }

    /// Compresses from the start of `piece`. Returns how much of it was.
    fn push(&mut self, piece: &[u8]) -> usize {
        let part = piece.get(..COMPRESS).unwrap_or(piece);
        if let Some(gzip) = &mut self.gzip {
            let ready = gzip.push(part);
            self.put(ready);
            self.held = true;
        }
        part.len()
    }

    /// Brings out what is held. Returns whether there was anything.
    fn flush(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        if let Some(gzip) = self.gzip.as_mut().filter(|_| held) {
            let ready = gzip.flush();
            self.put(ready);
        }
        held
    }

    fn finish(&mut self) {
        if let Some(gzip) = self.gzip.take() {
            let ready = gzip.finish();
            self.put(ready);
        }
    }
}
