//! From an accepted socket to a stream that HTTP can be read from: the PROXY header, then the handshake of TLS.
//! Both together have `timeouts.client_header`, and whoever is not done yet counts as idle: when places run
//! short, those that have waited longest go.

use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::super::peer::{LOCAL, Peer, Secure};
use super::super::shared::Shared;
use super::super::stream::{Ahead, Io, Raw};
use super::super::wire::Socket;
use super::queue::Accepted;
use super::terms::Terms;
use crate::observe::tls_metrics::HandshakeOutcome;
use crate::proxy_protocol::{self, MAX_HEADER, Origin};
use crate::tls::ServerTls;

/// How often the log says that somebody sends no PROXY header, or may not.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A stream that HTTP can be read from, and who is at its other end. None if it has been closed; metrics and
/// log know why.
pub(super) async fn establish(
    shared: &Shared,
    accepted: Accepted,
    terms: &Terms,
) -> Option<(Socket, Peer)> {
    let peer = accepted.peer;
    let raw = match raw(accepted) {
        Ok(raw) => raw,
        Err(error) => {
            tracing::error!(%error, "cannot serve a connection");
            return None;
        }
    };
    let address = peer.unwrap_or(LOCAL);
    let local = raw.local();
    match raw {
        // Without anything in between: the usual case.
        Raw::Tcp(stream) if terms.are_plain() => Some((stream.into(), Peer::plain(address, local))),
        raw if terms.are_plain() => {
            let stream = Io::Clear(Ahead::new(raw, Vec::new()));
            Some((stream.into(), Peer::plain(address, local)))
        }
        // Boxed, so that connections in the clear do not carry the room for it.
        raw => {
            let mut peer = Peer::plain(address, local);
            let io = Box::pin(prepare(shared, raw, &mut peer, terms)).await?;
            Some((io.into(), peer))
        }
    }
}

fn raw(accepted: Accepted) -> io::Result<Raw> {
    Ok(match accepted.peer {
        Some(_) => Raw::Tcp(TcpStream::from_std(accepted.socket.into())?),
        None => Raw::Unix(UnixStream::from_std(accepted.socket.into())?),
    })
}

async fn prepare(shared: &Shared, raw: Raw, peer: &mut Peer, terms: &Terms) -> Option<Io> {
    let limit = shared.snapshot.load().settings.timeouts.client_header;
    let deadline = Instant::now() + limit;
    let stream = if terms.proxy_protocol {
        proxied(shared, raw, peer, deadline).await?
    } else {
        Ahead::new(raw, Vec::new())
    };
    match &terms.tls {
        Some(tls) => secured(shared, stream, peer, tls, deadline).await,
        None => Some(Io::Clear(stream)),
    }
}

/// How something that a client has to do first ended.
enum First<T> {
    Done(T),
    TimedOut,
    /// To be closed for the sake of others, or because the process ends.
    GiveWay,
}

/// Waits for what a client has to do first. It counts as idle meanwhile.
async fn first<T>(shared: &Shared, deadline: Instant, doing: impl Future<Output = T>) -> First<T> {
    let doing = tokio::time::timeout_at(deadline.into(), doing);
    match shared.unless_unwanted(doing).await {
        Some(Ok(done)) => First::Done(done),
        Some(Err(_)) => First::TimedOut,
        None => First::GiveWay,
    }
}

// === The PROXY protocol ===

/// Reads the PROXY header, from whoever is trusted.
async fn proxied(
    shared: &Shared,
    mut raw: Raw,
    peer: &mut Peer,
    deadline: Instant,
) -> Option<Ahead> {
    let sender = peer.address.ip().to_canonical();
    let trusted = {
        let snapshot = shared.snapshot.load();
        let proxies = &snapshot.settings.client.trusted_proxies;
        proxies.iter().any(|network| network.contains(&sender))
    };
    if !trusted {
        refuse(shared, sender, "stranger", "not in client.trusted_proxies");
        return None;
    }
    match first(shared, deadline, read_header(&mut raw)).await {
        First::Done(Ok((header, rest))) => {
            if let Origin::Client {
                source,
                destination,
            } = header.origin
            {
                peer.address = source;
                peer.local = Some(destination);
            }
            return Some(Ahead::new(raw, rest));
        }
        First::Done(Err(what)) => refuse(shared, sender, "malformed", &what.to_string()),
        First::TimedOut => refuse(
            shared,
            sender,
            "timed_out",
            "timeouts.client_header is over",
        ),
        First::GiveWay => {}
    }
    None
}

/// The header, and what has been read behind it.
async fn read_header(raw: &mut Raw) -> io::Result<(proxy_protocol::Header, Vec<u8>)> {
    let mut input = Vec::with_capacity(256);
    loop {
        match proxy_protocol::parse(&input).map_err(io::Error::other)? {
            Some(header) => {
                let rest = input.split_off(header.length);
                return Ok((header, rest));
            }
            None if input.len() >= MAX_HEADER => {
                return Err(io::Error::other(proxy_protocol::BadHeader::TooLong));
            }
            None => {}
        }
        if raw.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn refuse(shared: &Shared, sender: std::net::IpAddr, reason: &'static str, what: &str) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);

    let refused = &shared.metrics.tls.proxy_refused;
    refused.with_label_values(&[reason]).inc();
    let mut said = SAID.lock();
    if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
        *said = Some(Instant::now());
        tracing::warn!(
            %sender,
            reason,
            what,
            "connection closed on a listener with proxy_protocol (told once in 10 s)"
        );
    }
}

// === TLS ===

async fn secured(
    shared: &Shared,
    stream: Ahead,
    peer: &mut Peer,
    tls: &ServerTls,
    deadline: Instant,
) -> Option<Io> {
    let accepting = TlsAcceptor::from(tls.config()).accept(stream.greedy());
    let metrics = &shared.metrics.tls;
    match first(shared, deadline, accepting.into_fallible()).await {
        First::Done(Ok(stream)) => {
            let secure = Secure::of(stream.get_ref().1);
            if secure
                .identity
                .as_ref()
                .is_some_and(|it| it.not_after < now())
            {
                // It was valid when the session began that this one resumes.
                metrics.handshake(secure.version, HandshakeOutcome::Failed);
                return None;
            }
            let outcome = match secure.resumed {
                true => HandshakeOutcome::Resumed,
                false => HandshakeOutcome::Full,
            };
            metrics.handshake(secure.version, outcome);
            peer.tls = Some(Box::new(secure));
            return Some(Io::Tls(Box::new(stream.into())));
        }
        First::Done(Err((error, _))) => {
            metrics.handshake("none", HandshakeOutcome::Failed);
            tracing::debug!(client = %peer.address, %error, "TLS handshake failed");
        }
        First::TimedOut => metrics.handshake("none", HandshakeOutcome::TimedOut),
        First::GiveWay => metrics.handshake("none", HandshakeOutcome::GaveWay),
    }
    None
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
