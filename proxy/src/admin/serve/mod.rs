//! Connections of the admin API: accepted, bounded in number and in time, and served.
//!
//! Whoever probes this process decides by the answer whether it lives. So nothing here waits for a client to free its
//! place: when all are taken, the connection that matters least is closed. Only when all of them wait for this process
//! are new ones left in the system's queue for a moment, since closing any would be closing one that did nothing wrong.
//! The Unix socket has places of its own, and so have streams of events.

mod answer;
mod connection;
mod connections;
mod date;
mod stream;

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    http::{Request, header},
};
use hyper::body::{Body as _, Incoming};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use rustls::{ServerConfig, server::Acceptor};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::{Instant, MissedTickBehavior},
};
use tokio_rustls::LazyConfigAcceptor;
use tower::ServiceExt as _;
use tracing::warn;

use self::{
    answer::Answer,
    connections::{Connections, Counted},
    stream::Told,
};
use super::{access::Peer, events::Streaming, share::share, sockets::Sockets};

pub(super) use self::connection::{Connection, Phase};

/// Most connections over TCP at once, streams of events not counted.
const TCP: usize = 256;
/// Most connections over the Unix socket at once, streams of events not counted.
const UNIX: usize = 64;
/// Most connections that wait to be accepted, as far as the system allows it. A connection that finds no room there
/// tries again after a second at the earliest.
const BACKLOG: i32 = 4096;
/// Connections that are accepted before those that are there have a turn.
const AT_A_TIME: usize = 16;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long hyper waits for a head; the connections' own deadlines are shorter.
const HEAD: Duration = Duration::from_secs(75);
/// How often deadlines are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long a shutdown waits for admin requests in flight.
const LINGER: Duration = Duration::from_secs(2);
/// Pause after an accept that failed for want of descriptors, when no connection can be given up.
const SHORTAGE: Duration = Duration::from_millis(20);
/// How often want of descriptors is told at most.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often room is looked for while all connections wait for this process.
const BUSY: Duration = Duration::from_millis(2);
/// After which time others are let in nevertheless.
const BUSY_AT_MOST: Duration = Duration::from_secs(1);

/// Serves an application until `shutdown` completes, then finishes what is in flight, for two seconds
/// at most.
pub(super) async fn serve(
    mut sockets: Sockets,
    app: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    sockets.tcp.set_nonblocking(true)?;
    // Refused where the system is set up otherwise; the backlog is then what it was.
    let _ = SockRef::from(&sockets.tcp).listen(BACKLOG);
    let tcp = TcpListener::from_std(sockets.tcp)?;
    let unix = sockets.unix.as_mut().and_then(|unix| unix.listener.take());
    if let Some(unix) = &unix {
        let _ = SockRef::from(unix).listen(BACKLOG);
    }
    let unix = unix.map(UnixListener::from_std).transpose()?;
    let tls = sockets.tls;
    let graceful = GracefulShutdown::new();
    let (by_tcp, by_unix) = (
        Connections::new(share(TCP, 8)),
        Connections::new(share(UNIX, 16)),
    );
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shutdown = std::pin::pin!(shutdown);
    let mut since_yield = 0;
    let mut told = None;
    let (mut tcp_pause, mut unix_pause) = (Pause::default(), Pause::default());
    loop {
        let tcp_waits = tcp_pause.holds(&by_tcp);
        let unix_waits = unix_pause.holds(&by_unix);
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            () = tokio::time::sleep(BUSY), if tcp_waits || unix_waits => Ok(()),
            accepted = tcp.accept(), if !tcp_waits => accepted.map(|(stream, from)| {
                let peer = Peer::Tcp(from);
                let counted = by_tcp.take(peer, Instant::now());
                spawn_tcp(stream, tls.clone(), peer, app.clone(), graceful.watcher(), counted);
            }),
            accepted = accept_unix(unix.as_ref()), if !unix_waits => accepted.map(|stream| {
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                let peer = Peer::Unix(uid);
                let counted = by_unix.take(peer, Instant::now());
                spawn(async { Some(stream) }, peer, app.clone(), graceful.watcher(), counted);
            }),
            _ = look.tick() => {
                let now = Instant::now();
                by_tcp.close_overdue(now);
                by_unix.close_overdue(now);
                Ok(())
            }
        };
        if let Err(error) = accepted {
            let now = Instant::now();
            if told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
                told = Some(now);
                warn!(%error, "admin connection not accepted");
            }
            if by_tcp.give_up_one(now) || by_unix.give_up_one(now) {
                // It closes when its task has a turn.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(SHORTAGE).await;
            }
        }
        // Connections that were accepted are looked at before many others come, which may take their places.
        since_yield = (since_yield + 1) % AT_A_TIME;
        if since_yield == 0 {
            tokio::task::yield_now().await;
        }
    }
    drop(tcp);
    drop(unix);
    drop(sockets.unix);
    if tokio::time::timeout(LINGER, graceful.shutdown())
        .await
        .is_err()
    {
        warn!("admin requests still in flight after {LINGER:?}, ended");
    }
    Ok(())
}

