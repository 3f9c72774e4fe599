//! A server that wants a certificate of its clients.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use weir_load::{
    progress::NoProgress,
    run::{RunError, RunOptions, drive},
    scenario::Scenario,
    stop::StopToken,
    summary::Summary,
    target::Target,
};

use crate::ENGINES;

/// An authority, a server that asks for certificates of it, and files for clients.
struct Guarded {
    address: SocketAddr,
    folder: tempfile::TempDir,
    /// Requests of clients that had shown a certificate.
    served: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Guarded {
    /// With `versions` of TLS.
    fn start(versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        weir_api::tls::provide();
        let folder = tempfile::tempdir().unwrap();
        let (known, unknown) = (authority(), authority());
        std::fs::write(folder.path().join("ca.pem"), known.pem()).unwrap();
        for (name, issuer) in [("client", &known), ("stranger", &unknown)] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, issuer).unwrap();
            let file = |end: &str| folder.path().join(format!("{name}{end}"));
            std::fs::write(file(".pem"), certificate.pem()).unwrap();
            std::fs::write(file("-key.pem"), key.serialize_pem()).unwrap();
        }
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = params.signed_by(&key, &known).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(known.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
        let mut config = ServerConfig::builder_with_protocol_versions(versions)
            .with_client_cert_verifier(verifier.unwrap())
            .with_single_cert(
                vec![own.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let guarded = Self {
            address: listener.local_addr().unwrap(),
            folder,
            served: Arc::default(),
            stopped: Arc::default(),
        };
        let (served, stopped) = (guarded.served.clone(), guarded.stopped.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (config, served) = (config.clone(), served.clone());
                std::thread::spawn(move || serve(stream, config, &served));
            }
        });
        guarded
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One user for a moment, with the certificate of `client`, if any.
    fn drive(&self, engine: &str, client: Option<&str>) -> Result<Summary, RunError> {
        let ca = self.file("ca.pem");
        let own = client.map_or_else(String::new, |name| {
            format!(
                "certificate = {:?}\nkey = {:?}\n",
                self.file(&format!("{name}.pem")),
                self.file(&format!("{name}-key.pem"))
            )
        });
        let source = format!(
            "name = \"t\"\nduration = \"300ms\"\nengine = \"{engine}\"\n\
             [load]\nmodel = \"closed\"\nusers = 1\nthink_time = \"10ms\"\n\
             [tls]\nca = {ca:?}\n{own}\
             [[requests]]\nname = \"root\"\npath = \"/\"\n"
        );
        let scenario = Scenario::parse(&source, "t").unwrap();
        let target = Target::new(&[format!("https://{}", self.address)], &[]).unwrap();
        drive(
            &scenario,
            &target,
            &RunOptions::default(),
            Arc::new(NoProgress),
            &StopToken::new(),
        )
        .map(|outcome| outcome.summary)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers until the client is gone, or is refused.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, served: &AtomicU64) {
    let session = ServerConnection::new(config).unwrap();
    let mut reader = BufReader::new(StreamOwned::new(session, stream));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(length) if length > 0 => {}
                _ => {
                    drain(reader.into_inner());
                    return;
                }
            }
        }
        served.fetch_add(1, Ordering::Relaxed);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if reader.get_mut().write_all(answer).is_err() {
            return;
        }
    }
}

/// Tells the client why, and reads on: closing with something unread would reset the connection
/// before the client has heard the reason.
fn drain(stream: StreamOwned<ServerConnection, TcpStream>) {
    let (mut session, mut socket) = stream.into_parts();
    while session.wants_write() && session.write_tls(&mut socket).is_ok() {}
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = std::io::copy(&mut socket, &mut std::io::sink());
}

/// What went wrong: failures of a run, or the reason why there was none.
fn failures(result: Result<Summary, RunError>) -> String {
    match result {
        // TLS 1.2 refuses within the handshake: the target is not driven at all.
        Err(error) => {
            let told = error.to_string();
            let kind = told
                .split_once(" (")
                .and_then(|(_, rest)| rest.split_once(':'));
            kind.map_or(told.clone(), |(kind, _)| kind.to_owned())
        }
        Ok(summary) => {
            assert_eq!(summary.ok, 0);
            assert!(summary.errors > 0);
            let kinds: Vec<_> = summary.failures.iter().map(|f| f.kind.as_str()).collect();
            kinds.join(", ")
        }
    }
}

#[test]
fn both_engines_show_their_certificate_to_servers_that_want_one() {
    use rustls::version::{TLS12, TLS13};
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let guarded = Guarded::start(versions);
        for engine in ENGINES {
            let before = guarded.served.load(Ordering::Relaxed);
            let summary = guarded.drive(engine, Some("client")).unwrap();
            assert_eq!(summary.errors, 0, "{engine}: {:?}", summary.failures);
            let served = guarded.served.load(Ordering::Relaxed) - before;
            assert!(summary.ok > 0 && served >= summary.ok, "{engine}");
            for client in [None, Some("stranger")] {
                let told = failures(guarded.drive(engine, client));
                assert_eq!(told, "tls_failed", "{engine} {client:?} {versions:?}");
            }
            let after = guarded.served.load(Ordering::Relaxed) - before;
            assert_eq!(after, served, "nobody else is served");
        }
    }
}
