//! A client connection that speaks HTTP/2: one task that moves its frames, accepts its streams and keeps its time
//! limits. Each request is served by a task of its own, on the same thread.
//!
//! How it ends: idle for `timeouts.keepalive`, or to be closed for the sake of others, it says GOAWAY and closes;
//! whatever the client was about to ask can safely be asked again. When the process drains, the client is told
//! first, what it has asked by then is answered, and then the connection ends. One that breaks the rules or
//! floods is told why and closed at once.

mod stream;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use parking_lot::Mutex;
use weir_api::settings::Timeouts;

use self::stream::Link;
use super::downstream::http2::{
    CONNECTION_WINDOW, Flood, Io, Limits, SEND_BUFFER, STREAM_WINDOW, Transport, Violation,
};
use super::linger;
use super::peer::Peer;
use super::shared::Shared;
use super::wire::{Timer, Wire};

/// How long a client gets to take the GOAWAY of a connection that ends.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long requests get to notice that their connection has ended.
const LAST_STREAMS: Duration = Duration::from_secs(5);
/// How often the log tells of a flood.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// What a head may be larger than `client.max_header` for `h2`, so that it is answered and not cut off.
const HEADER_ROOM: u32 = 16 * 1024;

/// What the task of a connection has to do something about.
enum Event {
    Request(Box<Request<RecvStream>>, SendResponse<Bytes>),
    /// The connection has ended.
    Ended(Option<h2::Error>),
    Violation(Violation),
    Expired(Limit),
    /// An idle connection may have to give way.
    Reclaimed,
    /// The connection has become idle, or busy.
    Turned,
}

/// A time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// The client owes the rest of a frame or of headers.
    Incomplete,
    /// The client takes nothing.
    Blocked,
    Idle,
    /// It has been told to go.
    LastWords,
}

/// The task of a connection.
struct Driver<'a> {
    shared: &'a Arc<Shared>,
    peer: Arc<Peer>,
    link: Arc<Link>,
    transport: Arc<Mutex<Transport>>,
    timer: Timer,
    /// Since when there has been no request under way.
    idle: Option<Instant>,
    /// When it was told to go at once.
    leaving: Option<Instant>,
    /// Somebody else waits for its place: what the client still sends is not waited for.
    gives_way: bool,
}

/// Serves the requests of a connection that begins with the preface of HTTP/2, until it is closed.
pub(super) async fn serve_http2(shared: &Arc<Shared>, wire: Wire, timer: Timer, peer: Peer) {
    let limits = {
        let client = &shared.snapshot.load().settings.client;
        let header = u32::try_from(client.max_header.as_u64()).unwrap_or(u32::MAX / 4);
        Limits {
            streams: client.max_streams,
            header: header * 2 + HEADER_ROOM,
        }
    };
    let transport = Arc::new(Mutex::new(Transport::new(wire, limits)));
    let mut driver = Driver {
        shared,
        peer: Arc::new(peer),
        link: Arc::default(),
        transport: Arc::clone(&transport),
        timer,
        idle: Some(Instant::now()),
        leaving: None,
        gives_way: false,
    };
    shared.metrics.http2.connections.inc();
    if let Some(connection) = driver.handshake(limits).await {
        driver.run(connection).await;
    }
    driver.last_streams().await;
    let (timer, unread) = (driver.timer, !driver.gives_way);
    drop(driver.transport);
    // Nothing else has it: what `h2` had is gone with the connection.
    if let Some(transport) = Arc::into_inner(transport) {
        linger::close(shared, transport.into_inner().into_wire(), timer, unread).await;
    }
}

fn builder(limits: Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        // Resets have a budget of their own; what is reset before it is accepted is within that.
        .max_pending_accept_reset_streams(limits.streams as usize * 4)
        .enable_connect_protocol();
    builder
}

// === impl Driver ===