/// While nobody is accepted because all connections wait for this process.
#[derive(Debug, Default)]
struct Pause {
    since: Option<Instant>,
}

impl Pause {
    fn holds(&mut self, connections: &Connections) -> bool {
        let now = Instant::now();
        if !connections.wait_for_us(now) {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.duration_since(since) < BUSY_AT_MOST
    }
}

async fn accept_unix(listener: Option<&UnixListener>) -> io::Result<UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Serves a TCP connection, after its TLS handshake if there is to be one.
fn spawn_tcp(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    peer: Peer,
    app: Router,
    watcher: Watcher,
    counted: Counted,
) {
    // Small answers: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    match tls {
        None => spawn(async { Some(stream) }, peer, app, watcher, counted),
        Some(tls) => {
            let connection = Arc::clone(&counted);
            let shaken = tokio::time::timeout(HANDSHAKE, async move {
                connection.enter(Phase::New);
                let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
                connection.enter(Phase::Handshake);
                let shaken = hello?.into_stream(tls).await;
                connection.enter(Phase::New);
                shaken
            });
            let shaken = async { shaken.await.ok()?.ok() };
            spawn(shaken, peer, app, watcher, counted);
        }
    }
}

/// Serves one connection on a task of its own, until it ends or has to give way.
fn spawn<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: impl Future<Output = Option<S>> + Send + 'static,
    peer: Peer,
    app: Router,
    watcher: Watcher,
    counted: Counted,
) {
    tokio::spawn(async move {
        let served = async {
            if let Some(stream) = stream.await {
                serve_one(stream, peer, app, watcher, &counted).await;
            }
        };
        tokio::select! {
            () = served => {}
            () = counted.closed() => {}
        }
    });
}

/// Serves one connection as long as it lasts.
async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    app: Router,
    watcher: Watcher,
    connection: &Arc<Connection>,
) {
    let served = AtomicBool::new(false);
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (app, connection) = (app.clone(), Arc::clone(connection));
        connection.enter(if request.body().is_end_stream() {
            Phase::Queued
        } else {
            Phase::Body
        });
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&connection));
        let again = served.swap(true, Ordering::Relaxed);
        async move {
            if again {
                // Many requests at once on one connection do not keep others waiting.
                tokio::task::yield_now().await;
            }
            let mut response = app.oneshot(request).await?;
            if let Some(date) = date::date(SystemTime::now()) {
                response.headers_mut().insert(header::DATE, date);
            }
            let streams = response.extensions().get::<Streaming>().is_some();
            connection.enter(if streams {
                Phase::Streaming
            } else {
                Phase::Answering
            });
            Ok::<_, Infallible>(response.map(|body| Answer::new(body, connection)))
        }
    });
    let stream = Told::new(stream, Arc::clone(connection));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // Its own stands still when the clock is set back.
        .auto_date_header(false)
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // An error is the client's: it went away or sent what is no HTTP.
    let _ = watcher.watch(connection).await;
}
