//! One request sent to one server, and its answer brought back.

mod head;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderValue, header};
use weir_api::settings::{Compression, Timeouts};

use self::head::plain_head;
use super::client::{Client, ClientError};
use super::forward::{HeaderOps, RequestBody};
use super::upstream::UpstreamConn;
use crate::observe::Stages;
use weir_http1::{BadBody, BodyDecoder, ChunkWriter, ResponseHead, parse_response};

/// Largest head of an answer.
const MAX_ANSWER_HEAD: usize = 256 * 1024;
/// Stands for "no limit" while the client still sends its body.
const UPLOADING: Duration = Duration::from_secs(24 * 3600);

/// What the exchange needs to know of the request.
pub(super) struct Plan<'a> {
    /// The request head, ready to send.
    pub(super) head: &'a [u8],
    pub(super) body: RequestBody,
    pub(super) max_body: u64,
    pub(super) timeouts: &'a Timeouts,
    pub(super) compression: &'a Compression,
    pub(super) response_headers: &'a HeaderOps,
    pub(super) id: &'a str,
    /// The client is told how long each stage took.
    pub(super) server_timing: bool,
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
    /// The client sent more than `client.max_body`.
    #[error("request body too large")]
    BodyTooLarge,
    #[error("{0}")]
    Client(#[from] ClientError),
}

impl Failure {
    /// The server's fault, which counts towards `max_fails`.
    pub(super) fn is_upstream(&self) -> bool {
        !matches!(self, Self::Client(_) | Self::BodyTooLarge)
    }

    /// The connection broke without a byte of an answer: another try may succeed.
    pub(super) fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Closed | Self::Io(_))
    }
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

impl From<BadBody> for Failure {
    fn from(e: BadBody) -> Self {
        Self::BadAnswer(format!("bad response body: {e}"))
    }
}

/// The parties of an exchange.
struct Exchange<'a> {
    client: &'a mut Client,
    server: &'a mut UpstreamConn,
    plan: &'a Plan<'a>,
    progress: &'a mut Progress,
    /// The whole request body has gone to the server.
    sent: bool,
    taken: u64,
    out: Vec<u8>,
}

/// Sends the request to the server and its answer to the client.
///
/// # Errors
/// [`Failure`]. Whether an answer had begun is known to the [`Client`].
pub(super) async fn exchange(
    client: &mut Client,
    server: &mut UpstreamConn,
    plan: &Plan<'_>,
    progress: &mut Progress,
) -> Result<Done, Failure> {
    let sent_at = Instant::now();
    server.write(plan.head, plan.timeouts.send).await?;
    let mut x = Exchange {
        client,
        server,
        plan,
        progress,
        sent: plan.body == RequestBody::None,
        taken: 0,
        out: Vec::new(),
    };
    if !x.sent && x.client.expects_continue() {
        x.client.send_continue().await?;
    }
    let head = x.answer_head(sent_at).await?;
    if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
        return x.tunnel(head).await;
    }
    x.answer(head).await
}

