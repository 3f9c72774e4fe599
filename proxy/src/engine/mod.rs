//! The engine: the only part that knows pingora.
//!
//! pingora provides the runtime, and what listeners need for TLS. HTTP/1 is this crate's own from byte to byte, and so is
//! what happens between a request and its answer (see `docs/decisions/0001-engine-on-pingora-core.md`):
//!
//! - `conn`: a client connection, from admission to close, and `conn_http2` if it speaks HTTP/2; `linger` closes it.
//! - `downstream`: the interface a request is served through, and its HTTP/1 session.
//! - `request` and `call`: one request, routed, limited, logged.
//! - `attempts`: the tries at servers; `upstream`: connections to them.
//! - `streams`: those of HTTP/2 connections; `grpc`: what gRPC needs of a proxy.
//! - `exchange`: request and answer in both directions at once; `wire`: the bytes of a connection.

mod attempts;
mod call;
mod clock;
mod conn;
mod conn_http2;
mod descriptors;
mod downstream;
mod exchange;
mod forward;
mod grpc;
mod health;
mod linger;
mod listen;
mod peer;
mod probe;
mod report;
mod request;
mod respond;
mod room;
mod shared;
mod slots;
mod snapshot;
mod stream;
mod streams;
mod turn;
mod upstream;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora_runtime::Runtime;
use tokio::sync::Notify;
use weir_api::config::{Config, ListenAddress};

use self::descriptors::Descriptors;
use self::downstream::http2::Flood;
use self::listen::accept::{Accepting, Acceptors};
pub use self::listen::{BindError, Claim, ListenSocket, handover};
use self::listen::{Listeners, Terms};
use self::shared::Shared;
use self::slots::Slots;
use self::snapshot::Compiler;
use self::upstream::Connector;
use crate::observe::RequestIds;
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::settings::{Published, Refusal, Unresolved};
use crate::upstream::Names;

use crate::tls::{Credentials, Upstreams};

/// How often the files of certificates and keys are looked at.
const FILES_EVERY: Duration = Duration::from_secs(2);
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

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        match error.0 {
            snapshot::CompileError::Unresolved(servers) => Self::Unresolved(servers),
            error => Self::Other(error.to_string()),
        }
    }
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot take effect.
    #[error(transparent)]
    Settings(#[from] PublishError),
    /// There is no thread for the look-up of names.
    #[error("cannot start a thread to look names up: {0}")]
    Names(io::Error),
}

/// The proxy at work.
pub struct Engine {
    shared: Arc<Shared>,
    listeners: Mutex<Listeners>,
    acceptors: Acceptors,
    /// Of each listener, in the order of the configuration.
    terms: Vec<Arc<Terms>>,
    credentials: Arc<Credentials>,
    runtime: Mutex<Option<Runtime>>,
}

impl Engine {
    /// The proxy without listeners: threads, servers and their health checks, under `first`.
    ///
    /// # Errors
    /// [`StartError`], among others if a name cannot be looked up within `resolver.timeout`.
    pub fn new(
        config: &Config,
        credentials: Arc<Credentials>,
        first: &Published,
        metrics: Arc<Metrics>,
        access_log: Option<AccessLog>,
    ) -> Result<Self, StartError> {
        let names = Names::new(&config.resolver).map_err(StartError::Names)?;
        let compiler = Compiler::new(Arc::clone(&metrics), names);
        let plans = upstream::TransportPlan::all(&config.transports, &credentials.upstreams());
        compiler.set_transports(plans);
        credentials.warn();
        let snapshot = compiler
            .compile_waiting(first)
            .map_err(PublishError::from)?;
        let threads = match config.server.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        for flood in Flood::ALL {
            metrics.http2.name(flood.as_str());
        }
        let descriptors = Descriptors::raise(threads, config.listeners.len());
        descriptors.compare(first.settings.connections.max);
        let shared = Arc::new(Shared {
            compiler,
            snapshot: ArcSwap::from_pointee(snapshot),
            published: Notify::new(),
            publishing: Mutex::default(),
            metrics,
            access_log,
            slots: Arc::new(Slots::new(descriptors.room())),
            descriptors,
            connector: Connector::new(),
            ids: RequestIds::new(),
            draining: AtomicBool::new(false),
            drain: Notify::new(),
            closing: AtomicBool::new(false),
        });
        // Without work stealing a connection stays on one thread, and so does its memory.
        let runtime = Runtime::new_no_steal(threads, "weir");
        let acceptors = Acceptors::new(&runtime, &shared);
        runtime.get_handle().spawn(sweep(Arc::clone(&shared)));
        follow_names(&shared);
        runtime
            .get_handle()
            .spawn(health::check_servers(Arc::clone(&shared)));
        runtime.get_handle().spawn(follow_files(
            Arc::clone(&credentials),
            Arc::clone(&shared.metrics),
        ));
        let listeners = config.listeners.iter().enumerate();
        let terms = listeners.map(|(n, it)| Arc::new(Terms::new(it, credentials.listener(n))));
        Ok(Self {
            shared,
            listeners: Mutex::default(),
            acceptors,
            terms: terms.collect(),
            credentials,
            runtime: Mutex::new(Some(runtime)),
        })
    }

    /// Takes open sockets to listen on, in the order of the configuration; [`Engine::accept`] accepts from them.
    pub fn listen(&self, sockets: Vec<ListenSocket>) {
        *self.listeners.lock() = Listeners::new(sockets);
    }

