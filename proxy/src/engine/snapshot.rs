//! The settings compiled into what a request needs. A request holds one snapshot from start to end.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use weir_api::config::Route;
use weir_api::settings::{HealthCheck, Retry, Server, Settings};

use super::forward::HeaderOps;
use super::upstream::IdlePool;
use crate::limit::{Limit, Zones};
use crate::observe::metrics::{Metrics, RouteMetrics, UpstreamMetrics};
use crate::route::RouteTable;
use crate::settings::Published;
use crate::upstream::{Registry, UpstreamState};

/// Everything a request needs to know, fixed for its whole life.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) revision: u64,
    pub(super) settings: Arc<Settings>,
    /// The routes as they were published; `routes` is made of them.
    source: Arc<[Route]>,
    pub(super) routes: RouteTable<Arc<RoutePlan>>,
    pub(super) upstreams: Vec<Arc<UpstreamPlan>>,
    pub(super) limits: Vec<Arc<Limit>>,
}

impl Snapshot {
    /// What this snapshot was compiled from.
    pub(super) fn published(&self) -> Published {
        Published {
            revision: self.revision,
            settings: Arc::clone(&self.settings),
            routes: Arc::clone(&self.source),
        }
    }
}

/// One route.
#[derive(Debug)]
pub(super) struct RoutePlan {
    pub(super) upstream: Arc<UpstreamPlan>,
    pub(super) limits: Vec<Arc<Limit>>,
    pub(super) request_headers: HeaderOps,
    pub(super) response_headers: HeaderOps,
    pub(super) metrics: Arc<RouteMetrics>,
}

/// One upstream.
#[derive(Debug)]
pub(super) struct UpstreamPlan {
    pub(super) state: Arc<UpstreamState>,
    pub(super) pool: Arc<IdlePool>,
    pub(super) keepalive: usize,
    pub(super) keepalive_timeout: Duration,
    pub(super) retry: Retry,
    pub(super) health_check: HealthCheck,
    pub(super) metrics: UpstreamMetrics,
}

/// Why settings cannot take effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("upstream.{upstream}.servers: cannot resolve \"{address}\": {cause}")]
    Resolve {
        upstream: String,
        address: String,
        cause: String,
    },
    #[error("route {route}: there is no upstream \"{upstream}\"")]
    NoUpstream { route: String, upstream: String },
    #[error("route {route}: there is no rate_limit \"{limit}\"")]
    NoLimit { route: String, limit: String },
}

/// Makes snapshots, and owns what outlives them: server states, limit zones, idle connections.
pub(super) struct Compiler {
    registry: Registry,
    zones: Zones,
    metrics: Arc<Metrics>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    pools: HashMap<String, Arc<IdlePool>>,
    routes: HashMap<String, Arc<RouteMetrics>>,
    addresses: HashMap<String, Vec<SocketAddr>>,
}

