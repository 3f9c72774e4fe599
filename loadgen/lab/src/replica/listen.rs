//! Accepting connections: TLS if there is a certificate, and which HTTP the client speaks.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A client that has not said by then what it speaks is sent away.
const GREETING: Duration = Duration::from_secs(10);

/// A connection that was accepted, in the clear or encrypted.
pub(super) type Accepted = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Takes a connection over: with a certificate, TLS goes first.
pub(super) async fn take(
    stream: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
) -> io::Result<Accepted> {
    stream.set_nodelay(true)?;
    let Some(config) = tls else {
        return Ok(Either::Left(stream));
    };
    let handshake = TlsAcceptor::from(config.clone()).accept(stream);
    let stream = tokio::time::timeout(GREETING, handshake).await??;
    Ok(Either::Right(Box::new(stream)))
}

/// Whether the client speaks HTTP/2: by ALPN, or by its first bytes, which stay unread.
pub(super) async fn is_http2(stream: &Accepted) -> io::Result<bool> {
    let stream = match stream {
        Either::Left(stream) => stream,
        Either::Right(stream) => {
            return Ok(stream.get_ref().1.alpn_protocol() == Some(b"h2"));
        }
    };
    let mut first = [0; PREFACE.len()];
    // No HTTP/1.1 request begins with the first three bytes of the preface.
    loop {
        let read = stream.peek(&mut first).await?;
        let seen = first.get(..read.min(3)).unwrap_or_default();
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return Ok(false);
        }
        if seen.len() == 3 {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs the futures of an HTTP/2 server on the local runtime.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            let _ = future.await;
        });
    }
}
