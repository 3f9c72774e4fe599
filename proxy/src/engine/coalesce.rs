//! A client connection that writes an answer's head and the start of its body in one system call,
//! and reads chunked request bodies strictly.
//!
//! The head is held back until the next write; anything after it goes out at once, as far as the
//! socket takes it. The buffer exists only while something is waiting, so that an idle connection
//! owns no buffer at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use weir_http1::{BadBody, BodyDecoder, Framing};

/// A write that would make the buffer larger than this waits for the socket first.
const HIGH_WATER: usize = 64 * 1024;

/// A connection with write coalescing.
#[derive(Debug)]
pub(super) struct Coalesce {
    inner: Stream,
    out: Vec<u8>,
    /// Bytes of `out` already written.
    written: usize,
    /// Follows the framing of the request body that is being read, if it is chunked.
    guard: Option<BodyDecoder>,
}

impl Coalesce {
    pub(super) fn new(inner: Stream) -> Self {
        Self {
            inner,
            out: Vec::new(),
            written: 0,
            guard: None,
        }
    }

    /// From here on a chunked body is read, of which `start` has been read already. Reading fails with
    /// `InvalidData` at the first byte that is not exactly its grammar, whatever a laxer reader behind
    /// would make of it.
    ///
    /// # Errors
    /// If `start` is wrong already.
    pub(super) fn expect_chunked(&mut self, start: &[u8]) -> Result<(), BadBody> {
        let mut guard = BodyDecoder::new(Framing::Chunked);
        follow(&mut guard, start)?;
        self.guard = (!guard.is_done()).then_some(guard);
        Ok(())
    }

    /// Writes what is buffered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        self.out = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// Lets the guard see the next bytes; those beyond the body are none of its business.
fn follow(guard: &mut BodyDecoder, mut input: &[u8]) -> Result<(), BadBody> {
    while !input.is_empty() && !guard.is_done() {
        let step = guard.step(input)?;
        input = input.get(step.consumed..).unwrap_or_default();
    }
    Ok(())
}

impl AsyncRead for Coalesce {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        if let Some(guard) = &mut this.guard {
            let fresh = buf.filled().get(before..).unwrap_or_default();
            follow(guard, fresh).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            if guard.is_done() {
                this.guard = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Coalesce {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.out.is_empty() {
            if buf.len() > HIGH_WATER / 2 {
                return Pin::new(&mut this.inner).poll_write(cx, buf);
            }
            this.out = Vec::with_capacity(buf.len().max(1024));
            this.out.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        if this.out.len() + buf.len() > HIGH_WATER {
            ready!(this.poll_drain(cx))?;
            return Pin::new(&mut this.inner).poll_write(cx, buf);
        }
        this.out.extend_from_slice(buf);
        // What the socket does not take now goes out with the next write or flush.
        match this.poll_drain(cx) {
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Coalesce {
    async fn shutdown(&mut self) {
        // A peer that is already gone is no news when closing.
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Coalesce {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Coalesce {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Coalesce {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        // Asked for once a request, and not used here: our own clock starts with the request.
        Vec::new()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Coalesce {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Coalesce {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

impl Peek for Coalesce {}
