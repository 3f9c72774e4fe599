//! Floods of the admin API: whatever its clients do, probes, scrapes, whoever has a token, and the Unix socket are
//! answered, and afterwards everything is free again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UnixStream},
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use weir_tests::{
    Origin, Weir,
    process::run,
    wait::{BOUND, eventually},
};

/// How long an answer may take beside a flood, on a machine that has nothing else to do.
const PROMPT: Duration = Duration::from_secs(1);
/// How long floods are kept up.
const LASTS: Duration = Duration::from_secs(4);
/// How long a client of a flood that was turned away waits until it comes again.
const AGAIN: Duration = Duration::from_millis(500);

/// A proxy whose admin API will be flooded.
struct Target {
    weir: Weir,
    socket: PathBuf,
    token: Option<String>,
    _dir: tempfile::TempDir,
}

impl Target {
    /// `tokens`: whether one is needed.
    async fn start(tokens: bool, more: &str) -> Self {
        // Floods take many descriptors here too.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let mut builder = Weir::before(&[&Origin::named("a").await])
            .with(&format!("admin.socket = '{}'", socket.display()))
            .with(more);
        let mut token = None;
        if tokens {
            let file = dir.path().join("tokens.toml").display().to_string();
            let args = ["token", "new", "ana", "--file", &file, "--scope", "read"];
            let made = run("weir", &args).await;
            token = Some(made.stdout.trim().to_owned());
            builder = builder.with(&format!("admin.tokens = '{file}'"));
        }
        Self {
            weir: builder.start().await,
            socket,
            token,
            _dir: dir,
        }
    }

    fn address(&self) -> SocketAddr {
        self.weir.admin.address().parse().unwrap()
    }

    /// The descriptors that the process has open.
    fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.weir.process.id());
        std::fs::read_dir(path).unwrap().count()
    }

    /// Asks everything that must be answered, each on a connection of its own; the longest that one took.
    async fn probe(&self) -> Duration {
        let mut longest = Duration::ZERO;
        let shown = self.token.as_deref().unwrap_or_default();
        let token = format!("Authorization: Bearer {shown}\r\n");
        for (path, headers) in [
            ("/healthz", ""),
            ("/readyz", ""),
            ("/metrics", &*token),
            ("/v1/settings", &*token),
        ] {
            let begun = Instant::now();
            let stream = TcpStream::connect(self.address()).await.unwrap();
            let status = status(stream, path, headers).await;
            assert_eq!(status, Ok(200), "{path} after {:?}", begun.elapsed());
            longest = longest.max(begun.elapsed());
        }
        let begun = Instant::now();
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let status = status(stream, "/v1/settings", "").await;
        assert_eq!(status, Ok(200), "Unix socket after {:?}", begun.elapsed());
        longest.max(begun.elapsed())
    }

    /// Keeps a flood of so many clients up for a while, and looks that everything is answered meanwhile.
    async fn withstands(&self, clients: usize, flood: Flood) {
        let mut prompt = PROMPT;
        for _ in 0..3 {
            prompt = prompt.max(10 * self.probe().await);
        }
        // Connections of those that asked until now may still be closing.
        let mut before = self.descriptors();
        let idle = Instant::now();
        while idle.elapsed() < Duration::from_millis(300) {
            before = before.min(self.descriptors());
            sleep(Duration::from_millis(20)).await;
        }
        // One flood at a time: each is meant to load the machine alone.
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = TURN.lock().await;
        let flooding = flood.start(clients, self.address());
        let begun = Instant::now();
        let mut rounds = Vec::new();
        while begun.elapsed() < LASTS || rounds.len() < 5 {
            let took = self.probe().await;
            // One round may be held up by a busy machine, of which the flood takes its share too.
            assert!(took < 5 * prompt, "an answer took {took:?}");
            rounds.push(took);
            // As probes do, so that the flood is what loads the machine.
            sleep(Duration::from_millis(50)).await;
        }
        rounds.sort();
        let median = rounds[rounds.len() / 2];
        assert!(median < prompt, "answers took {rounds:?}");
        assert!(self.descriptors() <= before + MOST_DESCRIPTORS);
        drop(flooding);
        eventually("the descriptors to be free again", || {
            self.descriptors() <= before
        })
        .await;
        assert!(self.probe().await < prompt);
    }
}

/// 256 connections over TCP, 64 over the Unix socket, 32 streams of events at each; and some that are being
/// closed.
const MOST_DESCRIPTORS: usize = 256 + 64 + 2 * 32 + 64;

/// The status of an answer.
async fn status(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    headers: &str,
) -> Result<u16, String> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    match timeout(BOUND, exchange).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer".to_owned()),
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.ok_or_else(|| format!("answer {text:?}"))
}

/// What the clients of a flood do, again and again.
#[derive(Debug, Clone, Default)]
struct Flood {
    /// What is sent at once.
    first: Vec<u8>,
    /// What is sent bit by bit afterwards, for ever.
    drip: &'static [u8],
    /// Whether what comes is read.
    reads: bool,
    /// Whether what was sent is sent again after each piece of an answer.
    repeats: bool,
    /// Whether clients have addresses of their own.
    addresses: bool,
}

impl Flood {
    fn of(first: impl Into<Vec<u8>>) -> Self {
        Self {
            first: first.into(),
            reads: true,
            ..Self::default()
        }
    }

