//! The engine: the only part that knows pingora.
//!
//! pingora provides the listeners, the runtime, the client's HTTP session and the connector; what
//! happens between a request and its answer is this crate's own (see
//! `docs/decisions/0001-engine-on-pingora-core.md`).

mod attempts;
mod call;
mod client;
mod coalesce;
mod conn;
mod exchange;
mod forward;
mod health;
mod listen;
mod probe;
mod report;
mod request;
mod respond;
mod room;
mod slots;
mod snapshot;
mod upstream;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds};
use pingora::services::Service as _;
use pingora_runtime::Runtime;
use tokio::sync::{Notify, watch};
use weir_api::config::{Config, Route};
use weir_api::settings::Settings;

use self::conn::Front;
pub use self::listen::BindError;
use self::request::Shared;
use self::slots::Slots;
use self::snapshot::Compiler;
use self::upstream::Connector;
use crate::observe::RequestIds;
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;

/// How often the names of servers are looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);
/// How often idle upstream connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a drain leaves idle client connections open: a request that is on its way when the drain
/// begins is still answered, and the answer tells the client to connect anew.
const LINGER: Duration = Duration::from_millis(500);
/// How often a drain looks whether it is over.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// Settings that cannot take effect.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PublishError(#[from] snapshot::CompileError);

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot take effect.
    #[error(transparent)]
    Settings(#[from] PublishError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// The proxy at work.
pub struct Engine {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    fds: ListenFds,
    stop: watch::Sender<bool>,
    runtime: Mutex<Option<Runtime>>,
}

impl Engine {
    /// Opens the listeners of `config` and starts to serve under `settings`. With `upgrade` it waits
    /// for the sockets of the process that runs now.
    ///
    /// # Errors
    /// [`StartError`] if an address is taken, or the settings cannot take effect.
    pub fn start(
        config: &Config,
        revision: u64,
        settings: &Arc<Settings>,
        metrics: Arc<Metrics>,
        access_log: Option<AccessLog>,
        upgrade: bool,
    ) -> Result<Self, StartError> {
        let compiler = Compiler::new(Arc::clone(&metrics));
        let first = compiler
            .compile(revision, settings, &config.routes)
            .map_err(PublishError::from)?;
        let inherited = match upgrade {
            true => listen::take_over(&config.server.upgrade_socket)?,
            false => Fds::new(),
        };
        let bound = listen::bind_all(&config.listeners, inherited)?;
        let shared = Arc::new(Shared {
            compiler,
            snapshot: ArcSwap::from_pointee(first),
            published: Notify::new(),
            routes: Mutex::new(config.routes.clone()),
            metrics,
            access_log,
            slots: Arc::new(Slots::default()),
            connector: Connector::new(),
            ids: RequestIds::new(),
            draining: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        });
        let threads = match config.server.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        // Without work stealing a connection stays on one thread, and so does its memory.
        let runtime = Runtime::new_no_steal(threads, "weir");
        let (stop, stopped) = watch::channel(false);
        let addresses = bound.addresses.clone();
        let fds = Arc::clone(&bound.fds);
        let mut service = bound.service(Front {
            shared: Arc::clone(&shared),
        });
        runtime.get_handle().spawn(async move {
            service
                .start_service(Some(bound.fds), stopped, threads)
                .await;
        });
        runtime.get_handle().spawn(sweep(Arc::clone(&shared)));
        runtime
            .get_handle()
            .spawn(follow_names(Arc::clone(&shared)));
        runtime
            .get_handle()
            .spawn(health::check_servers(Arc::clone(&shared)));
        Ok(Self {
            shared,
            addresses,
            fds,
            stop,
            runtime: Mutex::new(Some(runtime)),
        })
    }

    /// Where clients can connect, in the order of the file.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Puts settings into force: requests that begin from now on see them, those under way keep
    /// what they began with.
    ///
    /// # Errors
    /// [`PublishError`]; then everything is as it was.
    pub fn publish(&self, revision: u64, settings: &Arc<Settings>) -> Result<(), PublishError> {
        self.shared.publish(revision, settings)?;
        // What is idle above a lowered limit goes now; what is busy stays until it is done.
        self.shared.slots.shed(settings.connections.max);
        sweep_pools(&self.shared);
        Ok(())
    }

    /// The routes in force.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        self.shared.routes.lock().clone()
    }

    /// Takes over the routes of a file that is being reloaded; they come into force with the next
    /// [`Engine::publish`]. Returns the present ones, to put back should that fail.
    pub fn set_routes(&self, routes: Vec<Route>) -> Vec<Route> {
        std::mem::replace(&mut *self.shared.routes.lock(), routes)
    }

    /// Opens the access log anew, after it has been rotated.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.shared.access_log {
            log.reopen();
        }
    }

    /// Hands the listening sockets to a new process that waits for them at `path`, if there is one.
    /// From then on it accepts connections too; [`Engine::drain`] should follow.
    ///
    /// Returns whether there was one.
    ///
    /// # Errors
    /// What went wrong with a process that was waiting.
    pub fn hand_over(&self, path: &Path) -> Result<bool, String> {
        if !path.exists() {
            return Ok(false);
        }
        listen::hand_over(&self.fds, path).map(|()| true)
    }

    /// Stops accepting, lets requests in flight finish for up to `timeouts.drain`, and closes. Idle
    /// connections may make one more request within the first half second.
    ///
    /// Returns how many client connections had to be cut off.
    pub fn drain(&self) -> u32 {
        let limit = self.shared.snapshot.load().settings.timeouts.drain;
        self.shared.draining.store(true, Ordering::Release);
        // Nobody receives this if the listeners have ended by themselves.
        let _ = self.stop.send(true);
        let started = Instant::now();
        while self.shared.slots.clients() > 0 && started.elapsed() < limit {
            if started.elapsed() >= LINGER {
                self.shared.closing.store(true, Ordering::Release);
                self.shared.slots.reclaim().notify_waiters();
            }
            std::thread::sleep(DRAIN_STEP);
        }
        let cut = self.shared.slots.clients();
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_timeout(Duration::from_millis(100));
        }
        if let Some(log) = &self.shared.access_log {
            log.close();
        }
        cut
    }
}

/// Looks the names of servers up again and again, and follows where they lead.
async fn follow_names(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(LOOK_UP_EVERY);
    loop {
        tick.tick().await;
        let shared = Arc::clone(&shared);
        // The system's resolver blocks.
        let looking = tokio::task::spawn_blocking(move || {
            let settings = Arc::clone(&shared.snapshot.load().settings);
            if shared.compiler.names_changed(&settings) {
                tracing::info!("a server's name stands for other addresses now");
                shared.refresh();
            }
        });
        if looking.await.is_err() {
            tracing::error!("looking up server names failed");
        }
    }
}

/// Closes idle upstream connections that are too old, too many, dead, or lead to a server that health checks
/// have taken out.
async fn sweep(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        tick.tick().await;
        sweep_pools(&shared);
    }
}

fn sweep_pools(shared: &Shared) {
    for upstream in &shared.snapshot.load().upstreams {
        upstream
            .pool
            .sweep(upstream.keepalive_timeout, upstream.keepalive);
        for (address, server) in upstream.state.servers() {
            if server.checks.is_out() {
                upstream.pool.close_to(address);
            }
        }
    }
}
