//! The settings compiled into what a request needs. A request holds one snapshot from start to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use weir_api::config::Route;
use weir_api::settings::{HealthCheck, Retry, Settings, UpstreamProtocol};

use super::forward::HeaderOps;
use super::upstream::{IdlePool, TransportPlan};
use crate::limit::{Limit, Zones};
use crate::observe::metrics::{Metrics, RouteMetrics, UpstreamMetrics};
use crate::route::RouteTable;
use crate::settings::{Published, Unresolved};
use crate::upstream::{Endpoint, Names, Registry, Resolved, UpstreamState};

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
    /// How connections to its servers are made.
    pub(super) transport: Arc<TransportPlan>,
    pub(super) protocol: UpstreamProtocol,
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
    #[error("names of servers have not been looked up yet")]
    Unresolved(Vec<Unresolved>),
    #[error("route {route}: there is no upstream \"{upstream}\"")]
    NoUpstream { route: String, upstream: String },
    #[error("route {route}: there is no rate_limit \"{limit}\"")]
    NoLimit { route: String, limit: String },
}

/// How connections to the servers of each upstream are made, by its name; one that is not here is plain.
pub(super) type Transports = HashMap<String, Arc<TransportPlan>>;

/// Makes snapshots, and owns what outlives them: server states, limit zones, idle connections.
pub(super) struct Compiler {
    registry: Registry,
    names: Names,
    zones: Zones,
    metrics: Arc<Metrics>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// With how the connections in it were made.
    pools: HashMap<String, (Arc<TransportPlan>, Arc<IdlePool>)>,
    transports: Transports,
    routes: HashMap<String, Arc<RouteMetrics>>,
}

impl Compiler {
    pub(super) fn new(metrics: Arc<Metrics>, names: Names) -> Self {
        Self {
            registry: Registry::default(),
            names,
            zones: Zones::default(),
            metrics,
            kept: Mutex::default(),
        }
    }

    /// How connections to the servers of each upstream are made, from the next [`Compiler::compile`] on. Returns
    /// what has been so far.
    pub(super) fn set_transports(&self, transports: Transports) -> Transports {
        std::mem::replace(&mut self.kept.lock().transports, transports)
    }

    /// The names of servers.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Looks the names of servers up, unless they are known; waits for `resolver.timeout` at most.
    ///
    /// # Errors
    /// [`CompileError::Resolve`] for the first that cannot be looked up.
    pub(super) fn look_up(&self, servers: &[Unresolved]) -> Result<(), CompileError> {
        let addresses = servers.iter().map(|server| server.address.as_str());
        self.names.look_up(addresses).map_err(|(address, cause)| {
            let found = servers.iter().find(|server| server.address == address);
            CompileError::Resolve {
                upstream: found.map(|s| s.upstream.clone()).unwrap_or_default(),
                address: address.to_owned(),
                cause,
            }
        })
    }

    /// As [`Compiler::compile`], but looks names up first where they are not known.
    ///
    /// # Errors
    /// [`CompileError`]; then nothing has changed.
    pub(super) fn compile_waiting(&self, next: &Published) -> Result<Snapshot, CompileError> {
        match self.compile(next) {
            Err(CompileError::Unresolved(servers)) => {
                self.look_up(&servers)?;
                self.compile(next)
            }
            done => done,
        }
    }

    /// The names of the servers in a snapshot that is in force now are followed from now on.
    pub(super) fn follow(&self, snapshot: &Snapshot) {
        let upstreams = snapshot.settings.upstream.values();
        let servers = upstreams.flat_map(|upstream| &upstream.servers);
        let named = servers.filter(|server| Endpoint::unix(&server.address).is_none());
        self.names
            .follow(named.map(|server| server.address.as_str()));
    }

    /// The addresses of every server by upstream.
    ///
    /// # Errors
    /// [`CompileError::Unresolved`] with those whose names are not known; they are being looked up then.
    fn resolve<'a>(
        &self,
        settings: &'a Settings,
    ) -> Result<HashMap<&'a String, Vec<Resolved>>, CompileError> {
        let (mut resolved, mut unresolved) = (HashMap::new(), Vec::new());
        for (name, upstream) in &settings.upstream {
            let mut servers = Vec::with_capacity(upstream.servers.len());
            for server in &upstream.servers {
                if let Some(unix) = Endpoint::unix(&server.address) {
                    servers.push((server.clone(), vec![unix]));
                    continue;
                }
                match self.names.addresses(&server.address) {
                    Some(addresses) => {
                        let endpoints = addresses.into_iter().map(Endpoint::from);
                        servers.push((server.clone(), endpoints.collect()));
                    }
                    None => unresolved.push(Unresolved {
                        upstream: name.clone(),
                        address: server.address.clone(),
                    }),
                }
            }
            resolved.insert(name, servers);
        }
        if unresolved.is_empty() {
            return Ok(resolved);
        }
        let addresses = unresolved.iter().map(|server| server.address.as_str());
        self.names.want(addresses);
        Err(CompileError::Unresolved(unresolved))
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
        let mut resolved = self.resolve(settings)?;

        // Nothing below can fail.
        let limits = self.zones.apply(&settings.rate_limit);
        kept.pools
            .retain(|name, _| settings.upstream.contains_key(name));
        self.registry
            .retain(|name| settings.upstream.contains_key(name));
        let upstreams: HashMap<&String, Arc<UpstreamPlan>> = settings
            .upstream
            .iter()
            .map(|(name, upstream)| {
                let servers = resolved.remove(name).unwrap_or_default();
                let (transport, pool) = kept.pool(name);
                let plan = UpstreamPlan {
                    transport,
                    pool,
                    state: self.registry.apply(name, upstream, &servers),
                    protocol: upstream.protocol,
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
                metrics: kept.route(&self.metrics, &route.label()),
            };
            Some((route, Arc::new(plan)))
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
    /// The connections to an upstream's servers that are idle; none of them was made in another way than now.
    fn pool(&mut self, name: &str) -> (Arc<TransportPlan>, Arc<IdlePool>) {
        let transport = self.transports.get(name).cloned().unwrap_or_default();
        let pool = match self.pools.get(name) {
            Some((same, pool)) if *same == transport => Arc::clone(pool),
            _ => Arc::default(),
        };
        let entry = (transport, pool);
        self.pools.insert(name.to_owned(), entry.clone());
        entry
    }

    fn route(&mut self, metrics: &Metrics, name: &str) -> Arc<RouteMetrics> {
        let entry = self.routes.entry(name.to_owned());
        Arc::clone(entry.or_insert_with(|| Arc::new(metrics.route(name))))
    }
}

fn check_names(settings: &Settings, routes: &[Route]) -> Result<(), CompileError> {
    for route in routes {
        if !settings.upstream.contains_key(&route.upstream) {
            return Err(CompileError::NoUpstream {
                route: route.label(),
                upstream: route.upstream.clone(),
            });
        }
        if let Some(limit) = route
            .rate_limit
            .iter()
            .find(|name| !settings.rate_limit.contains_key(*name))
        {
            return Err(CompileError::NoLimit {
                route: route.label(),
                limit: limit.clone(),
            });
        }
    }
    Ok(())
}
