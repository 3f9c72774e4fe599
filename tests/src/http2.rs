//! Servers that speak HTTP/2: one that does as a test tells it, on the `h2` crate, and one for what `h2` would not
//! do, frame by frame.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, Response, request::Parts};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use crate::{wait::eventually, weir::Server};

/// A server in this process that speaks HTTP/2 without being asked.
#[derive(Debug)]
pub struct Http2Origin {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
}

/// One request that a test answers.
#[derive(Debug)]
pub struct Exchange {
    pub head: Parts,
    pub body: RecvStream,
    pub answer: SendResponse<Bytes>,
    /// The how-manieth request of its connection it is, from 0.
    pub nth: usize,
    pub connection: Connection,
}

/// What a test does to a connection.
#[derive(Debug, Clone)]
pub struct Connection(mpsc::UnboundedSender<Command>);

#[derive(Debug)]
enum Command {
    Goodbye,
    Kill,
}

type Handler = dyn Fn(Exchange) -> JoinHandle<()> + Send + Sync;

// === impl Http2Origin ===

impl Http2Origin {
    /// Answers every request with what `handler` does.
    pub async fn start<F>(handler: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_streams(100, handler).await
    }

    /// The same, allowing so many streams at once on a connection.
    pub async fn with_streams<F>(
        streams: u32,
        handler: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let handler: Arc<Handler> = Arc::new(move |it| tokio::spawn(handler(it)));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&seen), streams, handler));
        Self {
            address,
            seen,
            accepting,
        }
    }

    /// Answers everything with this text.
    pub async fn named(name: &'static str) -> Self {
        Self::start(move |it| it.text(200, name)).await
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.seen.accepted.load(SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.seen.open.load(SeqCst)
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.seen.requests.load(SeqCst)
    }

    /// Stops, breaking every connection.
    pub async fn stop(&self) {
        self.accepting.abort();
        eventually("the server to stop", || {
            self.accepting.is_finished() && self.open() == 0
        })
        .await;
    }
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server for Http2Origin {
    fn addr(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>, streams: u32, handler: Arc<Handler>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        seen.accepted.fetch_add(1, SeqCst);
        let (seen, handler) = (Arc::clone(&seen), Arc::clone(&handler));
        connections.spawn(async move {
            let _open = Open::new(&seen);
            serve(stream, &seen, streams, &*handler).await;
        });
    }
}

struct Open<'a>(&'a Seen);

impl<'a> Open<'a> {
    fn new(seen: &'a Seen) -> Self {
        seen.open.fetch_add(1, SeqCst);
        Self(seen)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

async fn serve(stream: TcpStream, seen: &Seen, streams: u32, handler: &Handler) {
    let (commands, mut told) = mpsc::unbounded_channel();
    let handshake = Builder::new()
        .max_concurrent_streams(streams)
        .handshake(stream)
        .await;
    let Ok(mut connection) = handshake else {
        return;
    };
    let mut nth = 0;
    loop {
        tokio::select! {
            command = told.recv() => match command {
                Some(Command::Goodbye) => connection.graceful_shutdown(),
                Some(Command::Kill) | None => return,
            },
            request = connection.accept() => {
                let Some(Ok((request, answer))) = request else {
                    return;
                };
                seen.requests.fetch_add(1, SeqCst);
                let (head, body) = request.into_parts();
                let connection = Connection(commands.clone());
                handler(Exchange { head, body, answer, nth, connection });
                nth += 1;
            }
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Takes no more requests and ends once those under way are answered.
    pub fn say_goodbye(&self) {
        let _ = self.0.send(Command::Goodbye);
    }

    /// Breaks off without a word.
    pub fn kill(&self) {
        let _ = self.0.send(Command::Kill);
    }
}

// === impl Exchange ===

impl Exchange {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// Answers with text, after the request has been read.
    pub async fn text(mut self, status: u16, text: impl Into<Bytes>) {
        read_all(&mut self.body).await;
        let mut body = self.begin(status, &[]);
        let _ = body.send_data(text.into(), true);
    }

    /// Sends the head of an answer.
    pub fn begin(&mut self, status: u16, fields: &[(&'static str, &str)]) -> SendStream<Bytes> {
        let head = head(status, fields);
        self.answer.send_response(head, false).unwrap()
    }

    /// Sends an answer that is nothing but a head.
    pub fn head_only(mut self, status: u16, fields: &[(&'static str, &str)]) {
        let head = head(status, fields);
        self.answer.send_response(head, true).unwrap();
    }

    pub fn reset(mut self, reason: Reason) {
        self.answer.send_reset(reason);
    }
}

fn head(status: u16, fields: &[(&'static str, &str)]) -> Response<()> {
    let mut head = Response::builder().status(status);
    for (name, value) in fields {
        head = head.header(*name, *value);
    }
    head.body(()).unwrap()
}

/// A field section.
pub fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let fields = fields.iter();
    fields
        .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
        .collect()
}

/// Reads a body to its end, or to where it breaks. Returns it with its trailers.
pub async fn read_all(body: &mut RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        all.extend_from_slice(&piece);
    }
    (all, body.trailers().await.ok().flatten())
}

/// Sends all of it, as fast as the receiver takes it. Returns whether it was taken.
pub async fn send_all(to: &mut SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| to.poll_capacity(cx)).await;
        let Some(Ok(n)) = room else { return false };
        let part = data.split_to(n.min(data.len()));
        if to.send_data(part, false).is_err() {
            return false;
        }
    }
    true
}

/// A server that answers frames with frames.
#[derive(Debug)]
pub struct FrameOrigin {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;

    /// GOAWAY (RFC 9113 section 6.8).
    pub fn goaway(last_stream: u32, reason: Reason) -> Self {
        let mut payload = last_stream.to_be_bytes().to_vec();
        payload.extend(u32::from(reason).to_be_bytes());
        Self {
            kind: 7,
            flags: 0,
            stream: 0,
            payload,
        }
    }

    async fn read(from: &mut TcpStream) -> std::io::Result<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload).await?;
        Ok(Self {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    async fn write(&self, to: &mut TcpStream) -> std::io::Result<()> {
        let mut bytes = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        to.write_all(&bytes).await
    }
}

impl FrameOrigin {
    /// Keeps settings and pings up by itself; what is sent for other frames `answer` says.
    pub async fn start(answer: impl Fn(&Frame) -> Vec<Frame> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (Arc::clone(&accepted), Arc::new(answer));
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                let answer = Arc::clone(&answer);
                connections.spawn(async move { frames(stream, &*answer).await.ok() });
            }
        });
        Self {
            address,
            accepted,
            accepting,
        }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

impl Drop for FrameOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server for FrameOrigin {
    fn addr(&self) -> SocketAddr {
        self.address
    }
}

async fn frames(
    mut stream: TcpStream,
    answer: &(dyn Fn(&Frame) -> Vec<Frame> + Sync),
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    let settings = Frame {
        kind: Frame::SETTINGS,
        flags: 0,
        stream: 0,
        payload: Vec::new(),
    };
    settings.write(&mut stream).await?;
    loop {
        let mut frame = Frame::read(&mut stream).await?;
        let acks = matches!(frame.kind, Frame::SETTINGS | Frame::PING);
        if acks && frame.flags & Frame::ACK == 0 {
            frame.flags = Frame::ACK;
            if frame.kind == Frame::SETTINGS {
                frame.payload.clear();
            }
            frame.write(&mut stream).await?;
            continue;
        }
        for frame in answer(&frame) {
            frame.write(&mut stream).await?;
        }
    }
}
