//! A socket with bytes that were read from it too early.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Raw;

/// A record of TLS with its header and tag.
const READ_SIZE: usize = 16 * 1024 + 256;

/// A socket with what has been read from it and not used: what came right behind a PROXY header, or more than
/// the layer above has asked for. It owns a buffer only while there is something in it.
#[derive(Debug)]
pub(in crate::engine) struct Ahead {
    raw: Raw,
    ahead: Vec<u8>,
    /// Bytes of `ahead` already used.
    used: usize,
    /// Whether to read as much as there is at once, however little is asked for. rustls asks for 4 KiB at a time.
    greedy: bool,
}

impl Ahead {
    /// Of the socket `ahead` has been read already.
    pub(in crate::engine) fn new(raw: Raw, ahead: Vec<u8>) -> Self {
        Self {
            raw,
            ahead,
            used: 0,
            greedy: false,
        }
    }

    /// Reads as much as there is at once, by way of the stack.
    pub(in crate::engine) fn greedy(mut self) -> Self {
        self.greedy = true;
        self
    }

    pub(in crate::engine) fn raw(&self) -> &Raw {
        &self.raw
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = self.ahead.get(self.used..).unwrap_or_default();
        let n = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..n).unwrap_or_default());
        self.used += n;
        if self.used == self.ahead.len() {
            self.ahead = Vec::new();
            self.used = 0;
        }
    }
}

impl AsyncRead for Ahead {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            this.give(buf);
            return Poll::Ready(Ok(()));
        }
        if !this.greedy || buf.remaining() >= READ_SIZE {
            return Pin::new(&mut this.raw).poll_read(cx, buf);
        }
        let mut room = [const { MaybeUninit::<u8>::uninit() }; READ_SIZE];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut this.raw).poll_read(cx, &mut read))?;
        let (now, later) = read
            .filled()
            .split_at(read.filled().len().min(buf.remaining()));
        buf.put_slice(now);
        if !later.is_empty() {
            this.ahead = later.to_vec();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().raw).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().raw).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().raw).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().raw).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_once_and_in_order_whatever_is_asked_for() {
        for greedy in [false, true] {
            let (mut far, near) = UnixStream::pair().unwrap();
            let ahead = Ahead::new(Raw::Unix(near), b"PROXY-rest:".to_vec());
            let mut stream = if greedy { ahead.greedy() } else { ahead };
            let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
            let writing = async {
                far.write_all(&sent).await.unwrap();
                drop(far);
            };
            let reading = async {
                let (mut got, mut size) = (Vec::new(), 1);
                loop {
                    let mut piece = vec![0; size];
                    let n = stream.read(&mut piece).await.unwrap();
                    if n == 0 {
                        return got;
                    }
                    got.extend_from_slice(&piece[..n]);
                    size = size * 3 % 20_011 + 1;
                }
            };
            let ((), got) = tokio::join!(writing, reading);
            assert_eq!(got, [b"PROXY-rest:", sent.as_slice()].concat());
            assert_eq!(stream.ahead.capacity(), 0);
        }
    }
}
