//! What addresses the name of a server stands for.
//!
//! DNS is asked first, by a client of our own: it blocks no thread, and its answers say how long they
//! hold ([`dns`]). The system's resolver knows what DNS does not (mDNS, LDAP, whatever `/etc/nsswitch.conf`
//! names), but blocks a thread and tells no TTL ([`system`]); it is asked as well when DNS does not know
//! a name or takes long.

mod dns;
mod hosts;
mod system;

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;
use weir_api::config::Resolver as Config;

use self::dns::Dns;
use self::system::System;

/// How long DNS may take before the system's resolver is asked as well.
const HEAD_START: Duration = Duration::from_millis(500);

/// Looks names up.
#[derive(Debug)]
pub(super) struct Resolver {
    dns: Dns,
    /// None when the configuration names the DNS servers: then these are the only ones asked.
    system: Option<System>,
    limit: Duration,
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// In a fixed order, without duplicates; never empty.
    pub(super) addresses: Vec<IpAddr>,
    /// How long they hold; unknown for an answer of the hosts file or the system's resolver.
    pub(super) ttl: Option<Duration>,
    /// The family of addresses that could not be looked up, unlike one that the name does not have.
    pub(super) missing: Option<Family>,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Why a name could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupError {
    /// DNS servers say that there is no such name, or that it has no address.
    #[error("no such host in DNS")]
    NoSuchHost,
    /// DNS servers cannot be asked, or answer with an error.
    #[error("DNS: {0}")]
    Dns(String),
    /// The system's resolver does not know it, or cannot tell.
    #[error("{0}")]
    System(String),
    /// Nobody has answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl Resolver {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            dns: Dns::new(config.servers.clone(), config.timeout),
            system: config.servers.is_empty().then(System::default),
            limit: config.timeout,
        }
    }

    /// The addresses of `host`. Takes no longer than `resolver.timeout`.
    pub(super) async fn look_up(&self, host: &str) -> Result<Answer, LookupError> {
        let found = timeout(self.limit, self.ask(host)).await;
        found.unwrap_or(Err(LookupError::Timeout(self.limit)))
    }

    async fn ask(&self, host: &str) -> Result<Answer, LookupError> {
        let mut dns = pin!(self.dns.look_up(host));
        let Some(system) = &self.system else {
            return dns.await;
        };
        match timeout(HEAD_START, &mut dns).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(_)) => return system.look_up(host).await,
            Err(_) => {}
        }
        let mut system = pin!(system.look_up(host));
        // What the system says is final: it asks DNS too, if it is told to.
        tokio::select! {
            found = &mut dns => match found {
                Ok(found) => Ok(found),
                Err(_) => system.await,
            },
            found = &mut system => found,
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Without a TTL and with every family; none if there is no address.
    fn new(mut addresses: Vec<IpAddr>) -> Option<Self> {
        addresses.sort_unstable();
        addresses.dedup();
        (!addresses.is_empty()).then_some(Self {
            addresses,
            ttl: None,
            missing: None,
        })
    }
}

// === impl Family ===

impl Family {
    pub(super) fn has(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}
