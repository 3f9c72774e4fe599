//! What an origin answers, and when.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

use crate::message::Buffered;

/// What an origin answers.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    pub(crate) before: Before,
    after: After,
}

#[derive(Debug, Clone)]
enum Body {
    /// Nothing is sent at all, not even a header.
    Silence,
    /// These bytes instead of a response.
    Raw(Vec<u8>),
    /// No body, and no field that says so.
    Absent,
    Sized(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
    UntilClose(Vec<u8>),
    /// Fewer bytes than announced.
    Partial(Vec<u8>, usize),
    /// 101, then every byte comes back.
    Echo,
}

#[derive(Debug, Clone)]
pub(crate) enum Before {
    AtOnce,
    Sleep(Duration),
    Gate(Gate),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    KeepAlive,
    Close,
    Reset,
    Hang,
}

/// Something to wait for that the test opens.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

// === impl Reply ===

impl Reply {
    fn new(status: u16, body: Body) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            before: Before::AtOnce,
            after: After::KeepAlive,
        }
    }

    pub fn text(body: &str) -> Self {
        Self::sized(body.as_bytes().to_vec()).header("Content-Type", "text/plain")
    }

    pub fn sized(body: Vec<u8>) -> Self {
        Self::new(200, Body::Sized(body))
    }

    pub fn chunked(chunks: &[&[u8]]) -> Self {
        Self::new(
            200,
            Body::Chunked(chunks.iter().map(|chunk| chunk.to_vec()).collect()),
        )
    }

    /// A body that ends with the connection.
    pub fn until_close(body: &str) -> Self {
        let mut reply = Self::new(200, Body::UntilClose(body.into()));
        reply.after = After::Close;
        reply
    }

    pub fn empty(status: u16) -> Self {
        Self::new(status, Body::Absent)
    }

    pub fn status(status: u16) -> Self {
        Self::new(status, Body::Sized(Vec::new()))
    }

    pub fn json(body: &serde_json::Value) -> Self {
        Self::sized(body.to_string().into_bytes()).header("Content-Type", "application/json")
    }

    /// These bytes instead of a response, then the end of the connection.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        let mut reply = Self::new(0, Body::Raw(bytes.as_ref().to_vec()));
        reply.after = After::Close;
        reply
    }

    /// The beginning of a body of `announced` bytes, then the end of the connection.
    pub fn partial(body: &str, announced: usize) -> Self {
        let mut reply = Self::new(200, Body::Partial(body.into(), announced));
        reply.after = After::Close;
        reply
    }

    /// Never answers.
    pub fn hang() -> Self {
        let mut reply = Self::new(0, Body::Silence);
        reply.after = After::Hang;
        reply
    }

    /// Breaks off (RST) before the first byte.
    pub fn reset() -> Self {
        let mut reply = Self::new(0, Body::Silence);
        reply.after = After::Reset;
        reply
    }

    /// Ends the connection before the first byte.
    pub fn close() -> Self {
        let mut reply = Self::new(0, Body::Silence);
        reply.after = After::Close;
        reply
    }

    /// Agrees to an upgrade, and then sends back what it receives.
    pub fn upgrade(protocol: &str) -> Self {
        let mut reply = Self::new(101, Body::Echo);
        reply.after = After::Close;
        reply
            .header("Upgrade", protocol)
            .header("Connection", "Upgrade")
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Waits this long before the first byte.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.before = Before::Sleep(delay);
        self
    }

    /// Waits for the gate before the first byte.
    #[must_use]
    pub fn when(mut self, gate: &Gate) -> Self {
        self.before = Before::Gate(gate.clone());
        self
    }

    /// Stops in the middle instead of ending the connection.
    #[must_use]
    pub fn then_hang(mut self) -> Self {
        self.after = After::Hang;
        self
    }

    /// Says so and ends the connection after the answer.
    #[must_use]
    pub fn then_close(mut self) -> Self {
        self.after = After::Close;
        self.header("Connection", "close")
    }

    pub(crate) async fn send(
        &self,
        io: &mut Buffered<TcpStream>,
        method: &str,
    ) -> io::Result<After> {
        let mut head = format!("HTTP/1.1 {} Because\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let (field, mut body) = match &self.body {
            Body::Silence => return Ok(self.after),
            Body::Raw(bytes) => {
                io.stream.write_all(bytes).await?;
                return Ok(self.after);
            }
            Body::Absent | Body::Echo => (None, Vec::new()),
            Body::Sized(body) => (
                Some(format!("Content-Length: {}", body.len())),
                body.clone(),
            ),
            Body::Partial(body, announced) => {
                (Some(format!("Content-Length: {announced}")), body.clone())
            }
            Body::UntilClose(body) => (Some("Connection: close".to_owned()), body.clone()),
            Body::Chunked(chunks) => {
                let mut body = Vec::new();
                for chunk in chunks.iter().chain([&Vec::new()]) {
                    body.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    body.extend(chunk);
                    body.extend(b"\r\n");
                }
                (Some("Transfer-Encoding: chunked".to_owned()), body)
            }
        };
        if let Some(field) = field {
            head.push_str(&field);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        if method == "HEAD" {
            body.clear();
        }
        io.stream.write_all(head.as_bytes()).await?;
        io.stream.write_all(&body).await?;
        if matches!(self.body, Body::Echo) {
            let mut bytes = std::mem::take(&mut io.buffer);
            loop {
                io.stream.write_all(&bytes).await?;
                bytes.clear();
                if io.stream.read_buf(&mut bytes).await? == 0 {
                    break;
                }
            }
        }
        Ok(self.after)
    }
}

impl Before {
    pub(crate) async fn wait(&self) {
        match self {
            Before::AtOnce => {}
            Before::Sleep(delay) => tokio::time::sleep(*delay).await,
            Before::Gate(gate) => {
                let _ = gate.0.subscribe().wait_for(|open| *open).await;
            }
        }
    }
}

// === impl Gate ===

impl Gate {
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }
}
