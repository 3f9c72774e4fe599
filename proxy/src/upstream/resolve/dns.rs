//! DNS, with the servers and the search list of `/etc/resolv.conf`; before it the hosts file.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::hosts::Hosts;
use super::{Answer, Family, LookupError};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// How long the second family of addresses may take when the first one is there: servers that never
/// answer queries for AAAA exist.
const SECOND_FAMILY: Duration = Duration::from_secs(1);

/// A DNS client. It reads the system's files again when they change, as libc does.
#[derive(Debug)]
pub(super) struct Dns {
    /// Instead of those of `/etc/resolv.conf`.
    servers: Vec<SocketAddr>,
    timeout: Duration,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// What the files say.
#[derive(Debug)]
struct Loaded {
    stamps: [Stamp; 2],
    hosts: Hosts,
    /// An error if there is no server to ask.
    client: Result<Client, String>,
}

#[derive(Debug)]
struct Client {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

/// Tells whether a file has changed; none if it is not there.
type Stamp = Option<(SystemTime, u64)>;

/// Addresses of one family, and until when they hold; no addresses if the name has none.
type Found = Result<(Vec<IpAddr>, Option<Instant>), NetError>;

impl Dns {
    pub(super) fn new(servers: Vec<SocketAddr>, timeout: Duration) -> Self {
        Self {
            servers,
            timeout,
            loaded: Mutex::default(),
        }
    }

    /// The addresses of `host`.
    pub(super) async fn look_up(&self, host: &str) -> Result<Answer, LookupError> {
        let loaded = self.loaded();
        let listed = loaded.hosts.get(host).map(<[_]>::to_vec);
        if let Some(found) = listed.or_else(|| localhost(host)).and_then(Answer::new) {
            return Ok(found);
        }
        let client = loaded.client.as_ref();
        let client = client.map_err(|error| LookupError::Dns(error.clone()))?;
        for name in client.candidates(host)? {
            if let Some(found) = client.ask(&name).await? {
                return Ok(found);
            }
        }
        Err(LookupError::NoSuchHost)
    }

    fn loaded(&self) -> Arc<Loaded> {
        let stamps = [stamp(RESOLV_CONF), stamp(HOSTS)];
        let mut loaded = self.loaded.lock();
        match &*loaded {
            Some(same) if same.stamps == stamps => Arc::clone(same),
            _ => {
                let fresh = Arc::new(Loaded {
                    stamps,
                    hosts: Hosts::parse(&fs::read_to_string(HOSTS).unwrap_or_default()),
                    client: Client::new(&self.servers, self.timeout).map_err(|e| e.to_string()),
                });
                *loaded = Some(Arc::clone(&fresh));
                fresh
            }
        }
    }
}

// === impl Client ===

impl Client {
    fn new(servers: &[SocketAddr], timeout: Duration) -> Result<Self, NetError> {
        let (config, mut options) = if servers.is_empty() {
            hickory_resolver::system_conf::read_system_conf()?
        } else {
            let servers = servers.iter().map(|server| {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut config.connections {
                    connection.port = server.port();
                }
                config
            });
            (
                ResolverConfig::from_name_servers(servers.collect()),
                ResolverOpts::default(),
            )
        };
        // What is known of a name is kept elsewhere. A slow server's answer is waited for: queries are
        // repeated meanwhile, so that a lost packet costs little.
        options.cache_size = 0;
        options.timeout = timeout;
        options.use_hosts_file = ResolveHosts::Never;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        let (search, ndots) = (config.search().to_vec(), options.ndots);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Self {
            resolver: builder.build()?,
            search,
            ndots,
        })
    }

    /// The names to ask for in turn, see `search` and `ndots` in resolv.conf(5).
    fn candidates(&self, host: &str) -> Result<Vec<Name>, LookupError> {
        let bad = |error: &dyn std::fmt::Display| LookupError::Dns(error.to_string());
        let name = Name::from_str_relaxed(host).map_err(|error| bad(&error))?;
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() {
            return Ok(vec![whole]);
        }
        let dots = host.matches('.').count();
        let searched = self.search.iter();
        let mut names: Vec<Name> = searched
            // One that would be too long is none.
            .filter_map(|domain| name.clone().append_domain(domain).ok())
            .collect();
        let at = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(at, whole);
        Ok(names)
    }

    /// The addresses of a full name; none if it has none, or does not exist.
    async fn ask(&self, name: &Name) -> Result<Option<Answer>, LookupError> {
        let four = Box::pin(self.family(name, Family::V4));
        let six = Box::pin(self.family(name, Family::V6));
        let (four, six) = match select(four, six).await {
            Either::Left((four, six)) => {
                let six = second(&four, six).await;
                (four, six)
            }
            Either::Right((six, four)) => {
                let four = second(&six, four).await;
                (four, six)
            }
        };
        let (missing, found) = match (four, six) {
            (Ok(four), Ok(six)) => (None, vec![four, six]),
            (Ok(four), Err(_)) if !four.0.is_empty() => (Some(Family::V6), vec![four]),
            (Err(_), Ok(six)) if !six.0.is_empty() => (Some(Family::V4), vec![six]),
            (Err(error), _) | (_, Err(error)) => return Err(LookupError::Dns(error.to_string())),
        };
        let until = found.iter().filter_map(|(_, until)| *until).min();
        let addresses = found.into_iter().flat_map(|(addresses, _)| addresses);
        Ok(Answer::new(addresses.collect()).map(|answer| Answer {
            ttl: until.map(|until| until.saturating_duration_since(Instant::now())),
            missing,
            ..answer
        }))
    }

    async fn family(&self, name: &Name, family: Family) -> Found {
        let kind = match family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(found) => {
                let records = found.answers().iter();
                let addresses = records
                    .filter_map(|record| record.data.ip_addr())
                    .filter(|address| family.has(address));
                Ok((addresses.collect(), Some(found.valid_until())))
            }
            Err(error) if error.is_no_records_found() => Ok((Vec::new(), None)),
            Err(error) => Err(error),
        }
    }
}

/// The other family's answer, which is not waited for long when the first has addresses.
async fn second(first: &Found, other: impl Future<Output = Found>) -> Found {
    match first {
        Ok((addresses, _)) if !addresses.is_empty() => {
            let other = timeout(SECOND_FAMILY, other).await;
            other.unwrap_or(Err(NetError::Timeout))
        }
        _ => other.await,
    }
}

/// Loopback for `localhost` where the hosts file does not have it (RFC 6761, section 6.3).
fn localhost(host: &str) -> Option<Vec<IpAddr>> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is = host == "localhost" || host.ends_with(".localhost");
    is.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

fn stamp(path: &str) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}
