//! A server behind the proxy that does exactly what a test tells it to, also what no server should do.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    message::{Buffered, Framing, Request},
    reply::{After, Reply},
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
