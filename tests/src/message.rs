//! HTTP/1 messages as they are on the wire: just enough to look at every byte that matters.

use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Header fields in order, as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

/// How the end of a body was marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body at all.
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// A request as an origin saw it.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub version: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub framing: Framing,
}

/// A response as a client saw it.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub version: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// Answers of 1xx that came before it.
    pub interim: Vec<u16>,
}

impl Headers {
    /// The only field of that name.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.all(name);
        let first = all.next();
        assert!(all.next().is_none(), "{name} more than once: {self}");
        first
    }

    /// Every field of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(n, v)| write!(f, "\n  {n}: {v}"))
    }
}

impl Request {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Response {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// Itself, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.headers, self.text());
        self
    }
}

/// A stream with what has been read of it too far.
#[derive(Debug)]
pub struct Buffered<S> {
    pub stream: S,
    pub buffer: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Buffered<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Reads some more; false at the end of the stream.
    pub async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// Reads up to and with `end`; none if the stream ends before the first byte.
    async fn until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|w| w == end) {
                return Ok(Some(self.buffer.drain(..at + end.len()).collect()));
            }
            if !self.fill().await? {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(unexpected_end("a header or a line"));
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill().await? {
                return Err(unexpected_end("a body"));
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self
                .until(b"\r\n")
                .await?
                .ok_or_else(|| unexpected_end("a chunk"))?;
            let line = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(line.trim_end(), 16)
                .map_err(|_| invalid(format!("chunk size {line:?}")))?;
            if size == 0 {
                // Trailers, up to an empty line.
                while self
                    .until(b"\r\n")
                    .await?
                    .is_some_and(|line| line != b"\r\n")
                {}
                return Ok(body);
            }
            body.extend(self.exactly(size).await?);
            if self.exactly(2).await? != b"\r\n" {
                return Err(invalid("no line end after a chunk".to_owned()));
            }
        }
    }

    /// Start line and fields; none if the stream has ended.
    pub async fn head(&mut self) -> io::Result<Option<(String, Headers)>> {
        let Some(head) = self.until(b"\r\n\r\n").await? else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .map(|line| {
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| invalid(format!("field {line:?}")))?;
                Ok((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Some((start, Headers(fields))))
    }

    /// The body that the fields announce.
    pub async fn body(
        &mut self,
        headers: &Headers,
        is_request: bool,
    ) -> io::Result<(Vec<u8>, Framing)> {
        if let Some(coding) = headers.get("transfer-encoding") {
            if headers.has("content-length") {
                return Err(invalid(
                    "both Transfer-Encoding and Content-Length".to_owned(),
                ));
            }
            if !coding.eq_ignore_ascii_case("chunked") {
                return Err(invalid(format!("Transfer-Encoding: {coding}")));
            }
            return Ok((self.chunked().await?, Framing::Chunked));
        }
        if let Some(length) = headers.get("content-length") {
            let length = length
                .parse()
                .map_err(|_| invalid(format!("Content-Length {length:?}")))?;
            return Ok((self.exactly(length).await?, Framing::Length));
        }
        if is_request {
            return Ok((Vec::new(), Framing::None));
        }
        while self.fill().await? {}
        Ok((std::mem::take(&mut self.buffer), Framing::UntilClose))
    }

    /// The next response; none if the stream has ended. `method` decides whether it has a body.
    pub async fn response(&mut self, method: &str) -> io::Result<Option<Response>> {
        let mut interim = Vec::new();
        loop {
            let Some((start, headers)) = self.head().await? else {
                return Ok(None);
            };
            let mut words = start.splitn(3, ' ');
            let version = words.next().unwrap_or_default().to_owned();
            let status: u16 = words
                .next()
                .and_then(|word| word.parse().ok())
                .ok_or_else(|| invalid(format!("status line {start:?}")))?;
            if status < 200 && status != 101 {
                interim.push(status);
                continue;
            }
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let (body, framing) = if bodiless {
                (Vec::new(), Framing::None)
            } else {
                self.body(&headers, false).await?
            };
            return Ok(Some(Response {
                status,
                version,
                headers,
                body,
                framing,
                interim,
            }));
        }
    }
}

fn unexpected_end(of: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the connection ended within {of}"),
    )
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
