//! Accepting connections: TLS if there is a certificate, and which HTTP the client speaks.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A client that has not said by then what it speaks is sent away.
const GREETING: Duration = Duration::from_secs(10);

/// A connection that was accepted, encrypted or not.
#[derive(Debug)]
pub(super) enum Accepted {
    Clear(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Accepted {
    /// Takes a connection over: with a certificate, TLS goes first.
    pub(super) async fn take(
        stream: TcpStream,
        tls: Option<&Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let Some(config) = tls else {
            return Ok(Self::Clear(stream));
        };
        let handshake = TlsAcceptor::from(config.clone()).accept(stream);
        let stream = tokio::time::timeout(GREETING, handshake).await??;
        Ok(Self::Secure(Box::new(stream)))
    }

    /// Whether the client speaks HTTP/2: by ALPN, or by its first bytes, which stay unread.
    pub(super) async fn is_http2(&self) -> io::Result<bool> {
        let stream = match self {
            Self::Secure(stream) => {
                return Ok(stream.get_ref().1.alpn_protocol() == Some(b"h2"));
            }
            Self::Clear(stream) => stream,
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
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Clear(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Self::Secure(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Accepted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(cx))
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