impl Driver<'_> {
    /// Exchanges the first frames.
    async fn handshake(&mut self, limits: Limits) -> Option<Connection<Io, Bytes>> {
        let io = Io(Arc::clone(&self.transport));
        let mut handshake = pin!(builder(limits).handshake(io));
        let limit = self.shared.snapshot.load().settings.timeouts.client_header;
        let deadline = Instant::now() + limit;
        let exchanged = poll_fn(|cx| {
            let done = handshake.as_mut().poll(cx);
            let flushed = self.transport.lock().poll_flush(cx);
            match done {
                Poll::Ready(done) => Poll::Ready(done.ok()),
                Poll::Pending if matches!(flushed, Poll::Ready(Err(_))) => Poll::Ready(None),
                Poll::Pending => self.timer.poll_until(cx, deadline).map(|()| None),
            }
        });
        let connection = self.shared.unless_unwanted(exchanged).await;
        self.gives_way = connection.is_none();
        connection.flatten()
    }

    /// Serves until the connection has ended.
    async fn run(&mut self, mut connection: Connection<Io, Bytes>) {
        let mut drain = pin!(self.shared.drain.notified());
        drain.as_mut().enable();
        let mut draining = self.shared.draining.load(Ordering::Acquire);
        if draining {
            connection.graceful_shutdown();
        }
        loop {
            self.note_idle();
            let idle = self.idle.is_some() && self.leaving.is_none();
            let _idle = idle.then(|| self.shared.slots.idle());
            let mut reclaim = pin!(self.shared.slots.reclaim().notified());
            if idle {
                reclaim.as_mut().enable();
                if self.shared.closing.load(Ordering::Acquire) {
                    self.leave(&mut connection, Reason::NO_ERROR);
                    continue;
                }
            }
            let event = poll_fn(|cx| {
                if !draining && drain.as_mut().poll(cx).is_ready() {
                    draining = true;
                    connection.graceful_shutdown();
                }
                if idle && reclaim.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Event::Reclaimed);
                }
                self.poll(cx, &mut connection, idle)
            });
            match event.await {
                Event::Turned => {}
                Event::Reclaimed => {
                    if self.is_unwanted() {
                        self.gives_way = true;
                        self.leave(&mut connection, Reason::NO_ERROR);
                    }
                }
                Event::Request(request, respond) => self.begin(*request, respond),
                Event::Violation(violation) => {
                    if let Some(flood) = violation.flood {
                        self.flood(flood);
                    }
                    self.leave(&mut connection, violation.reason);
                }
                Event::Expired(Limit::Idle) => {
                    self.leave(&mut connection, Reason::NO_ERROR);
                }
                Event::Expired(Limit::Incomplete) => {
                    self.leave(&mut connection, Reason::ENHANCE_YOUR_CALM);
                }
                Event::Expired(Limit::Blocked | Limit::LastWords) => return,
                Event::Ended(error) => {
                    let calm = Some(Reason::ENHANCE_YOUR_CALM);
                    if let Some(error) = error
                        && error.is_go_away()
                        && error.is_library()
                        && error.reason() == calm
                    {
                        self.flood(Flood::Frames);
                    }
                    return;
                }
            }
        }
    }

    /// Says GOAWAY and closes, whatever is under way.
    fn leave(&mut self, connection: &mut Connection<Io, Bytes>, reason: Reason) {
        if self.leaving.is_none() {
            self.leaving = Some(Instant::now());
            connection.abrupt_shutdown(reason);
        }
    }

    fn flood(&self, flood: Flood) {
        static SAID: Mutex<Option<Instant>> = Mutex::new(None);

        self.shared.metrics.http2.flood(flood.as_str());
        let mut said = SAID.lock();
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                client = %self.peer.address.ip(),
                kind = flood.as_str(),
                "HTTP/2 connection closed: too many frames that only cost (told once in 10 s)"
            );
        }
    }

    /// Notes since when there has been no request under way.
    fn note_idle(&mut self) {
        match self.link.is_idle() {
            true => {
                self.idle.get_or_insert_with(Instant::now);
            }
            false => self.idle = None,
        }
    }

    /// Whether places are short, or the process ends. The shortage that a wake-up was for may be over.
    fn is_unwanted(&self) -> bool {
        let max = self.shared.snapshot.load().settings.connections.max;
        self.shared.closing.load(Ordering::Acquire) || self.shared.slots.should_close(max)
    }

    /// Moves frames.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection<Io, Bytes>,
        idle: bool,
    ) -> Poll<Event> {
        self.link.waker.register(cx.waker());
        let accepted = connection.poll_accept(cx);
        let (violation, incomplete, blocked) = {
            let mut transport = self.transport.lock();
            // What is wrong with the socket is seen by reading from it, too.
            let _ = transport.poll_flush(cx);
            (
                transport.violation(),
                transport.incomplete_since(),
                transport.blocked_since(),
            )
        };
        match accepted {
            Poll::Ready(Some(Ok((request, respond)))) => {
                return Poll::Ready(Event::Request(Box::new(request), respond));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Event::Ended(Some(error))),
            Poll::Ready(None) => return Poll::Ready(Event::Ended(None)),
            Poll::Pending => {}
        }
        if let Some(violation) = violation
            && self.leaving.is_none()
        {
            return Poll::Ready(Event::Violation(violation));
        }
        let now_idle = self.link.is_idle();
        if now_idle != idle && self.leaving.is_none() {
            return Poll::Ready(Event::Turned);
        }
        let limit = {
            let snapshot = self.shared.snapshot.load();
            self.next_limit(&snapshot.settings.timeouts, incomplete, blocked)
        };
        match limit {
            Some((deadline, limit)) => self
                .timer
                .poll_until(cx, deadline)
                .map(|()| Event::Expired(limit)),
            None => Poll::Pending,
        }
    }

    /// The time limit that runs out first.
    fn next_limit(
        &self,
        timeouts: &Timeouts,
        incomplete: Option<Instant>,
        blocked: Option<Instant>,
    ) -> Option<(Instant, Limit)> {
        if let Some(leaving) = self.leaving {
            return Some((leaving + LAST_WORDS, Limit::LastWords));
        }
        let limits = [
            (incomplete, timeouts.client_header, Limit::Incomplete),
            (blocked, timeouts.send, Limit::Blocked),
            (self.idle, timeouts.keepalive, Limit::Idle),
        ];
        limits
            .into_iter()
            .filter_map(|(since, within, limit)| Some((since? + within, limit)))
            .min_by_key(|(deadline, _)| *deadline)
    }

    /// Waits until the requests of a connection that has ended have noticed.
    async fn last_streams(&mut self) {
        let deadline = Instant::now() + LAST_STREAMS;
        poll_fn(|cx| {
            self.link.waker.register(cx.waker());
            if self.link.is_idle() {
                return Poll::Ready(());
            }
            self.timer.poll_until(cx, deadline)
        })
        .await;
    }
}
