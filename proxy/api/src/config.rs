//! The configuration file: what is fixed while the proxy runs, and the [`Settings`] to start with.
//!
//! [`load`] reads a file, [`parse`] a text. Whatever is wrong comes back at once, each error with
//! file, line, column, field and what is allowed.

mod document;
mod error;
mod listener;
mod parse;
mod route;
mod transport;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;

pub use error::{ConfigError, ConfigErrors, Position};
pub use listener::{
    BadListenAddress, CertificateFiles, ClientAuth, ListenAddress, Listener, ListenerTls,
    TlsVersion, UNIX_PREFIX, unix_path,
};
pub use parse::{load, locate, parse, read};
pub use route::{RoutePath, path_regex};
pub use transport::{ProxyProtocol, Transport, UpstreamTls};

use crate::{
    settings::{ClientLimits, Compression, Connections, RateLimit, Settings, Timeouts, Upstream},
    units::ByteSize,
};

/// A whole configuration file that has passed every check.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "File")]
pub struct Config {
    /// The process (`[server]`).
    pub server: ServerProcess,
    /// The admin API (`[admin]`).
    pub admin: Admin,
    /// How names of servers are looked up (`[resolver]`).
    pub resolver: Resolver,
    /// Where clients connect (`[[listener]]`); never empty.
    pub listeners: Vec<Listener>,
    /// The access log (`[access_log]`).
    pub access_log: AccessLog,
    /// Which requests go to which upstream (`[[route]]`), as in the file; never empty.
    pub routes: Vec<Route>,
    /// How connections to the servers of each upstream are made.
    pub transports: BTreeMap<String, Transport>,
    /// The folder that relative paths of certificates and keys start from: that of the file.
    pub folder: PathBuf,
    settings: Settings,
}

impl Config {
    /// The live settings that the file asks for.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Names of the parts, other than live settings, in which another file differs: `listener`,
    /// `route` and so on. Empty when a reload can apply all of it.
    #[must_use]
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("server", self.server == other.server),
            ("admin", self.admin == other.admin),
            ("resolver", self.resolver == other.resolver),
            ("listener", same_sockets(&self.listeners, &other.listeners)),
            ("access_log", self.access_log == other.access_log),
            ("route", self.routes == other.routes),
        ]
        .into_iter()
        .filter_map(|(name, same)| (!same).then_some(name))
        .collect()
    }
}

/// Whether two lists of listeners ask for the same sockets; what certificates they show may differ.
fn same_sockets(one: &[Listener], other: &[Listener]) -> bool {
    let bare = |listener: &Listener| Listener {
        tls: listener.tls.as_ref().map(|_| ListenerTls::default()),
        ..listener.clone()
    };
    one.iter().map(bare).eq(other.iter().map(bare))
}

/// The process (`[server]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerProcess {
    /// Worker threads; 0: one for each core (nginx: `worker_processes`).
    pub threads: usize,
    /// Where an old process hands its listening sockets to a new one.
    pub upgrade_socket: PathBuf,
    /// Where the process writes its id (nginx: `pid`).
    pub pid_file: Option<PathBuf>,
}

impl Default for ServerProcess {
    fn default() -> Self {
        Self {
            threads: 0,
            upgrade_socket: PathBuf::from("/run/weir/upgrade.sock"),
            pid_file: None,
        }
    }
}

/// The admin API (`[admin]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens; a loopback address, unless there are tokens.
    pub listen: SocketAddr,
    /// A Unix socket where it listens too.
    pub socket: Option<PathBuf>,
    /// The file of tokens.
    pub tokens: Option<PathBuf>,
    /// TLS on `listen`.
    pub tls: Option<AdminTls>,
    /// Names by which it is called.
    pub hosts: Vec<String>,
    /// The file of the audit log.
    pub audit_log: Option<PathBuf>,
    /// Whether profiles may be taken.
    pub profile: bool,
}

/// Certificate and key of the admin API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminTls {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

impl Admin {
    pub(crate) fn default_listen() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 9900))
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Self::default_listen(),
            socket: None,
            tokens: None,
            tls: None,
            hosts: Vec::new(),
            audit_log: None,
            profile: false,
        }
    }
}