    /// Floods from a thread of its own, until what is returned is dropped.
    fn start(self, clients: usize, address: SocketAddr) -> oneshot::Sender<()> {
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut all = JoinSet::new();
                let flood = Arc::new(self);
                for n in 0..clients {
                    let flood = Arc::clone(&flood);
                    all.spawn(async move { flood.client(n, address).await });
                }
                // Dropping the other end stops it.
                let _ = stopped.await;
            });
        });
        stop
    }

    async fn client(&self, n: usize, address: SocketAddr) {
        loop {
            if let Ok(stream) = self.connect(n, address).await {
                // It ends when the proxy closes the connection.
                let _ = self.hold(stream).await;
            }
            sleep(AGAIN).await;
        }
    }

    async fn connect(&self, n: usize, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.addresses {
            let [high, low] = u16::try_from(n + 2).unwrap_or(2).to_be_bytes();
            socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into())?;
        }
        if !self.reads {
            socket.set_recv_buffer_size(4096)?;
        }
        socket.connect(address).await
    }

    async fn hold(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.write_all(&self.first).await?;
        let mut buffer = vec![0; 16 << 10];
        loop {
            if !self.reads {
                // Writing fails when the proxy has closed.
                sleep(Duration::from_secs(1)).await;
                stream.write_all(&self.first).await?;
                continue;
            }
            let wait = Duration::from_millis(if self.drip.is_empty() { 5_000 } else { 100 });
            match timeout(wait, stream.read(&mut buffer)).await {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(_)) if self.repeats => stream.write_all(&self.first).await?,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => stream.write_all(self.drip).await?,
            }
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[tokio::test]
async fn one_byte_and_then_nothing() {
    let target = Target::start(true, "").await;
    target.withstands(300, Flood::of("G")).await;
}

#[tokio::test]
async fn not_even_one_byte() {
    let target = Target::start(true, "").await;
    target.withstands(300, Flood::of("")).await;
}

#[tokio::test]
async fn a_thousand_connections_at_once() {
    let target = Target::start(true, "").await;
    target.withstands(1000, Flood::of("GET /he")).await;
}

#[tokio::test]
async fn heads_that_come_byte_by_byte_from_many_addresses() {
    let target = Target::start(true, "").await;
    let flood = Flood {
        drip: b"x",
        addresses: true,
        ..Flood::of("GET /healthz HTTP/1.1\r\nX-Slow: ")
    };
    target.withstands(400, flood).await;
}

#[tokio::test]
async fn bodies_that_come_byte_by_byte() {
    // Without tokens, whoever reaches the API is trusted: its requests are worked on.
    let target = Target::start(false, "").await;
    let head = "PATCH /v1/settings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{";
    let flood = Flood {
        drip: b" ",
        ..Flood::of(head)
    };
    target.withstands(300, flood).await;
}

#[tokio::test]
async fn answers_that_nobody_reads() {
    let target = Target::start(false, "").await;
    for path in ["/v1/openapi.json", "/metrics", "/v1/events"] {
        let flood = Flood {
            reads: false,
            // One address alone would be over its rate, and the probes with it.
            addresses: true,
            ..Flood::of(get(path).repeat(20))
        };
        target.withstands(300, flood).await;
    }
}

#[tokio::test]
async fn streams_of_events_that_nobody_needs() {
    let target = Target::start(false, "").await;
    let flood = Flood {
        addresses: true,
        ..Flood::of(get("/v1/events"))
    };
    target.withstands(400, flood).await;
}

#[tokio::test]
async fn connections_that_were_served_and_stay() {
    let target = Target::start(true, "").await;
    target.withstands(400, Flood::of(get("/healthz"))).await;
}

#[tokio::test]
async fn requests_one_after_the_other_without_a_token() {
    let target = Target::start(true, "").await;
    let flood = Flood {
        repeats: true,
        ..Flood::of(get("/v1/settings"))
    };
    target.withstands(32, flood).await;
}

#[tokio::test]
async fn handshakes_that_are_never_completed() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!(
        "admin.tls = {{ cert = '{}', key = '{}' }}",
        cert.display(),
        key.display()
    );
    let target = Target::start(false, &tls).await;
    // The head of a record that says it holds 512 bytes, of which two come.
    let flood = Flood::of([0x16, 3, 1, 2, 0, 1, 0]);
    let _flooding = flood.start(300, target.address());
    weir_api::tls::provide();
    let certificate = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([certificate])
        // A handshake each time.
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/healthz", target.address().port());
    let begun = Instant::now();
    while begun.elapsed() < LASTS {
        let asked = Instant::now();
        let answer = timeout(BOUND, client.get(&url).send()).await;
        assert_eq!(answer.unwrap().unwrap().status(), 200);
        let stream = UnixStream::connect(&target.socket).await.unwrap();
        assert_eq!(status(stream, "/healthz", "").await, Ok(200));
        // Two answers and a handshake, on a machine that may be busy.
        assert!(asked.elapsed() < 3 * PROMPT, "{:?}", asked.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_unix_socket_is_flooded() {
    let target = Target::start(true, "").await;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = UnixStream::connect(&target.socket).await.unwrap();
        // One that had to give way already.
        let _ = stream.write_all(b"G").await;
        held.push(stream);
    }
    assert!(target.probe().await < 3 * PROMPT);
}

#[tokio::test]
async fn a_client_that_waits_too_long_is_closed() {
    let target = Target::start(true, "").await;
    let mut slow = TcpStream::connect(target.address()).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nX: ")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut buffer = [0; 16];
    loop {
        match timeout(Duration::from_millis(200), slow.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => {}
            Err(_) if slow.write_all(b"x").await.is_err() => break,
            Err(_) => assert!(begun.elapsed() < 3 * BOUND, "still open"),
        }
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(9), "closed after {took:?}");
}