impl Compiler {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            registry: Registry::default(),
            zones: Zones::default(),
            metrics,
            kept: Mutex::default(),
        }
    }

    /// Looks names up anew; `true` if one stands for other addresses than when it was compiled.
    ///
    /// This may take as long as the resolver does.
    pub(super) fn names_changed(&self, settings: &Settings) -> bool {
        let servers = settings
            .upstream
            .values()
            .flat_map(|upstream| &upstream.servers);
        servers
            .filter(|server| server.address.parse::<SocketAddr>().is_err())
            .any(|server| {
                // One that cannot be looked up now keeps its addresses.
                let Ok(fresh) = lookup(&server.address) else {
                    return false;
                };
                self.kept.lock().addresses.get(&server.address) != Some(&fresh)
            })
    }

    /// Compiles what is to be in force.
    ///
    /// # Errors
    /// [`CompileError`]; then nothing has changed.
    pub(super) fn compile(&self, next: &Published) -> Result<Snapshot, CompileError> {
        let Published {
            revision,
            settings,
            routes,
        } = next;
        let mut kept = self.kept.lock();
        check_names(settings, routes)?;
        let mut resolved = HashMap::new();
        for (name, upstream) in &settings.upstream {
            let servers = upstream
                .servers
                .iter()
                .map(|server| Ok((server.clone(), kept.resolve(name, server)?)))
                .collect::<Result<Vec<_>, CompileError>>()?;
            resolved.insert(name, servers);
        }

        // Nothing below can fail.
        let limits = self.zones.apply(&settings.rate_limit);
        self.registry
            .retain(|name| settings.upstream.contains_key(name));
        let upstreams: HashMap<&String, Arc<UpstreamPlan>> = settings
            .upstream
            .iter()
            .map(|(name, upstream)| {
                let servers = resolved.remove(name).unwrap_or_default();
                let plan = UpstreamPlan {
                    state: self.registry.apply(name, upstream, &servers),
                    pool: Arc::clone(kept.pools.entry(name.clone()).or_default()),
                    keepalive: upstream.keepalive as usize,
                    keepalive_timeout: upstream.keepalive_timeout,
                    retry: upstream.retry.clone(),
                    health_check: upstream.health_check.clone(),
                    metrics: self.metrics.upstream(name),
                };
                (name, Arc::new(plan))
            })
            .collect();
        let table = RouteTable::new(routes.iter().filter_map(|route| {
            let plan = RoutePlan {
                upstream: Arc::clone(upstreams.get(&route.upstream)?),
                limits: route
                    .rate_limit
                    .iter()
                    .filter_map(|name| limits.get(name).cloned())
                    .collect(),
                request_headers: HeaderOps::from(&route.request_headers),
                response_headers: HeaderOps::from(&route.response_headers),
                metrics: kept.route(&self.metrics, &route_name(route)),
            };
            Some((route.host.clone(), route.path.clone(), Arc::new(plan)))
        }));
        Ok(Snapshot {
            revision: *revision,
            settings: Arc::clone(settings),
            source: Arc::clone(routes),
            routes: table,
            upstreams: upstreams.into_values().collect(),
            limits: limits.into_values().collect(),
        })
    }
}

impl Kept {
    /// The addresses of a server; a name that does not resolve now keeps those it had.
    fn resolve(
        &mut self,
        upstream: &str,
        server: &Server,
    ) -> Result<Vec<SocketAddr>, CompileError> {
        if let Ok(address) = server.address.parse() {
            return Ok(vec![address]);
        }
        match lookup(&server.address) {
            Ok(found) => {
                self.addresses.insert(server.address.clone(), found.clone());
                Ok(found)
            }
            Err(cause) => match self.addresses.get(&server.address) {
                Some(last) => {
                    tracing::warn!(server = %server.address, cause, "cannot resolve; keeping the last addresses");
                    Ok(last.clone())
                }
                None => Err(CompileError::Resolve {
                    upstream: upstream.to_owned(),
                    address: server.address.clone(),
                    cause,
                }),
            },
        }
    }

    fn route(&mut self, metrics: &Metrics, name: &str) -> Arc<RouteMetrics> {
        let entry = self.routes.entry(name.to_owned());
        Arc::clone(entry.or_insert_with(|| Arc::new(metrics.route(name))))
    }
}

/// The addresses that `host:port` stands for, in a fixed order.
fn lookup(name: &str) -> Result<Vec<SocketAddr>, String> {
    let mut found: Vec<_> = name.to_socket_addrs().map_err(|e| e.to_string())?.collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err("no address".to_owned());
    }
    Ok(found)
}

/// `path`, or `host/path`.
fn route_name(route: &Route) -> String {
    format!(
        "{}{}",
        route.host.as_deref().unwrap_or_default(),
        route.path
    )
}

fn check_names(settings: &Settings, routes: &[Route]) -> Result<(), CompileError> {
    for route in routes {
        if !settings.upstream.contains_key(&route.upstream) {
            return Err(CompileError::NoUpstream {
                route: route_name(route),
                upstream: route.upstream.clone(),
            });
        }
        if let Some(limit) = route
            .rate_limit
            .iter()
            .find(|name| !settings.rate_limit.contains_key(*name))
        {
            return Err(CompileError::NoLimit {
                route: route_name(route),
                limit: limit.clone(),
            });
        }
    }
    Ok(())
}
