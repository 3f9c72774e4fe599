//! Certificates and keys of the whole configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use weir_api::config::{Config, Listener, Transport};
use weir_api::settings::{Path, Problem, Problems};

use super::{Alpn, ClientTls, Refreshed, ServerTls, TlsProblems};
use crate::observe::tls_metrics::TlsMetrics;

/// TLS of each upstream that has it, by name.
pub type Upstreams = BTreeMap<String, Arc<ClientTls>>;

/// TLS of every listener and upstream.
#[derive(Debug)]
pub struct Credentials {
    /// By position; none: in the clear.
    listeners: Vec<Option<Arc<ServerTls>>>,
    upstreams: ArcSwap<Upstreams>,
    folder: PathBuf,
}

impl Credentials {
    /// Reads and checks all files that a configuration names.
    ///
    /// # Errors
    /// Everything that is wrong with them, by field.
    pub fn load(config: &Config) -> Result<Self, Problems> {
        let now = now();
        let mut problems = Vec::new();
        let mut listeners = Vec::new();
        for (n, listener) in config.listeners.iter().enumerate() {
            let load = |table| ServerTls::load(table, &config.folder, alpn(listener), now);
            let loaded = listener.tls.as_ref().map(load).transpose();
            let loaded = loaded.unwrap_or_else(|found| {
                problems.extend(at(&found, &listener_at(n)));
                None
            });
            listeners.push(loaded.map(Arc::new));
        }
        let upstreams = upstreams(config, &BTreeMap::new(), now, &mut problems);
        Problems::none_or(problems)?;
        Ok(Self {
            listeners,
            upstreams: ArcSwap::from_pointee(upstreams),
            folder: config.folder.clone(),
        })
    }

    /// TLS of the listener at a position.
    #[must_use]
    pub fn listener(&self, n: usize) -> Option<Arc<ServerTls>> {
        self.listeners.get(n).cloned().flatten()
    }

    /// TLS of the upstreams in force.
    #[must_use]
    pub fn upstreams(&self) -> Arc<Upstreams> {
        self.upstreams.load_full()
    }

    /// TLS of the upstreams of another configuration; what is in use already is kept, with its sessions.
    ///
    /// # Errors
    /// Everything that is wrong with the files, by field.
    pub fn next_upstreams(&self, config: &Config) -> Result<Upstreams, Problems> {
        let mut problems = Vec::new();
        let next = upstreams(config, &self.upstreams(), now(), &mut problems);
        Problems::none_or(problems).map(|()| next)
    }

    /// Takes over upstreams that are in force now.
    pub fn set_upstreams(&self, upstreams: Upstreams) {
        self.upstreams.store(Arc::new(upstreams));
        self.warn();
    }

    /// Says in the log which servers are not verified.
    pub fn warn(&self) {
        for (name, tls) in self.upstreams().iter() {
            if !tls.table().verify {
                tracing::warn!(
                    "upstream.{name}.tls.verify = false: servers are not verified, whoever is in between can read and change everything"
                );
            }
        }
    }

    /// Reads and checks the certificates of listeners, without using them.
    ///
    /// # Errors
    /// Everything that is wrong with the files, by field.
    pub fn check_listeners(&self, listeners: &[Listener]) -> Result<(), Problems> {
        let mut problems = Vec::new();
        for (n, listener) in listeners.iter().enumerate() {
            if let Some(table) = &listener.tls
                && let Err(found) = ServerTls::load(table, &self.folder, alpn(listener), now())
            {
                problems.extend(at(&found, &listener_at(n)));
            }
        }
        Problems::none_or(problems)
    }

    /// Takes over the certificates of listeners, whose sockets have not changed.
    ///
    /// # Errors
    /// Everything that is wrong with the files, by field; listeners without problems have theirs.
    pub fn replace_listeners(&self, listeners: &[Listener]) -> Result<(), Problems> {
        let mut problems = Vec::new();
        for (n, (now_in_use, next)) in self.listeners.iter().zip(listeners).enumerate() {
            if let (Some(tls), Some(table)) = (now_in_use, &next.tls)
                && let Err(found) = tls.replace(table, now())
            {
                problems.extend(at(&found, &listener_at(n)));
            }
        }
        Problems::none_or(problems)
    }

    /// Reads files again that have changed, says in the log and in metrics what came of it, and how long
    /// certificates are good for.
    pub fn refresh(&self, metrics: &TlsMetrics) {
        let now = now();
        for (n, tls) in self.listeners.iter().enumerate() {
            if let Some(tls) = tls {
                tell(&format!("listener[{n}].tls"), tls.refresh(now), metrics);
            }
        }
        for (name, tls) in self.upstreams().iter() {
            tell(&format!("upstream.{name}.tls"), tls.refresh(now), metrics);
        }
        let pairs = self.listeners.iter().flatten().flat_map(|tls| tls.pairs());
        let days = pairs.map(|pair| (pair.file.display().to_string(), pair.days_left(now)));
        metrics.set_certificates(days);
    }
}

fn tell(what: &str, refreshed: Refreshed, metrics: &TlsMetrics) {
    match refreshed {
        Refreshed::Unchanged => {}
        Refreshed::Replaced => {
            metrics.reload(true);
            tracing::info!(what, "certificates and keys have changed and are in use");
        }
        Refreshed::Kept(problems) => {
            metrics.reload(false);
            tracing::error!(%problems, what, "changed certificates or keys cannot be used; the old ones stay in use");
        }
    }
}

fn upstreams(
    config: &Config,
    known: &Upstreams,
    now: i64,
    problems: &mut Vec<Problem>,
) -> Upstreams {
    let mut upstreams = Upstreams::new();
    for (name, transport) in &config.transports {
        let Transport {
            tls: Some(table), ..
        } = transport
        else {
            continue;
        };
        let same = known.get(name).filter(|tls| tls.table() == table);
        let loaded = match same {
            Some(tls) => Ok(Arc::clone(tls)),
            None => ClientTls::load(table, &config.folder, now).map(Arc::new),
        };
        match loaded {
            Ok(tls) => {
                upstreams.insert(name.clone(), tls);
            }
            Err(found) => {
                let place = Path::root().key("upstream").key(name).key("tls");
                problems.extend(at(&found, &place));
            }
        }
    }
    upstreams
}

fn listener_at(n: usize) -> Path {
    Path::root().key("listener").index(n).key("tls")
}

/// The problems of a table that is at `place`.
fn at(found: &TlsProblems, place: &Path) -> Vec<Problem> {
    found.0.iter().map(|problem| problem.at(place)).collect()
}

/// Seconds since 1970.
/// What a listener offers.
fn alpn(listener: &Listener) -> Alpn {
    match listener.http2 {
        true => Alpn::Http2,
        false => Alpn::Http1,
    }
}

fn now() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
