//! One shared connection: the start, and the task that moves its frames.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};
use weir_http1::Version;

use super::super::super::slots::Slot;
use super::super::super::wire::Socket;
use super::super::{ConnectError, Connected};
use super::shared::{Permit, USUAL_STREAMS};
use crate::limit::monotonic_ms;

/// What a server may send of one answer ahead of its client.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Without a limit of its own (RFC 9113 section 6.9.1): clients that read slowly must not keep the
/// answers of others on the same connection waiting.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// What of one request waits here to be written.
const SEND_BUFFER: usize = 64 * 1024;
/// Largest head of an answer, as in HTTP/1.
const MAX_HEAD: u32 = 256 * 1024;

/// A connection on which nothing has come for so long is asked with a PING whether it is still there.
const SILENT: Duration = Duration::from_secs(30);
/// The next PING of the same silence. Servers of gRPC close connections on which there are more.
const STILL_SILENT: Duration = Duration::from_secs(310);
/// The longest that the answer to a PING may take.
const PONG: Duration = Duration::from_secs(20);

type Connection = client::Connection<Watched, Bytes>;

/// Starts HTTP/2 on the connection that `permit` allows, within `limit`, tells those who wait for it, and
/// moves its frames until it ends.
pub(in super::super::super) async fn open(permit: Permit, connected: Connected, limit: Duration) {
    let started = timeout(limit, start(connected)).await;
    match started.unwrap_or(Err(ConnectError::Timeout)) {
        Ok(started) => run(permit, started).await,
        Err(e) => permit.finish(Err(e)),
    }
}

struct Started {
    connection: Connection,
    sender: SendRequest<Bytes>,
    pings: PingPong,
    read_at: Arc<AtomicU64>,
    slot: Slot,
}

/// Exchanges settings. The connection counts as open once the server has answered a PING: by then it has
/// said how many streams it allows, and shown that it speaks HTTP/2.
async fn start(connected: Connected) -> Result<Started, ConnectError> {
    if connected.agreed.is_some_and(|it| it != Version::Http2) {
        return Err(ConnectError::Failed(
            "the server does not agree to HTTP/2 (ALPN)".to_owned(),
        ));
    }
    let read_at = Arc::new(AtomicU64::new(monotonic_ms()));
    let io = Watched {
        io: connected.socket,
        read_at: Arc::clone(&read_at),
    };
    let not_http2 = |e: h2::Error| ConnectError::Failed(format!("no HTTP/2 connection: {e}"));
    let (sender, mut connection) = client::Builder::new()
        .enable_push(false)
        .initial_max_send_streams(USUAL_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEAD)
        .handshake(io)
        .await
        .map_err(not_http2)?;
    let Some(mut pings) = connection.ping_pong() else {
        return Err(ConnectError::Failed("no PING".to_owned()));
    };
    pings.send_ping(Ping::opaque()).map_err(not_http2)?;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            let closed = || ConnectError::Failed("no HTTP/2 connection: closed".to_owned());
            return Poll::Ready(Err(ended.map_or_else(not_http2, |()| closed())));
        }
        pings.poll_pong(cx).map_ok(drop).map_err(not_http2)
    })
    .await?;
    Ok(Started {
        connection,
        sender,
        pings,
        read_at,
        slot: connected.slot,
    })
}

/// Moves the connection's frames until it ends: closed by the server, silent, or taken out of the shared
/// ones and without streams.
async fn run(permit: Permit, started: Started) {
    let Started {
        mut connection,
        sender,
        mut pings,
        read_at,
        slot: _slot,
    } = started;
    let address = permit.address;
    // Held weakly, so that the connection ends with the last stream after it was taken out.
    let conn = Arc::downgrade(&permit.conns.add(address, sender));
    let conns = Arc::downgrade(&permit.conns);
    permit.finish(Ok(()));
    let mut liveness = Liveness::new(read_at);
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            if let Err(e) = ended {
                tracing::debug!(server = %address, error = %e, "HTTP/2 connection to a server ended");
            }
            return Poll::Ready(());
        }
        let lost = liveness.poll_lost(cx, &mut pings);
        if lost.is_ready() {
            tracing::warn!(server = %address, "a server does not answer PING any more; its connection is closed");
        }
        lost
    })
    .await;
    if let (Some(conns), Some(conn)) = (conns.upgrade(), conn.upgrade()) {
        conns.remove(&conn);
    }
    // Streams that are still open learn of it from the drop.
}

/// Tells a silent connection from a lost one.
struct Liveness {
    read_at: Arc<AtomicU64>,
    timer: Pin<Box<tokio::time::Sleep>>,
    /// When the last PING was sent, in milliseconds of [`monotonic_ms`]; it has not been answered.
    asked: Option<u64>,
    /// The same, answered.
    answered: u64,
}

// === impl Liveness ===

impl Liveness {
    fn new(read_at: Arc<AtomicU64>) -> Self {
        Self {
            read_at,
            timer: Box::pin(tokio::time::sleep(SILENT)),
            asked: None,
            answered: 0,
        }
    }

    /// Ready once the server has not answered in time.
    fn poll_lost(&mut self, cx: &mut Context<'_>, pings: &mut PingPong) -> Poll<()> {
        if self.asked.is_some() && pings.poll_pong(cx).is_ready() {
            self.answered = monotonic_ms();
            self.asked = None;
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = monotonic_ms();
            let due = match self.asked {
                Some(asked) => asked + millis(PONG),
                None => self.ping_due(),
            };
            let wait = due.saturating_sub(now);
            if wait > 0 {
                let at = Instant::now() + Duration::from_millis(wait);
                self.timer.as_mut().reset(at);
                continue;
            }
            if self.asked.is_some() || pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            self.asked = Some(now);
            let _ = pings.poll_pong(cx);
        }
        Poll::Pending
    }

    fn ping_due(&self) -> u64 {
        let read = self.read_at.load(Ordering::Relaxed);
        // What came last may have been the answer to a PING.
        match read > self.answered + 1_000 {
            true => read + millis(SILENT),
            false => self.answered + millis(STILL_SILENT),
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// A socket that notes when something was read.
struct Watched {
    io: Socket,
    read_at: Arc<AtomicU64>,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if read.is_ready() {
            this.read_at.store(monotonic_ms(), Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
