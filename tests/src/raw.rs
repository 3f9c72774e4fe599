//! A server behind the proxy of which the test writes every byte, also while it reads.

use std::{future::Future, net::SocketAddr};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{
    message::{Buffered, Headers},
    weir::Server,
};

/// A server that hands each of its connections to a function of the test.
#[derive(Debug)]
pub struct RawServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

/// One connection of it.
pub type RawConn = Buffered<TcpStream>;

// === impl RawServer ===

impl RawServer {
    /// Every connection is `handler`'s, and ends with it.
    pub async fn start<F>(handler: impl Fn(RawConn) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            // Dropped together with this task, which ends all connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                connections.spawn(handler(Buffered::new(stream)));
            }
        });
        Self { address, accepting }
    }
}

impl Server for RawServer {
    fn addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl RawConn {
    /// The next request head; `None` once the proxy has closed.
    pub async fn request_head(&mut self) -> Option<(String, Headers)> {
        self.head().await.ok().flatten()
    }

    /// Sends bytes; a proxy that has closed is none of the test's business here.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Reads to the end, and returns what came.
    pub async fn rest(&mut self) -> Vec<u8> {
        while let Ok(true) = self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Breaks off without ceremony (RST).
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }
}
