//! A client connection that speaks HTTP/1: admitted, waited on, read up to a complete request head,
//! served, kept.
//!
//! While it is idle it owns no buffer: bytes are read by way of the stack first, and the session that
//! answers a request exists only while there is one.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use bytes::Buf as _;
use weir_api::config::Listener;
use weir_http1::{HeadError, RequestHead, RequestParser};

use super::call::Fate;
use super::conn_http2::serve_http2;
use super::downstream::Downstream;
use super::downstream::http1::{After, Session};
use super::downstream::http2::PREFACE;
use super::linger;
use super::peer::Peer;
use super::request::{Arrival, serve};
use super::respond::Own;
use super::shared::Shared;
use super::wire::{Socket, Timer, Wire};

/// What may be spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocols {
    /// HTTP/1.
    Http1,
    /// HTTP/2 if the client begins with its preface, else HTTP/1.
    Either,
    /// HTTP/2.
    Http2,
}

/// What a client has begun with.
enum Begun {
    Http1,
    Http2,
    Closed,
}

// === impl Protocols ===

impl Protocols {
    /// Those of a listener in the clear.
    pub(super) fn of(listener: &Listener) -> Self {
        match listener.h2c {
            true => Self::Either,
            false => Self::Http1,
        }
    }
}

/// Serves the requests of a connection that has been admitted, until it closes.
///
/// `clear`: what may be spoken on it if it is in the clear. With TLS it has been agreed on.
pub(super) async fn serve_client(
    shared: &Arc<Shared>,
    socket: impl Into<Socket>,
    peer: Peer,
    clear: Protocols,
) {
    let protocols = match &peer.tls {
        Some(secure) if secure.http2 => Protocols::Http2,
        Some(_) => Protocols::Http1,
        None => clear,
    };
    let mut wire = Wire::new(socket);
    let mut timer = Timer::default();
    let mut fresh = true;
    if protocols == Protocols::Http2 {
        Box::pin(serve_http2(shared, wire, timer, peer)).await;
        return;
    }
    loop {
        if wire.input.is_empty() && !first_bytes(shared, &mut wire, &mut timer, fresh).await {
            return;
        }
        if fresh && protocols == Protocols::Either {
            match begun(shared, &mut wire, &mut timer).await {
                Begun::Http1 => {}
                Begun::Http2 => {
                    Box::pin(serve_http2(shared, wire, timer, peer)).await;
                    return;
                }
                Begun::Closed => return,
            }
        }
        // Boxed, so that an idle connection does not carry the room of a busy one.
        match Box::pin(one_request(shared, wire, timer, &peer)).await {
            Some((next, its_timer)) => (wire, timer) = (next, its_timer),
            None => return,
        }
        fresh = false;
    }
}

/// Reads until the preface of HTTP/2 is complete, or something else has begun.
async fn begun(shared: &Shared, wire: &mut Wire, timer: &mut Timer) -> Begun {
    let limit = shared.snapshot.load().settings.timeouts.client_header;
    let deadline = Instant::now() + limit;
    loop {
        if wire.input.starts_with(PREFACE) {
            return Begun::Http2;
        }
        if !PREFACE.starts_with(&wire.input) {
            return Begun::Http1;
        }
        let more = poll_fn(|cx| {
            let read = wire.poll_fill(cx);
            if read.is_ready() {
                return read.map(Some);
            }
            timer.poll_until(cx, deadline).map(|()| None)
        });
        if !matches!(shared.unless_unwanted(more).await, Some(Some(Ok(n))) if n > 0) {
            return Begun::Closed;
        }
    }
}

/// Reads a head, serves the request, and returns the connection if it can carry another.
async fn one_request(
    shared: &Shared,
    mut wire: Wire,
    mut timer: Timer,
    peer: &Peer,
) -> Option<(Wire, Timer)> {
    let arrival = Arrival {
        wall: SystemTime::now(),
        at: Instant::now(),
    };
    let head = match read_head(shared, &mut wire, &mut timer, arrival.at).await {
        Head::Complete(head) => head,
        Head::Refused(status) => {
            refuse(shared, wire, timer, peer.address, status).await;
            return None;
        }
        Head::Idle => return Some((wire, timer)),
        Head::Closed => return None,
    };
    let session = Session::new(wire, timer, *head);
    let mut client = Downstream::Http1(Box::new(session));
    let fate = serve(shared, &mut client, arrival, peer).await;
    let Downstream::Http1(session) = client else {
        return None;
    };
    match session.end(fate == Fate::Keep).await {
        After::Next(wire, timer) => Some((wire, timer)),
        After::Close {
            wire,
            timer,
            unread,
        } => {
            linger::close(shared, wire, timer, unread).await;
            None
        }
    }
}