impl Exchange<'_> {
    /// Waits for input from the server, meanwhile sending the request body, or watching whether
    /// the client is still there. 0: the server closed the connection.
    async fn wait(&mut self) -> Result<usize, Failure> {
        loop {
            if self.sent {
                return tokio::select! {
                    biased;
                    n = self.server.fill(self.plan.timeouts.read) => Ok(n?),
                    e = self.client.gone() => Err(e.into()),
                };
            }
            let piece = tokio::select! {
                biased;
                n = self.server.fill(UPLOADING) => return Ok(n?),
                piece = self.client.read_body() => piece?,
            };
            self.send_body(piece.as_deref()).await?;
        }
    }

    async fn send_body(&mut self, piece: Option<&[u8]>) -> Result<(), Failure> {
        let limit = self.plan.timeouts.send;
        let Some(data) = piece else {
            self.sent = true;
            if self.plan.body == RequestBody::Chunked {
                self.out.clear();
                ChunkWriter::end(&mut self.out);
                self.server.write(&self.out, limit).await?;
            }
            return Ok(());
        };
        self.progress.body_taken = true;
        self.taken += data.len() as u64;
        if self.taken > self.plan.max_body {
            return Err(Failure::BodyTooLarge);
        }
        if self.plan.body == RequestBody::Chunked {
            self.out.clear();
            ChunkWriter::chunk(&mut self.out, data);
            self.server.write(&self.out, limit).await?;
        } else {
            self.server.write(data, limit).await?;
        }
        Ok(())
    }

    /// Reads up to the final head; informational ones are passed on.
    async fn answer_head(&mut self, sent_at: Instant) -> Result<ResponseHead, Failure> {
        loop {
            let upgrade = self.client.wants_upgrade();
            let parsed = if self.server.input().is_empty() {
                None
            } else {
                parse_response(self.server.input(), &self.client.request().method, upgrade)
                    .map_err(|e| Failure::BadAnswer(e.to_string()))?
            };
            match parsed {
                Some(head) => {
                    self.server.consume(head.len);
                    let code = head.status.as_u16();
                    if !head.status.is_informational() || code == 101 {
                        return Ok(head);
                    }
                    // A 100 has been sent already if the client waited for one.
                    if code != 100 && self.client.is_modern() {
                        self.client.write_head(plain_head(&head)?).await?;
                    }
                }
                None => {
                    if self.server.input().len() > MAX_ANSWER_HEAD {
                        return Err(Failure::BadAnswer("response head too large".into()));
                    }
                    if self.wait().await? == 0 {
                        return Err(Failure::Closed);
                    }
                    self.progress
                        .first_byte
                        .get_or_insert_with(|| sent_at.elapsed());
                }
            }
        }
    }

    /// Passes on the final head and the body.
    async fn answer(&mut self, head: ResponseHead) -> Result<Done, Failure> {
        let framing = head.framing;
        let close_upstream = head.close;
        let mut answer = plain_head(&head)?;
        self.progress.status = Some(head.status.as_u16());
        let mut gzip = self.compress(&mut answer, framing);
        self.frame(&mut answer, framing, gzip.is_some())?;
        self.decorate(&mut answer)?;
        if self.plan.draining.load(Ordering::Relaxed) {
            self.client.close_after();
        }
        self.client.write_head(answer).await?;

        let mut body = BodyDecoder::new(framing);
        while !body.is_done() {
            let step = body.step(self.server.input())?;
            if step.data > 0 {
                let from = step.consumed - step.data;
                let data = self
                    .server
                    .input()
                    .get(from..step.consumed)
                    .unwrap_or_default();
                self.progress.body_bytes += match gzip.as_mut() {
                    None => {
                        self.client.write_body(data).await?;
                        data.len() as u64
                    }
                    Some(gzip) => write_if_any(self.client, &gzip.push(data)).await?,
                };
            }
            self.server.consume(step.consumed);
            if step.done || step.data > 0 {
                continue;
            }
            if self.wait().await? == 0 {
                if body.ends_at_close() {
                    break;
                }
                return Err(Failure::Closed);
            }
        }
        if let Some(gzip) = gzip {
            self.progress.body_bytes += write_if_any(self.client, &gzip.finish()).await?;
        }
        self.client.end_body().await?;
        // Bytes beyond the answer belong to nobody: such a connection is not to be trusted.
        let clean = body.is_done() && self.server.input().is_empty();
        Ok(Done {
            keep_upstream: clean && !close_upstream && self.sent,
        })
    }

    /// After `101 Switching Protocols`: bytes in both directions until either side ends.
    async fn tunnel(&mut self, head: ResponseHead) -> Result<Done, Failure> {
        self.progress.status = Some(101);
        let mut answer = plain_head(&head)?;
        let _ = answer.insert_header(header::CONNECTION, HeaderValue::from_static("upgrade"));
        self.decorate(&mut answer)?;
        self.client.write_head(answer).await?;
        loop {
            if !self.server.input().is_empty() {
                let n = self.server.input().len();
                self.client.write_body(self.server.input()).await?;
                self.progress.body_bytes += n as u64;
                self.server.consume(n);
            }
            tokio::select! {
                biased;
                n = self.server.fill(self.plan.timeouts.read) => match n {
                    Ok(0) => break,
                    Ok(_) => {}
                    // A silent tunnel is closed; that says nothing about the server.
                    Err(e) if e.kind() == io::ErrorKind::TimedOut => break,
                    Err(e) => return Err(e.into()),
                },
                piece = self.client.read_body() => match piece {
                    Ok(Some(data)) => self.server.write(&data, self.plan.timeouts.send).await?,
                    // Closing is how a tunnel ends.
                    Ok(None) | Err(ClientError::Gone) => break,
                    Err(e) => return Err(e.into()),
                },
            }
        }
        let _ = self.client.end_body().await;
        Ok(Done {
            keep_upstream: false,
        })
    }
}

async fn write_if_any(client: &mut Client, data: &[u8]) -> Result<u64, ClientError> {
    if !data.is_empty() {
        client.write_body(data).await?;
    }
    Ok(data.len() as u64)
}
