//! A server of a few lines that does exactly what a test tells it to.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What to do with a request.
pub(crate) enum Reply {
    /// Answer with these bytes.
    Bytes(Vec<u8>),
    /// Answer with these bytes and close.
    Last(Vec<u8>),
    /// Close without an answer.
    Close,
    /// Reset the connection.
    Reset,
    /// Never answer.
    Hang,
}

/// A good answer with this body.
pub(crate) fn ok(body: &str) -> Reply {
    answer("200 OK", body)
}

pub(crate) fn answer(status: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").into())
}

/// A request as the server saw it.
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: String,
    /// Number of the request, from 0, over all connections.
    pub(crate) number: u64,
}

/// A server with a thread for each connection; stops accepting when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicU64>,
    pub(crate) requests: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_counting(reply, Arc::default())
    }

    /// A server that counts in `ended` the connections that are over.
    pub(crate) fn start_counting(
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        ended: Arc<AtomicU64>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            accepted: Arc::default(),
            requests: Arc::default(),
            stopped: Arc::default(),
        };
        let (accepted, requests) = (server.accepted.clone(), server.requests.clone());
        let stopped = server.stopped.clone();
        let reply = Arc::new(reply);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                accepted.fetch_add(1, Ordering::Relaxed);
                let (reply, requests) = (reply.clone(), requests.clone());
                let ended = ended.clone();
                std::thread::spawn(move || {
                    let _ = connection(stream, reply.as_ref(), &requests);
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        server
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn connection(
    stream: TcpStream,
    reply: &(dyn Fn(&Seen) -> Reply + Send + Sync),
    requests: &AtomicU64,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        loop {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
            if head.ends_with("\r\n\r\n") {
                break;
            }
        }
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.trim().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let seen = Seen {
            head,
            body: String::from_utf8(body).unwrap(),
            number: requests.fetch_add(1, Ordering::Relaxed),
        };
        match reply(&seen) {
            Reply::Bytes(bytes) => reader.get_mut().write_all(&bytes)?,
            Reply::Last(bytes) => return reader.get_mut().write_all(&bytes),
            Reply::Close => return Ok(()),
            Reply::Reset => {
                let socket = socket2::SockRef::from(reader.get_ref());
                socket.set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            Reply::Hang => std::thread::sleep(super::PATIENCE),
        }
    }
}