/// What came instead of, or as, a request head.
enum Head {
    Complete(Box<RequestHead>),
    Refused(u16),
    /// Nothing but empty lines.
    Idle,
    /// Closed by the client.
    Closed,
}

async fn read_head(shared: &Shared, wire: &mut Wire, timer: &mut Timer, at: Instant) -> Head {
    let mut parser = RequestParser::new();
    let mut begun = false;
    loop {
        if !begun {
            skip_empty_lines(wire);
            if wire.input.is_empty() {
                return Head::Idle;
            }
            begun = *wire.input != b"\r"[..];
        }
        if begun {
            match parse(shared, wire, &mut parser) {
                Ok(Some(head)) => return Head::Complete(Box::new(head)),
                Ok(None) => {}
                Err(status) => return Head::Refused(status),
            }
        }
        let deadline = at + shared.snapshot.load().settings.timeouts.client_header;
        let more = poll_fn(|cx| {
            let read = wire.poll_fill(cx);
            if read.is_ready() {
                return read.map(Some);
            }
            timer.poll_until(cx, deadline).map(|()| None)
        });
        match more.await {
            Some(Ok(n)) if n > 0 => {}
            Some(_) => return Head::Closed,
            // Nobody asked anything yet who would get an answer.
            None if !begun => return Head::Closed,
            None => return Head::Refused(408),
        }
    }
}

/// Goes on with the head; takes it off the wire once it is complete.
fn parse(
    shared: &Shared,
    wire: &mut Wire,
    parser: &mut RequestParser,
) -> Result<Option<RequestHead>, u16> {
    let max = shared.snapshot.load().settings.client.max_header.as_u64();
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let status = |e: HeadError| e.status();
    match parser.advance(&wire.input).map_err(status)? {
        Some(len) if len > max => Err(431),
        None if wire.input.len() > max => Err(431),
        None => Ok(None),
        Some(len) => {
            let text = wire.input.get(..len).unwrap_or_default().to_vec();
            wire.consume(len);
            Ok(std::mem::take(parser).finish(text))
        }
    }
}

/// Waits for the first bytes of a request; `false` if the connection should close: closed by the client,
/// idle for too long, or to be closed for the sake of others.
async fn first_bytes(shared: &Shared, wire: &mut Wire, timer: &mut Timer, fresh: bool) -> bool {
    let limit = {
        let snapshot = shared.snapshot.load();
        let timeouts = &snapshot.settings.timeouts;
        if fresh {
            timeouts.client_header
        } else {
            timeouts.keepalive
        }
    };
    let deadline = Instant::now() + limit;
    loop {
        let reclaimed = shared.slots.reclaim().notified();
        tokio::pin!(reclaimed);
        reclaimed.as_mut().enable();
        let _idle = shared.slots.idle();
        let closing = shared.closing.load(Ordering::Acquire);
        let read = poll_fn(|cx| {
            let read = wire.poll_first(cx);
            if read.is_ready() {
                return read.map(|n| Some(matches!(n, Ok(n) if n > 0)));
            }
            match closing {
                true => std::task::Poll::Ready(None),
                false => timer.poll_until(cx, deadline).map(|()| None),
            }
        });
        tokio::select! {
            biased;
            read = read => {
                if read != Some(true) {
                    return false;
                }
                skip_empty_lines(wire);
                if !wire.input.is_empty() {
                    return true;
                }
            }
            () = &mut reclaimed => {
                // The shortage that this wake-up was for may be over.
                let max = shared.snapshot.load().settings.connections.max;
                if shared.slots.should_close(max) {
                    return false;
                }
            }
        }
    }
}

/// Empty lines before a request line are ignored (RFC 9112 section 2.2): they are no request, and nobody
/// waits for an answer to them.
fn skip_empty_lines(wire: &mut Wire) {
    while wire.input.starts_with(b"\r\n") {
        wire.input.advance(2);
    }
    if wire.input.is_empty() {
        wire.rest();
    }
}

/// Tells the client why, and closes.
async fn refuse(shared: &Shared, mut wire: Wire, timer: Timer, peer: SocketAddr, status: u16) {
    let id = shared.ids.next();
    shared.log_refused(peer, status, id, &wire.input);
    let own = Own {
        status,
        id: id.as_str(),
        grpc: false,
        retry_after: None,
        allow: None,
    };
    wire.out().extend_from_slice(&own.text());
    // A client that was too slow is not waited for once more.
    linger::close(shared, wire, timer, status != 408).await;
}
