//! Connections of the admin API: accepted, bounded in number and in time, and served.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::warn;

use super::{access::Peer, sockets::Sockets};

/// Most connections at once. Further ones wait in the system's queue.
const CONNECTIONS: usize = 256;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a new connection may say nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, counted from the end of the one before: also how long an idle
/// connection stays. Much longer than clients keep one for another request, so that none is closed just as
/// it is used again.
const HEAD: Duration = Duration::from_secs(75);
/// How long a shutdown waits for admin requests in flight.
const LINGER: Duration = Duration::from_secs(2);
/// Pause after an accept that failed for want of descriptors.
const SHORTAGE: Duration = Duration::from_millis(50);

/// Serves an application until `shutdown` completes, then finishes what is in flight, for two seconds
/// at most.
pub(super) async fn serve(
    mut sockets: Sockets,
    app: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    sockets.tcp.set_nonblocking(true)?;
    let tcp = TcpListener::from_std(sockets.tcp)?;
    let tls = sockets.tls.map(TlsAcceptor::from);
    let unix = sockets
        .unix
        .as_mut()
        .and_then(|unix| unix.listener.take())
        .map(UnixListener::from_std)
        .transpose()?;
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let place = tokio::select! {
            () = &mut shutdown => break,
            place = Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = tcp.accept() => accepted.map(|(stream, from)| {
                // Small answers: waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                let peer = Peer::Tcp(from);
                match tls.clone() {
                    None => {
                        let (app, watcher) = (app.clone(), graceful.watcher());
                        tokio::spawn(async move {
                            let first = tokio::time::timeout(SILENCE, stream.readable()).await;
                            if let Ok(Ok(())) = first {
                                spawn(stream, peer, app, watcher, place);
                            }
                        });
                    }
                    Some(tls) => {
                        let (app, watcher) = (app.clone(), graceful.watcher());
                        tokio::spawn(async move {
                            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                                spawn(stream, peer, app, watcher, place);
                            }
                        });
                    }
                }
            }),
            accepted = accept_unix(unix.as_ref()) => accepted.map(|stream| {
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                spawn(stream, Peer::Unix(uid), app.clone(), graceful.watcher(), place);
            }),
        };
        if let Err(error) = accepted {
            warn!(%error, "admin connection not accepted");
            tokio::time::sleep(SHORTAGE).await;
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

async fn accept_unix(listener: Option<&UnixListener>) -> io::Result<tokio::net::UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Serves one connection on a task of its own.
fn spawn(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    app: Router,
    watcher: Watcher,
    place: OwnedSemaphorePermit,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        app.clone().oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let connection = watcher.watch(connection);
    tokio::spawn(async move {
        // An error is the client's: it went away or sent what is no HTTP.
        let _ = connection.await;
        drop(place);
    });
}
