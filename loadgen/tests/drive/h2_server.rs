//! An HTTP/2 server of a few lines that does exactly what a test tells it to, in clear text.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;

/// What to do with a request.
pub(crate) enum Act {
    /// Answer with 200 at this time.
    Answer(Instant),
    /// End the stream.
    Reset(h2::Reason),
    /// Close the connection without a word.
    Close,
}

/// Addresses that connections came from.
type Peers = Arc<Mutex<HashSet<IpAddr>>>;

/// A server on a thread of its own; stops when dropped.
pub(crate) struct H2Server {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicU64>,
    pub(crate) peers: Peers,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl H2Server {
    /// `act` is given the number of the request, from 0, over all connections.
    pub(crate) fn start(act: impl Fn(u64) -> Act + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let counted = accepted.clone();
        let peers = Peers::default();
        let seen = peers.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let serving = serve(listener, Arc::new(act), counted, seen);
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            accepted,
            peers,
            _stop: stop,
        }
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// A server that takes no request: it answers the first one of each connection with GOAWAY (RFC 9113,
/// 6.8), written by hand because a server that has taken a request says so.
pub(crate) fn goes_away() -> SocketAddr {
    use std::io::{Read as _, Write as _};
    const PREFACE: usize = 24;
    const HEAD: usize = 9;
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; HEAD] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; HEAD + 8] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                stream.write_all(&SETTINGS)?;
                stream.read_exact(&mut [0; PREFACE])?;
                loop {
                    let mut head = [0; HEAD];
                    stream.read_exact(&mut head)?;
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    stream.read_exact(&mut vec![0; length as usize])?;
                    if head[3] == HEADERS {
                        stream.write_all(&GOAWAY)?;
                    }
                }
                #[allow(unreachable_code)]
                std::io::Result::Ok(())
            });
        }
    });
    address
}

type Acts = Arc<dyn Fn(u64) -> Act + Send + Sync>;

async fn serve(listener: std::net::TcpListener, act: Acts, accepted: Arc<AtomicU64>, peers: Peers) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let number = Arc::new(AtomicU64::new(0));
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        peers.lock().unwrap().insert(peer.ip());
        stream.set_nodelay(true).unwrap();
        accepted.fetch_add(1, Ordering::Relaxed);
        let (act, number) = (act.clone(), number.clone());
        tokio::spawn(async move {
            let _ = connection(stream, act, &number).await;
        });
    }
}

async fn connection(
    stream: tokio::net::TcpStream,
    act: Acts,
    number: &AtomicU64,
) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (_, mut reply) = request?;
        match act(number.fetch_add(1, Ordering::Relaxed)) {
            Act::Answer(at) => {
                tokio::spawn(async move {
                    // The runtime rounds up to milliseconds, even what is due now.
                    if at > Instant::now() {
                        tokio::time::sleep_until(at.into()).await;
                    }
                    let mut stream = reply.send_response(http::Response::new(()), false)?;
                    stream.send_data(Bytes::from_static(b"x"), true)
                });
            }
            Act::Reset(reason) => reply.send_reset(reason),
            Act::Close => return Ok(()),
        }
    }
    Ok(())
}