/// How names of servers are looked up (`[resolver]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resolver {
    /// DNS servers (nginx: `resolver`); none: what the system is configured to ask.
    pub servers: Vec<SocketAddr>,
    /// Longest time for which an answer holds, whatever its TTL (nginx: `valid=`); at least 1 s.
    #[serde(with = "crate::units::duration")]
    pub max_ttl: Duration,
    /// How long one look-up may take (nginx: `resolver_timeout`).
    #[serde(with = "crate::units::duration")]
    pub timeout: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            max_ttl: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
        }
    }
}

/// The access log (`[access_log]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// Whether requests are logged.
    pub enabled: bool,
    /// The file (nginx: `access_log`); `-` is standard output, see [`AccessLog::file`].
    pub path: PathBuf,
    /// How a line is written (nginx: `log_format`).
    pub format: LogFormat,
    /// Lines are collected up to this size before they are written; 0 writes each at once.
    pub buffer: ByteSize,
}

impl AccessLog {
    /// The file to write to; none means standard output.
    #[must_use]
    pub fn file(&self) -> Option<&std::path::Path> {
        (self.path.as_os_str() != "-").then_some(self.path.as_path())
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            enabled: true,
            path: PathBuf::from("-"),
            format: LogFormat::default(),
            buffer: ByteSize::kib(64),
        }
    }
}

/// How a line of the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// Columns for people, as in nginx's `combined`.
    Text,
}

/// Which requests go to which upstream (`[[route]]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// What it is called in logs and metrics; see [`Route::label`].
    #[serde(default)]
    pub name: Option<String>,
    /// Only requests for this host, or with `*.` in front those below it; none: for any (nginx: `server_name`).
    #[serde(default)]
    pub host: Option<String>,
    /// Only requests for these paths (nginx: `location`).
    #[serde(default)]
    pub path: RoutePath,
    /// Only requests with one of these methods; none: with any (nginx: `limit_except`).
    #[serde(default)]
    pub methods: Vec<String>,
    /// Only requests that have all these header fields with these values.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Name of an upstream that exists.
    pub upstream: String,
    /// Names of rate limits that exist; a request must pass all of them (nginx: `limit_req`).
    #[serde(default)]
    pub rate_limit: Vec<String>,
    /// Changes to the request before it goes to the server (nginx: `proxy_set_header`).
    #[serde(default)]
    pub request_headers: HeaderChanges,
    /// Changes to the response before it goes to the client (nginx: `add_header`, `proxy_hide_header`).
    #[serde(default)]
    pub response_headers: HeaderChanges,
}

/// Changes to the headers of a message; names and values are valid ones.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderChanges {
    /// Headers to set, by name; an existing one is replaced.
    pub set: BTreeMap<String, String>,
    /// Headers to remove.
    pub remove: Vec<String>,
}

impl HeaderChanges {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// The file as it is laid out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    server: ServerProcess,
    #[serde(default)]
    admin: Admin,
    #[serde(default)]
    resolver: Resolver,
    listener: Vec<Listener>,
    #[serde(default)]
    access_log: AccessLog,
    route: Vec<Route>,
    #[serde(default)]
    connections: Connections,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    client: ClientLimits,
    #[serde(default)]
    compression: Compression,
    #[serde(default)]
    rate_limit: BTreeMap<String, RateLimit>,
    #[serde(default)]
    upstream: BTreeMap<String, UpstreamTable>,
}

/// `[upstream.NAME]`: live settings, and what is not.
#[derive(Deserialize)]
struct UpstreamTable {
    #[serde(flatten)]
    live: Upstream,
    #[serde(default)]
    tls: Option<UpstreamTls>,
    #[serde(default)]
    proxy_protocol: Option<ProxyProtocol>,
}

impl From<File> for Config {
    fn from(file: File) -> Self {
        let mut transports = BTreeMap::new();
        let mut upstream = BTreeMap::new();
        for (name, table) in file.upstream {
            let transport = Transport {
                tls: table.tls,
                proxy_protocol: table.proxy_protocol,
            };
            transports.insert(name.clone(), transport);
            upstream.insert(name, table.live);
        }
        Self {
            server: file.server,
            admin: file.admin,
            resolver: file.resolver,
            listeners: file.listener,
            access_log: file.access_log,
            routes: file.route,
            transports,
            folder: PathBuf::new(),
            settings: Settings {
                connections: file.connections,
                timeouts: file.timeouts,
                client: file.client,
                compression: file.compression,
                rate_limit: file.rate_limit,
                upstream,
            },
        }
    }
}
