//! One request sent to one server, and its answer brought back: both directions at once, whatever
//! version of HTTP either side speaks.
//!
//! One task drives everything. Each time it is polled it moves what can be moved: request body to the
//! server, answer to the client. No direction waits for the other, and neither side is read faster
//! than the other one takes.

mod answer;
mod replay;
mod stall;
mod tunnel;
mod upload;

use std::future::poll_fn;
use std::io;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use weir_api::settings::{Compression, Timeouts};
use weir_http1::{Fields, RequestBody};

use self::answer::{Answer, Encoder};
pub(super) use self::replay::Replay;
use self::stall::Stall;
use self::upload::Upload;
use super::downstream::{ClientError, Downstream};
use super::forward::{Forward, HeaderOps};
use super::turn::Turn;
use super::upstream::{AnswerError, UpstreamConn};
use crate::observe::Stages;

/// How long either side may hold an upload up after the answer is complete (nginx:
/// `lingering_timeout`).
const TAIL: Duration = Duration::from_secs(5);

/// What the exchange needs to know of the request.
pub(super) struct Plan<'a> {
    /// What goes to the server beside the client's own fields.
    pub(super) forward: Forward<'a>,
    pub(super) max_body: u64,
    pub(super) timeouts: &'a Timeouts,
    pub(super) compression: &'a Compression,
    pub(super) response_headers: &'a HeaderOps,
    /// The client is told how long each stage took.
    pub(super) server_timing: bool,
    /// When the request began.
    pub(super) began: SystemTime,
    /// A call of gRPC, which is a conversation: either side may be silent while the other speaks.
    pub(super) grpc: bool,
    /// When the client stops waiting for the end of the answer.
    pub(super) deadline: Option<Instant>,
    /// Set while the process is about to end: the connection to the client ends after this answer.
    pub(super) draining: &'a AtomicBool,
}

/// What is learnt on the way, whatever the end.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When the server was chosen, since the request began.
    pub(super) chosen: Duration,
    /// When there was a connection to it.
    pub(super) connected: Duration,
    pub(super) status: Option<u16>,
    pub(super) body_bytes: u64,
    pub(super) first_byte: Option<Duration>,
    /// Some of the request body has been taken from the client, so that it cannot be sent again.
    pub(super) body_taken: bool,
    /// The whole request has gone to the server.
    pub(super) sent: bool,
    /// How the server says a call of gRPC went.
    pub(super) grpc_status: Option<u16>,
    /// A head of 101 has been passed on: from there on the bytes are nobody's HTTP.
    pub(super) tunnel: bool,
}

impl Progress {
    /// When each stage was reached, once there is an answer.
    pub(super) fn stages(&self) -> Option<Stages> {
        Some(Stages {
            chosen: self.chosen,
            connected: self.connected,
            first_byte: self.connected + self.first_byte?,
        })
    }
}

/// A complete answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    /// The connection to the server can be kept.
    pub(super) keep_upstream: bool,
    /// The request was read to its end, or can be.
    pub(super) keep_client: bool,
}

/// Why there is no complete answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server closed or reset the connection.
    #[error("upstream closed the connection")]
    Closed,
    #[error("upstream connection: {0}")]
    Io(io::Error),
    /// The server was silent for `timeouts.read`, or took nothing for `timeouts.send`.
    #[error("upstream timed out")]
    Timeout,
    #[error("{0}")]
    BadAnswer(String),
    /// The server did nothing with the request; `leaving`: because it is about to close the connection.
    #[error("{}", AnswerError::Unprocessed { leaving: *leaving })]
    Unprocessed { leaving: bool },
    /// The server gave up this one request.
    #[error("{0}")]
    Reset(String),
    /// The client's own deadline has passed.
    #[error("deadline of the client exceeded")]
    Deadline,
    /// The client sent more than `client.max_body`.
    #[error("request body too large")]
    BodyTooLarge,
    #[error("{0}")]
    Client(#[from] ClientError),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(e),
        }
    }
}

impl From<AnswerError> for Failure {
    fn from(e: AnswerError) -> Self {
        match e {
            AnswerError::Closed => Self::Closed,
            AnswerError::Io(e) => e.into(),
            AnswerError::Unprocessed { leaving } => Self::Unprocessed { leaving },
            AnswerError::Reset(_) => Self::Reset(e.to_string()),
            AnswerError::Unspeakable => Self::Client(ClientError::Malformed),
            e => Self::BadAnswer(e.to_string()),
        }
    }
}

/// How an exchange leaves the two connections.
enum End {
    Done(Done),
    Tunnel,
}

/// The parties of an exchange.
struct Exchange<'a> {
    client: &'a mut Downstream,
    server: &'a mut UpstreamConn,
    plan: &'a Plan<'a>,
    progress: &'a mut Progress,
    started: Instant,
    /// The time, read once a wake-up at most.
    now: Option<Instant>,
    upload: Upload,
    /// Request body bytes taken so far, those of earlier tries included.
    taken: u64,
    /// What earlier tries took of the request.
    replay: &'a mut Replay,
    /// How much of that this server has got.
    replayed: usize,
    /// When something last moved; kept only for calls of gRPC.
    active: Instant,
    /// When the request had been sent, or nothing more of it will be.
    sent_at: Option<Instant>,
    answer: Answer,
    encoder: Option<Encoder>,
    /// Those of the answer, until its body has been sent.
    trailers: Option<Fields>,
    interims: u32,
    /// The server closes after this answer.
    close_upstream: bool,
    /// The answer was complete before the request was.
    overtaken: bool,
    /// Since when the client has sent nothing of the body that is awaited.
    client_silent: Option<Instant>,
    /// Since when the server has sent nothing of the answer's body.
    server_silent: Option<Instant>,
    client_stall: Stall,
    server_stall: Stall,
}

