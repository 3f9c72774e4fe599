//! The request on its way to the server.

use std::task::{Context, Poll};

use super::super::forward::plain_trailers;
use super::super::turn::Turn;
use super::{Exchange, Failure};

/// How far the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upload {
    /// There is more of the body.
    Sending,
    /// The last of it waits to be written.
    Flushing,
    /// The server has everything.
    Done,
    /// The server takes no more, or the client sends no more. An answer may still come.
    Stopped,
}

impl Exchange<'_> {
    /// Moves request bytes to the server. Returns whether any were.
    pub(super) fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
    ) -> Result<bool, Failure> {
        let mut moved = false;
        while self.upload == Upload::Sending && self.replayed < self.replay.len() {
            match self.server.poll_send(cx, self.replay.from(self.replayed)) {
                Poll::Ready(Ok(n)) => {
                    self.replayed += n;
                    self.server_stall.clear();
                    moved = true;
                }
                Poll::Ready(Err(_)) => {
                    self.stop_upload();
                    return Ok(true);
                }
                Poll::Pending => {
                    let now = self.now();
                    self.server_stall.note(self.server.bytes_written(), now);
                    return Ok(moved);
                }
            }
        }
        while self.upload == Upload::Sending {
            match self.client.poll_body(cx) {
                Poll::Pending => {
                    if self.client_silent.is_none() {
                        self.client_silent = Some(self.now());
                    }
                    break;
                }
                Poll::Ready(more) => {
                    self.client_silent = None;
                    if !more? {
                        let trailers = self.client.take_trailers();
                        let trailers = trailers.map(plain_trailers);
                        self.server.finish(self.replay.trailers(trailers));
                        self.upload = Upload::Flushing;
                        break;
                    }
                }
            }
            let piece = self.client.piece();
            if self.taken + piece.len() as u64 > self.plan.max_body {
                return Err(Failure::BodyTooLarge);
            }
            match self.server.poll_send(cx, piece) {
                Poll::Ready(Ok(n)) => {
                    let took = piece.get(..n).unwrap_or(piece);
                    self.replay.push(took, self.server.may_refuse());
                    self.replayed = self.replay.len();
                    self.client.consume(n);
                    self.taken += n as u64;
                    self.progress.body_taken = !self.replay.is_whole();
                    self.server_stall.clear();
                    moved = true;
                    turn.spend(n);
                    if turn.is_over() {
                        return Ok(true);
                    }
                }
                Poll::Ready(Err(_)) => {
                    // What the server said before it closed may still be read.
                    self.stop_upload();
                    return Ok(true);
                }
                Poll::Pending => {
                    self.note_server_stall();
                    return Ok(moved);
                }
            }
        }
        if matches!(self.upload, Upload::Sending | Upload::Flushing) {
            match self.server.poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.server_stall.clear();
                    if self.upload == Upload::Flushing {
                        self.upload = Upload::Done;
                        self.progress.sent = true;
                        self.sent_at = Some(self.now());
                        moved = true;
                    }
                }
                Poll::Ready(Err(_)) => {
                    self.stop_upload();
                    moved = true;
                }
                Poll::Pending => self.note_server_stall(),
            }
        }
        Ok(moved)
    }

    /// Nothing more of the request goes to the server.
    pub(super) fn stop_upload(&mut self) {
        self.upload = Upload::Stopped;
        self.sent_at = Some(self.now());
        self.client_silent = None;
        self.server_stall.clear();
    }

    pub(super) fn note_server_stall(&mut self) {
        let now = self.now();
        self.server_stall.note(self.server.bytes_written(), now);
    }

    pub(super) fn note_client_stall(&mut self) {
        let now = self.now();
        self.client_stall.note(self.client.bytes_written(), now);
    }
}
