//! A client connection: admitted, waited on, read up to a complete request head, served, kept.
//!
//! While it is idle it owns no buffer: bytes are read into the stack first, and the session that
//! answers a request exists only while there is one.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

use super::coalesce::Coalesce;
use super::request::{Arrival, Shared, serve};
use super::respond::raw;
use weir_http1::{HeadSummary, check_head, head_end};

/// Size of one read while a head is awaited.
const READ_SIZE: usize = 8 * 1024;
/// How long a client gets to take an answer to a head that was refused.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);

/// Serves the requests of a connection that has been admitted, until it closes.
pub(super) async fn serve_client(shared: &Shared, stream: Stream, peer: SocketAddr) {
    let mut stream = Box::new(Coalesce::new(stream));
    let mut timer = Timer::new();
    let mut input = BytesMut::new();
    let mut fresh = true;
    loop {
        let arrival =
            match await_head(shared, &mut stream, &mut input, &mut timer, peer, fresh).await {
                Head::Complete(arrival) => arrival,
                Head::Refused(status) => {
                    shared.log_refused(peer, status, &input);
                    refuse(&mut stream, status).await;
                    return;
                }
                Head::Closed => return,
            };
        // Boxed, so that an idle connection does not carry the room of a busy one.
        let served = Box::pin(serve(shared, stream, std::mem::take(&mut input), arrival)).await;
        let Some((back, rest)) = served else { return };
        let Ok(back) = back.into_any().downcast() else {
            return;
        };
        stream = back;
        input = rest;
        fresh = false;
    }
}

/// What came instead of, or as, a request head.
enum Head {
    Complete(Arrival),
    Refused(u16),
    /// Closed by the client, idle for too long, or to be closed for the sake of others.
    Closed,
}

async fn await_head(
    shared: &Shared,
    stream: &mut Coalesce,
    input: &mut BytesMut,
    timer: &mut Timer,
    peer: SocketAddr,
    fresh: bool,
) -> Head {
    if input.is_empty() {
        let limit = {
            let snapshot = shared.snapshot.load();
            let timeouts = &snapshot.settings.timeouts;
            if fresh {
                timeouts.client_header
            } else {
                timeouts.keepalive
            }
        };
        if !first_bytes(shared, stream, input, timer, limit).await {
            return Head::Closed;
        }
    }
    let at = Instant::now();
    let wall = SystemTime::now();
    let mut scanned = 0;
    loop {
        skip_empty_lines(input);
        if let Some(end) = head_end(input, scanned) {
            let max = max_header(shared);
            if end > max {
                return Head::Refused(431);
            }
            return match check_head(input.get(..end).unwrap_or_default()) {
                Ok(HeadSummary { chunked: true, .. })
                    if stream
                        .expect_chunked(input.get(end..).unwrap_or_default())
                        .is_err() =>
                {
                    Head::Refused(400)
                }
                Ok(summary) => Head::Complete(arrival(peer, wall, at, summary)),
                Err(e) => Head::Refused(e.status()),
            };
        }
        scanned = input.len();
        if scanned > max_header(shared) {
            return Head::Refused(431);
        }
        let limit = shared.snapshot.load().settings.timeouts.client_header;
        let more = tokio::select! {
            biased;
            n = poll_fn(|cx| poll_more(stream, input, cx)) => n,
            () = timer.until(at + limit) => return Head::Refused(408),
        };
        match more {
            Ok(0) | Err(_) => return Head::Closed,
            Ok(_) => {}
        }
    }
}

fn arrival(peer: SocketAddr, wall: SystemTime, at: Instant, summary: HeadSummary) -> Arrival {
    Arrival {
        peer,
        wall,
        at,
        summary,
    }
}

fn max_header(shared: &Shared) -> usize {
    let max = shared.snapshot.load().settings.client.max_header.as_u64();
    usize::try_from(max).unwrap_or(usize::MAX)
}

/// Waits for the first bytes of a request; `false` if the connection should close.
async fn first_bytes(
    shared: &Shared,
    stream: &mut Coalesce,
    input: &mut BytesMut,
    timer: &mut Timer,
    limit: Duration,
) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let reclaimed = shared.slots.reclaim().notified();
        tokio::pin!(reclaimed);
        reclaimed.as_mut().enable();
        let _idle = shared.slots.idle();
        let closing = shared.closing.load(Ordering::Acquire);
        tokio::select! {
            biased;
            n = poll_fn(|cx| poll_more(stream, input, cx)) => return matches!(n, Ok(n) if n > 0),
            () = std::future::ready(()), if closing => return false,
            () = &mut reclaimed => {
                // The shortage that this wake-up was for may be over.
                let max = shared.snapshot.load().settings.connections.max;
                if shared.slots.should_close(max) {
                    return false;
                }
            }
            () = timer.until(deadline) => return false,
        }
    }
}

/// Reads once, by way of the stack, so that nothing is allocated before there is something to hold.
fn poll_more(
    stream: &mut Coalesce,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = [const { MaybeUninit::<u8>::uninit() }; READ_SIZE];
    let mut buf = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    input.extend_from_slice(buf.filled());
    Poll::Ready(Ok(buf.filled().len()))
}

/// Empty lines before a request line are ignored (RFC 9112 section 2.2).
fn skip_empty_lines(input: &mut BytesMut) {
    while input.starts_with(b"\r\n") {
        let _ = input.split_to(2);
    }
}

/// Tells the client why, and closes.
async fn refuse(stream: &mut Coalesce, status: u16) {
    let answer = async {
        stream.write_all(&raw(status)).await?;
        stream.flush().await?;
        AsyncWriteExt::shutdown(stream).await
    };
    // A client that does not take the refusal does not get it.
    let _ = tokio::time::timeout(REFUSAL_LIMIT, answer).await;
}

/// One timer for the whole life of a connection: moved only when it would fire too late or too
/// early, so that a busy connection hardly ever touches the timer wheel.
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn new() -> Self {
        Self { sleep: None }
    }

    /// Resolves at `deadline`.
    async fn until(&mut self, deadline: Instant) {
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            sleep.as_mut().await;
            if sleep.deadline() >= deadline {
                return;
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