/// Sends the request to the server and its answer to the client. `started` is the present time.
///
/// # Errors
/// [`Failure`]. Whether an answer had begun is known to the [`Downstream`].
pub(super) async fn exchange(
    client: &mut Downstream,
    server: &mut UpstreamConn,
    plan: &Plan<'_>,
    progress: &mut Progress,
    replay: &mut Replay,
    started: Instant,
) -> Result<Done, Failure> {
    let body = plan.forward.body;
    server.send_head(client.head(), &plan.forward);
    let has_body = !matches!(body, RequestBody::None | RequestBody::Length(0));
    let mut x = Exchange {
        client,
        server,
        plan,
        progress,
        started,
        now: Some(started),
        upload: match has_body {
            true => Upload::Sending,
            false => Upload::Flushing,
        },
        taken: replay.len() as u64,
        replay,
        replayed: 0,
        active: started,
        sent_at: None,
        answer: Answer::Head,
        encoder: None,
        trailers: None,
        interims: 0,
        close_upstream: false,
        overtaken: false,
        client_silent: None,
        server_silent: None,
        client_stall: Stall::default(),
        server_stall: Stall::default(),
    };
    match poll_fn(|cx| x.poll(cx)).await? {
        End::Done(done) => Ok(done),
        End::Tunnel => {
            progress.tunnel = true;
            // Boxed: few requests become one.
            Box::pin(tunnel::run(client, server, plan.timeouts, progress)).await;
            Ok(Done {
                keep_upstream: false,
                keep_client: false,
            })
        }
    }
}

/// What a time limit ran out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expired {
    /// The server has taken nothing of the upload.
    ServerStall,
    /// The server has sent nothing.
    ServerSilence,
    /// The client has taken nothing of the answer.
    ClientStall,
    /// The client has sent nothing of its body.
    ClientSilence,
    /// The client's own deadline.
    Deadline,
}

impl Exchange<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<End, Failure>> {
        let mut turn = Turn::new();
        let done = self.poll_turn(cx, &mut turn);
        self.now = None;
        done
    }

    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<Result<End, Failure>> {
        loop {
            let mut moved = self.poll_upload(cx, turn)?;
            moved |= self.poll_answer(cx, turn)?;
            if let Some(end) = self.end() {
                return Poll::Ready(Ok(end));
            }
            if turn.is_over() {
                Turn::pass(cx);
                return Poll::Pending;
            }
            if moved {
                if self.plan.grpc {
                    self.active = Instant::now();
                }
                continue;
            }
            if self.client.is_body_done()
                && let Poll::Ready(e) = self.client.poll_gone(cx)
            {
                return Poll::Ready(Err(e.into()));
            }
            if !self.poll_limits(cx)? {
                return Poll::Pending;
            }
        }
    }

    /// Whether both messages are through, or as far as they will go.
    fn end(&mut self) -> Option<End> {
        match self.answer {
            Answer::Tunnel => return Some(End::Tunnel),
            Answer::Done => {}
            _ => return None,
        }
        let sent = self.upload == Upload::Done;
        self.overtaken |= !sent;
        // A server that goes on reading gets the rest; one that closes does not.
        if !sent && self.upload != Upload::Stopped && !self.close_upstream {
            return None;
        }
        Some(End::Done(Done {
            // Whoever answers before it has read everything may take the next request for the rest.
            keep_upstream: !self.overtaken && !self.close_upstream && self.server.is_clean(),
            keep_client: sent || self.client.is_body_done(),
        }))
    }

    /// Looks whether a time limit has run out. Returns whether something changed for it.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let Some((deadline, expired)) = self.next_limit() else {
            return Ok(false);
        };
        if self.client.poll_until(cx, deadline).is_pending() {
            return Ok(false);
        }
        let answering = !matches!(self.answer, Answer::Head);
        match expired {
            // The answer goes on without the rest of the upload.
            Expired::ServerStall | Expired::ClientSilence if answering => {
                self.stop_upload();
                Ok(true)
            }
            Expired::ServerStall | Expired::ServerSilence => Err(Failure::Timeout),
            Expired::Deadline => Err(Failure::Deadline),
            Expired::ClientStall | Expired::ClientSilence => {
                Err(Failure::Client(ClientError::Timeout))
            }
        }
    }

    /// The time limit that runs out first.
    fn next_limit(&self) -> Option<(Instant, Expired)> {
        let timeouts = self.plan.timeouts;
        let tail = |limit: Duration| match self.answer {
            Answer::Done => limit.min(TAIL),
            _ => limit,
        };
        let uploading = matches!(self.upload, Upload::Sending | Upload::Flushing);
        let server_silent = match self.answer {
            // Whoever has something to say may say it at any time.
            _ if self.plan.grpc => Some(self.active),
            _ if uploading => None,
            // In all, whatever informational answers come in between.
            Answer::Head => self.sent_at,
            Answer::Body => self.server_silent,
            _ => None,
        };
        let limits = [
            (
                self.server_stall.since().filter(|_| uploading),
                tail(timeouts.send),
                Expired::ServerStall,
            ),
            (server_silent, timeouts.read, Expired::ServerSilence),
            (
                self.client_stall.since(),
                timeouts.send,
                Expired::ClientStall,
            ),
            (
                self.client_silent.filter(|_| uploading && !self.plan.grpc),
                tail(timeouts.client_body),
                Expired::ClientSilence,
            ),
        ];
        let deadline = self.plan.deadline.map(|at| (at, Expired::Deadline));
        limits
            .into_iter()
            .filter_map(|(since, limit, expired)| Some((since? + limit, expired)))
            .chain(deadline)
            .min_by_key(|(deadline, _)| *deadline)
    }
}
