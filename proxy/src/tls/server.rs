//! TLS of a listener.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};
use weir_api::config::{ClientAuth, ListenerTls, TlsVersion};
use weir_api::settings::Path as FieldPath;

use super::names::ByName;
use super::pair::{Pair, Wrong};
use super::read::{self, FileError};
use super::stamp::Watch;
use super::{Refreshed, TlsProblem, TlsProblems};

/// Sessions of TLS 1.2 clients without tickets that are remembered.
const REMEMBERED_SESSIONS: usize = 1024;

/// The protocols offered to clients (ALPN, RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2, else HTTP/1.1.
    Http2,
}

/// TLS of one listener: the configuration of the next handshake, replaced as a whole when files change.
/// A handshake under way keeps the one that it began with, and so does an open connection.
#[derive(Debug)]
pub struct ServerTls {
    folder: PathBuf,
    alpn: Alpn,
    current: ArcSwap<Loaded>,
    watched: Mutex<Watched>,
}

/// What is in use.
#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    pairs: Vec<Pair>,
}

#[derive(Debug)]
struct Watched {
    table: ListenerTls,
    watch: Watch,
    sessions: Sessions,
}

/// What resumption needs. It outlives a change of certificates, but not one of who may connect: a ticket
/// stands for a client certificate that was verified under the rules of its time.
#[derive(Debug, Clone)]
struct Sessions {
    tickets: Arc<dyn ProducesTickets>,
    remembered: Arc<dyn StoresServerSessions>,
    rules: ClientRules,
}

/// Which clients may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ClientRules {
    auth: ClientAuth,
    /// The authorities, as they stand in their file.
    authorities: Vec<Vec<u8>>,
}

impl ServerTls {
    /// Reads and checks the files of a table; relative paths are relative to `folder`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(
        table: &ListenerTls,
        folder: &Path,
        alpn: Alpn,
        now: i64,
    ) -> Result<Self, TlsProblems> {
        let watch = Watch::start(files(table, folder));
        let (loaded, sessions) = load(table, folder, alpn, now, None)?;
        Ok(Self {
            folder: folder.to_owned(),
            alpn,
            current: ArcSwap::from_pointee(loaded),
            watched: Mutex::new(Watched {
                table: table.clone(),
                watch,
                sessions,
            }),
        })
    }

    /// The configuration of the next handshake.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The certificates in use, the default first.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        self.current.load().pairs.clone()
    }

    /// Reads the files of a table that may be another one.
    ///
    /// # Errors
    /// Everything that is wrong with them; then what is in use stays.
    pub fn replace(&self, table: &ListenerTls, now: i64) -> Result<(), TlsProblems> {
        let mut watched = self.watched.lock();
        let watch = Watch::start(files(table, &self.folder));
        let known = Some(&watched.sessions);
        let (loaded, sessions) = load(table, &self.folder, self.alpn, now, known)?;
        self.current.store(Arc::new(loaded));
        *watched = Watched {
            table: table.clone(),
            watch,
            sessions,
        };
        Ok(())
    }

    /// Reads the files again if they have changed since, and have settled. To be called every few seconds.
    pub fn refresh(&self, now: i64) -> Refreshed {
        let table = {
            let mut watched = self.watched.lock();
            if !watched.watch.is_due() {
                return Refreshed::Unchanged;
            }
            watched.table.clone()
        };
        match self.replace(&table, now) {
            Ok(()) => Refreshed::Replaced,
            Err(problems) => Refreshed::Kept(problems),
        }
    }
}

fn files(table: &ListenerTls, folder: &Path) -> Vec<PathBuf> {
    let pairs = table.certificates.iter();
    pairs
        .flat_map(|pair| [&pair.cert, &pair.key])
        .chain(&table.client_ca)
        .map(|path| folder.join(path))
        .collect()
}

fn load(
    table: &ListenerTls,
    folder: &Path,
    alpn: Alpn,
    now: i64,
    known: Option<&Sessions>,
) -> Result<(Loaded, Sessions), TlsProblems> {
    let provider = weir_api::tls::provider();
    let mut problems = Vec::new();
    let mut pairs = Vec::new();
    for (n, entry) in table.certificates.iter().enumerate() {
        let (cert, key) = (folder.join(&entry.cert), folder.join(&entry.key));
        let field = |name: &str| match table.short {
            true => FieldPath::root().key(name),
            false => FieldPath::root().key("certificates").index(n).key(name),
        };
        match Pair::load(&cert, &key, now, &provider) {
            Ok(pair) => pairs.push(pair),
            Err(Wrong::Cert(error)) => problems.push(TlsProblem {
                field: field("cert"),
                error,
            }),
            Err(Wrong::Key(error)) => problems.push(TlsProblem {
                field: field("key"),
                error,
            }),
        }
    }
    let clients = client_rules(table, folder, &provider).map_err(|error| TlsProblem {
        field: FieldPath::root().key("client_ca"),
        error,
    });
    let (verifier, rules) = match clients {
        Ok(clients) if problems.is_empty() => clients,
        Ok(_) => return Err(TlsProblems(problems)),
        Err(problem) => {
            problems.push(problem);
            return Err(TlsProblems(problems));
        }
    };
    let refused = |cause: rustls::Error| {
        TlsProblems(vec![TlsProblem {
            field: FieldPath::root(),
            error: FileError::Refused {
                cause: cause.to_string(),
            },
        }])
    };
    let sessions = match known {
        Some(known) if known.rules == rules => known.clone(),
        _ => Sessions {
            tickets: rustls::crypto::ring::Ticketer::new().map_err(refused)?,
            remembered: ServerSessionMemoryCache::new(REMEMBERED_SESSIONS),
            rules,
        },
    };
    let versions: &[_] = match table.min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(refused)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(ByName::new(&pairs)));
    config.ticketer = Arc::clone(&sessions.tickets);
    config.session_storage = Arc::clone(&sessions.remembered);
    config.alpn_protocols = match alpn {
        Alpn::Http1 => vec![b"http/1.1".to_vec()],
        Alpn::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    let config = Arc::new(config);
    Ok((Loaded { config, pairs }, sessions))
}

fn client_rules(
    table: &ListenerTls,
    folder: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, ClientRules), FileError> {
    let auth = table.client_auth;
    let Some(file) = table.client_ca.as_ref().filter(|_| auth != ClientAuth::Off) else {
        let rules = ClientRules {
            auth: ClientAuth::Off,
            authorities: Vec::new(),
        };
        return Ok((WebPkiClientVerifier::no_client_auth(), rules));
    };
    let file = folder.join(file);
    let roots = read::authorities(&file)?;
    let authorities = read::certificates(&file)?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Required | ClientAuth::Off => builder,
    };
    let verifier = builder.build().map_err(|cause| FileError::Refused {
        cause: cause.to_string(),
    })?;
    let authorities = authorities.into_iter().map(|one| one.to_vec()).collect();
    Ok((verifier, ClientRules { auth, authorities }))
}
