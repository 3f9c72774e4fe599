//! A server behind the proxy that does exactly what a test tells it to, also what no server should do.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    message::{Buffered, Framing, Request},
    wait::eventually,
    weir::Server,
};

/// An HTTP/1 server in this process.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    seen: Arc<Seen>,
    close_idle: watch::Sender<u32>,
    accepting: JoinHandle<()>,
}

/// What an origin has seen.
#[derive(Debug, Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    serving: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    /// What was not HTTP.
    faults: Mutex<Vec<String>>,
}

/// What an origin answers.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    before: Before,
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
enum Before {
    AtOnce,
    Sleep(Duration),
    Gate(Gate),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    KeepAlive,
    Close,
    Reset,
    Hang,
}

/// Something to wait for that the test opens.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

// === impl Origin ===

impl Origin {
    pub async fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), handler).await
    }

    /// Starts one on an address that is known, for instance that of one that was stopped.
    pub async fn start_on(
        address: SocketAddr,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (close_idle, closing) = watch::channel(0);
        let accepting = tokio::spawn(accept(
            listener,
            Arc::clone(&seen),
            Arc::new(handler),
            closing,
        ));
        Self {
            address,
            seen,
            close_idle,
            accepting,
        }
    }

    /// Answers everything with this.
    pub async fn answering(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    /// Answers every request with its own name, to see which origin was chosen.
    pub async fn named(name: &'static str) -> Self {
        Self::answering(Reply::text(name)).await
    }

    /// Answers with the body of the request.
    pub async fn echo() -> Self {
        Self::start(|request| Reply::sized(request.body.clone())).await
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.seen.open.load(SeqCst)
    }

    /// Requests that have been read and not been answered yet.
    pub fn serving(&self) -> usize {
        self.seen.serving.load(SeqCst)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }

    /// The latest request.
    #[track_caller]
    pub fn last(&self) -> Request {
        self.requests().pop().expect("no request has arrived")
    }

    /// What arrived that was not HTTP.
    pub fn faults(&self) -> Vec<String> {
        self.seen.faults.lock().unwrap().clone()
    }

    /// Waits until this many requests are being served at once.
    pub async fn is_serving(&self, count: usize) {
        eventually(&format!("{count} requests at the origin"), || {
            self.serving() == count
        })
        .await;
    }

    /// Closes the connections that wait for a request, as a server does when its keepalive time runs out.
    pub async fn close_idle(&self) {
        let serving = self.serving();
        self.close_idle.send_modify(|round| *round += 1);
        eventually("idle connections to close", || self.open() <= serving).await;
    }

    /// Stops listening and breaks every connection off.
    pub async fn stop(self) -> SocketAddr {
        self.accepting.abort();
        eventually("the origin to stop", || {
            self.accepting.is_finished() && self.open() == 0
        })
        .await;
        self.address
    }
}

impl Server for Origin {
    fn addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    seen: Arc<Seen>,
    handler: Arc<Handler>,
    closing: watch::Receiver<u32>,
) {
    // Dropped together with this task, which ends all connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        seen.accepted.fetch_add(1, SeqCst);
        let (seen, handler, mut closing) =
            (Arc::clone(&seen), Arc::clone(&handler), closing.clone());
        closing.mark_unchanged();
        let open = Count::up(&seen, |seen| &seen.open);
        connections.spawn(async move {
            let _open = open;
            if let Err(error) = serve(stream, &seen, &*handler, closing).await
                && error.kind() == io::ErrorKind::InvalidData
            {
                seen.faults.lock().unwrap().push(error.to_string());
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    seen: &Arc<Seen>,
    handler: &Handler,
    mut closing: watch::Receiver<u32>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut io = Buffered::new(stream);
    loop {
        let head = tokio::select! {
            head = io.head() => head?,
            _ = closing.changed() => return Ok(()),
        };
        let Some((start, headers)) = head else {
            return Ok(());
        };
        let serving = Count::up(seen, |seen| &seen.serving);
        if headers.has("expect") {
            io.stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await?;
        }
        let (body, framing) = io.body(&headers, true).await?;
        let mut words = start.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let request = Request {
            method: word(),
            target: word(),
            version: word(),
            headers,
            body,
            framing,
        };
        seen.requests.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        let mut gone = [0];
        tokio::select! {
            () = reply.before.wait() => {}
            // The proxy has given up; what it may send early belongs to the next request.
            Ok(0) = io.stream.peek(&mut gone), if io.buffer.is_empty() => return Ok(()),
        }
        let after = reply.send(&mut io, &request.method).await?;
        drop(serving);
        match after {
            After::KeepAlive => {}
            After::Close => return Ok(()),
            After::Reset => {
                io.stream.set_zero_linger()?;
                return Ok(());
            }
            After::Hang => {
                let _serving = Count::up(seen, |seen| &seen.serving);
                // Until the proxy gives up.
                while io.fill().await? {}
                return Ok(());
            }
        }
    }
}

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

    async fn send(&self, io: &mut Buffered<TcpStream>, method: &str) -> io::Result<After> {
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
    async fn wait(&self) {
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

impl Request {
    /// Whether the body was chunked.
    pub fn is_chunked(&self) -> bool {
        self.framing == Framing::Chunked
    }
}

/// Counts one up for as long as it lives.
struct Count(Arc<Seen>, fn(&Seen) -> &AtomicUsize);

impl Count {
    fn up(seen: &Arc<Seen>, of: fn(&Seen) -> &AtomicUsize) -> Self {
        of(seen).fetch_add(1, SeqCst);
        Self(Arc::clone(seen), of)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, SeqCst);
    }
}