    /// Accepts connections, also again after [`Engine::stop_accepting`].
    ///
    /// # Errors
    /// Want of descriptors.
    pub fn accept(&self) -> io::Result<()> {
        let sockets = {
            let mut listeners = self.listeners.lock();
            let sockets = listeners.handles()?;
            listeners.keep_files();
            sockets
        };
        self.shared.draining.store(false, Ordering::Release);
        self.shared.closing.store(false, Ordering::Release);
        let listeners = sockets.into_iter().zip(self.terms.iter().cloned());
        self.acceptors.start(listeners.collect());
        Ok(())
    }

    /// Leaves further connections to a process that shares the sockets. They stay open.
    pub fn stop_accepting(&self) {
        self.shared.begin_draining();
        self.acceptors.close(Accepting::HandedOver);
        self.listeners.lock().leave_files();
    }

    /// Where clients can connect, in the order of the file.
    #[must_use]
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.listeners.lock().addresses()
    }

    /// Further handles on the listening sockets, for a process that is to share them.
    ///
    /// # Errors
    /// Want of descriptors.
    pub fn sockets(&self) -> io::Result<Vec<ListenSocket>> {
        self.listeners.lock().handles()
    }

    /// Puts settings and routes into force: requests that begin from now on see them, those under way
    /// keep what they began with.
    ///
    /// # Errors
    /// [`PublishError`]; then everything is as it was. Names that are not known are being looked up then.
    pub fn publish(&self, next: &Published) -> Result<(), PublishError> {
        self.shared.publish(next)?;
        self.shared
            .descriptors
            .compare(next.settings.connections.max);
        // What is idle above a lowered limit goes now; what is busy stays until it is done.
        self.shared.slots.shed(next.settings.connections.max);
        sweep_pools(&self.shared);
        Ok(())
    }

    /// Looks the names of servers up, unless they are known. Waits for `resolver.timeout` at most.
    ///
    /// # Errors
    /// [`PublishError`] for the first that cannot be looked up.
    pub fn look_up(&self, servers: &[Unresolved]) -> Result<(), PublishError> {
        Ok(self.shared.compiler.look_up(servers)?)
    }

    /// Takes over the certificates of listeners, and how connections to servers are made, of a file that is being
    /// reloaded, and lets `publish` put the rest of it in force. Everything is as it was if that fails.
    ///
    /// # Errors
    /// What is wrong with the certificates; or the error of `publish`.
    pub fn reload_with<T>(
        &self,
        config: &Config,
        upstreams: Upstreams,
        publish: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let plans = upstream::TransportPlan::all(&config.transports, &upstreams);
        let old = self.shared.compiler.set_transports(plans);
        let done = publish().inspect_err(|_| {
            self.shared.compiler.set_transports(old);
            // Something else may have been published meanwhile.
            self.shared.refresh();
        })?;
        self.credentials.set_upstreams(upstreams);
        if let Err(problems) = self.credentials.replace_listeners(&config.listeners) {
            tracing::error!(%problems, "the old certificates stay in use");
        }
        Ok(done)
    }

    /// Certificates and keys in use.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Opens the access log anew, after it has been rotated.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.shared.access_log {
            log.reopen();
        }
    }

    /// Closes the listening sockets: clients are refused, unless another process shares them. Those that are in the
    /// queue of a socket which is not shared are still served.
    pub fn close_listeners(&self) {
        self.shared.begin_draining();
        self.acceptors.close(Accepting::Closing);
        *self.listeners.lock() = Listeners::default();
    }

    /// Lets requests in flight finish for up to `timeouts.drain`, and closes; accepting has been stopped. Idle
    /// connections may make one more request within the first half second.
    ///
    /// Returns how many client connections had to be cut off; nothing if it was `called_back` before it was
    /// over. Then [`Engine::accept`] may follow.
    pub fn drain(&self, called_back: &AtomicBool) -> Option<u32> {
        let limit = self.shared.snapshot.load().settings.timeouts.drain;
        let started = Instant::now();
        while self.acceptors.are_busy() && started.elapsed() < limit {
            if called_back.load(Ordering::Acquire) {
                return None;
            }
            if started.elapsed() >= LINGER {
                self.shared.closing.store(true, Ordering::Release);
                self.shared.slots.reclaim().notify_waiters();
            }
            std::thread::sleep(DRAIN_STEP);
        }
        if called_back.load(Ordering::Acquire) {
            return None;
        }
        let cut = self.shared.slots.clients();
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_timeout(Duration::from_millis(100));
        }
        if let Some(log) = &self.shared.access_log {
            log.close();
        }
        Some(cut)
    }
}

/// Reads certificates and keys again when their files change, and tells how long they are good for.
async fn follow_files(credentials: Arc<Credentials>, metrics: Arc<Metrics>) {
    let mut tick = tokio::time::interval(FILES_EVERY);
    loop {
        tick.tick().await;
        let (credentials, metrics) = (Arc::clone(&credentials), Arc::clone(&metrics));
        // Reading files blocks.
        let reading = tokio::task::spawn_blocking(move || credentials.refresh(&metrics.tls));
        if reading.await.is_err() {
            tracing::error!("reading certificates failed");
        }
    }
}

/// Follows the names of servers in force: what they lead to is put in force when it changes.
fn follow_names(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    shared.compiler.names().on_change(move || {
        if let Some(shared) = weak.upgrade() {
            shared.refresh();
        }
    });
    shared.compiler.follow(&shared.snapshot.load());
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
