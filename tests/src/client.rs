//! A client connection under full control.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    message::{Buffered, Response},
    wait::within,
};

/// What one client connection receives.
#[derive(Debug)]
pub struct Reader {
    io: Buffered<OwnedReadHalf>,
}

// === impl Reader ===

impl Reader {
    /// The next answer, to a request that is not `HEAD`.
    pub async fn response(&mut self) -> Response {
        match within("an answer", self.io.response("GET")).await {
            Ok(Some(response)) => response,
            Ok(None) => panic!("the connection was closed without an answer"),
            Err(error) => panic!("no proper answer: {error}"),
        }
    }

    /// How many bytes come up to the end.
    pub async fn rest(&mut self) -> usize {
        let mut bytes = self.io.buffer.len();
        self.io.buffer.clear();
        while let Ok(true) = within("the peer to close", self.io.fill()).await {
            bytes += self.io.buffer.len();
            self.io.buffer.clear();
        }
        bytes
    }
}

/// One client connection.
#[derive(Debug)]
pub struct Conn {
    io: Buffered<TcpStream>,
}

impl Conn {
    pub async fn open(to: SocketAddr) -> Self {
        Self::try_open(to)
            .await
            .unwrap_or_else(|e| panic!("connecting to {to}: {e}"))
    }

    pub async fn try_open(to: SocketAddr) -> io::Result<Self> {
        let stream = within("a connection", TcpStream::connect(to)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            io: Buffered::new(stream),
        })
    }

    /// Connects from another address of 127.0.0.0/8: another client.
    pub async fn open_from(from: impl Into<IpAddr>, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from.into(), 0).into()).unwrap();
        let stream = within("a connection", socket.connect(to)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            io: Buffered::new(stream),
        }
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.io.stream.local_addr().unwrap()
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        within("sending", async move {
            // A peer that has answered and closed already is noticed when reading.
            let _ = self.io.stream.write_all(bytes.as_ref()).await;
        })
    }

    /// Sends bytes one by one with a pause after each, until the peer closes.
    pub async fn send_slowly(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes {
            if self.io.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The answer to a request that is not `HEAD`.
    pub async fn answer(&mut self) -> Response {
        self.answer_to("GET").await
    }

    pub async fn answer_to(&mut self, method: &str) -> Response {
        match self.try_answer_to(method).await {
            Ok(Some(response)) => response,
            Ok(None) => panic!("the connection was closed without an answer"),
            Err(error) => panic!("no proper answer: {error}"),
        }
    }

    pub async fn try_answer_to(&mut self, method: &str) -> io::Result<Option<Response>> {
        within("an answer", self.io.response(method)).await
    }

    /// Sends a request without a body, and waits for its answer.
    pub async fn request(&mut self, method: &str, target: &str, headers: &str) -> Response {
        self.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"
        ))
        .await;
        self.answer_to(method).await
    }

    pub async fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, "").await
    }

    /// Raw bytes, at least one; empty if the peer has closed.
    pub async fn receive(&mut self) -> Vec<u8> {
        if self.io.buffer.is_empty() {
            let _ = within("bytes", self.io.fill()).await;
        }
        std::mem::take(&mut self.io.buffer)
    }

    /// Exactly `length` raw bytes.
    pub async fn receive_exactly(&mut self, length: usize) -> Vec<u8> {
        while self.io.buffer.len() < length {
            assert!(
                within("bytes", self.io.fill()).await.unwrap(),
                "closed too early"
            );
        }
        self.io.buffer.drain(..length).collect()
    }

    /// The same; none if the peer closes before.
    pub async fn try_receive_exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.io.buffer.len() < length {
            if !matches!(within("bytes", self.io.fill()).await, Ok(true)) {
                return None;
            }
        }
        Some(self.io.buffer.drain(..length).collect())
    }

    /// Whether the peer has closed, as far as can be told at once. What it sent is kept.
    pub async fn is_closed(&mut self) -> bool {
        let now = tokio::time::timeout(Duration::ZERO, self.io.fill()).await;
        matches!(now, Ok(Ok(false) | Err(_)))
    }

    /// Waits for the peer to close, by end or by reset, and returns what came before.
    pub async fn closed(&mut self) -> Vec<u8> {
        while let Ok(true) = within("the peer to close", self.io.fill()).await {}
        std::mem::take(&mut self.io.buffer)
    }

    /// No more will be sent; answers can still come.
    pub async fn finish_sending(&mut self) {
        let _ = self.io.stream.shutdown().await;
    }

    /// Both directions apart, so that each goes on while the other waits.
    pub fn split(self) -> (Reader, OwnedWriteHalf) {
        let (read, write) = self.io.stream.into_split();
        let io = Buffered {
            stream: read,
            buffer: self.io.buffer,
        };
        (Reader { io }, write)
    }

    /// Breaks off without ceremony (RST).
    pub fn reset(self) {
        let _ = self.io.stream.set_zero_linger();
    }
}
