//! Serving, from the first connection to the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use weir_proxy::admin::{self, AdminState, AuditLog, Phase, Readiness, Sockets};
use weir_proxy::config::Config;
use weir_proxy::engine::Engine;
use weir_proxy::engine::handover::{After, HandOverError, Predecessor, Successor};
use weir_proxy::observe::log::ErrorLog;
use weir_proxy::settings::Store;

use super::files::{self, remove_pid_file};
use super::open::Ready;
use super::signals::{Event, Signals};
use super::upgrade;
use crate::cli::RunArgs;
use crate::exit::EXIT_FAILED;
use crate::reload::Reloader;

/// Pause between two attempts to take the clients back.
const RETRY: std::time::Duration = std::time::Duration::from_millis(100);

/// Why serving ends.
enum End {
    /// Told to stop.
    Stop(&'static str),
    /// Another process serves now.
    HandedOver(Successor),
}

/// What became of a drain.
enum Drained {
    /// It is over; so many connections were cut off.
    Over(u32),
    /// The successor has died meanwhile.
    TakenBack,
}

/// The admin API while this process serves.
struct AdminServer {
    readiness: Readiness,
    /// Dropped to end it.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

/// Serves until told to stop, or until a successor does.
pub(super) async fn serve(
    args: &RunArgs,
    config: &Config,
    mut ready: Ready,
    predecessor: Option<Predecessor>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let engine = Arc::clone(&ready.engine);
    let reloader = Arc::new(Reloader {
        file: args.config.clone(),
        running: config.clone(),
        engine: Arc::clone(&engine),
        store: Arc::clone(&ready.store),
        tokens: ready.access.tokens.clone(),
        turn: Mutex::new(()),
    });
    // Off this thread: to shrink a large rate limit may take long, and signals are heeded meanwhile.
    let (expiry, expiring) = oneshot::channel::<()>();
    drop(tokio::task::spawn_blocking({
        let (store, runtime) = (Arc::clone(&ready.store), tokio::runtime::Handle::current());
        move || {
            runtime.block_on(async {
                tokio::select! {
                    () = store.run_expiry() => {}
                    // A sender that is gone means the end.
                    _ = expiring => {}
                }
            });
        }
    }));
    let audit = ready.access.audit.clone();
    let reopen = || reopen_logs(&engine, audit.as_deref());
    let mut predecessor = predecessor;
    let mut again = false;
    loop {
        let mut admin = loop {
            match begin(&ready, &reloader) {
                Ok(admin) => break admin,
                // Nobody else would serve.
                Err(error) if again => error!("{error:#}; trying again"),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(RETRY).await;
        };
        announce(&mut ready)?;
        let end = until_the_end(&ready, config, &reloader, signals, &reopen).await;
        admin.readiness.enter(Phase::Draining);
        if let Some(predecessor) = predecessor.take() {
            predecessor.leave().await;
        }
        let mut successor = match end {
            End::Stop(reason) => {
                info!(reason, "draining");
                engine.close_listeners();
                None
            }
            End::HandedOver(successor) => {
                info!("the successor serves; draining");
                engine.stop_accepting();
                if let Some(socket) = &mut ready.admin_socket {
                    socket.leave_file();
                }
                admin.stop();
                Some(successor)
            }
        };
        match drain(&engine, signals, &mut successor, &reopen, &ready.errors).await {
            Drained::Over(cut) => {
                if cut > 0 {
                    warn!(
                        connections = cut,
                        "timeouts.drain is over; connections were cut off"
                    );
                }
                admin.end().await;
                break;
            }
            Drained::TakenBack => {
                error!("the successor has died; this process serves again");
                again = true;
                if let Some(socket) = &mut ready.admin_socket {
                    socket.keep_file();
                }
                ready
                    .files
                    .extend(files::pid_file(config).unwrap_or_else(|error| {
                        error!("{error:#}");
                        None
                    }));
            }
        }
    }
    drop(expiry);
    remove_pid_file(config);
    if let Some(audit) = &audit {
        audit.close();
    }
    info!("bye");
    Ok(())
}

/// Accepts connections of clients and of the admin API.
fn begin(ready: &Ready, reloader: &Arc<Reloader>) -> anyhow::Result<AdminServer> {
    let admin = AdminServer::start(ready, reloader)?;
    let accepting = ready.engine.accept();
    accepting.context("cannot accept connections")?;
    admin.readiness.enter(Phase::Ready);
    Ok(admin)
}

/// Tells where the proxy can be reached.
fn announce(ready: &mut Ready) -> anyhow::Result<()> {
    for address in ready.engine.addresses() {
        info!(%address, "listening");
    }
    info!(address = %ready.admin.local_addr()?, "admin API");
    ready.files.drain(..).for_each(files::Pending::place);
    Ok(())
}

/// Serves until a signal says stop, or a successor has taken over.
async fn until_the_end(
    ready: &Ready,
    config: &Config,
    reloader: &Arc<Reloader>,
    signals: &mut Signals,
    reopen: &impl Fn(),
) -> End {
    type HandingOver<'a> =
        std::pin::Pin<Box<dyn Future<Output = Result<Successor, HandOverError>> + 'a>>;
    let mut handing_over: Option<HandingOver<'_>> = None;
    loop {
        let handed_over = async {
            match &mut handing_over {
                Some(it) => it.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = handed_over => match done {
                Ok(successor) => return End::HandedOver(successor),
                Err(error) => {
                    handing_over = None;
                    error!(%error, "sockets not handed over; this process goes on serving");
                }
            },
            event = signals.next() => match event {
                Event::Stop(reason) => return End::Stop(reason),
                Event::HandOver if handing_over.is_some() => {
                    info!("SIGQUIT: the sockets are being handed over already");
                }
                Event::HandOver => {
                    info!("SIGQUIT: looking for a successor");
                    handing_over = Some(Box::pin(upgrade::hand_over(ready, config)));
                }
                Event::Reload => {
                    let reloader = Arc::clone(reloader);
                    // Off this thread: names may be looked up.
                    drop(tokio::task::spawn_blocking(move || reloader.on_signal()));
                }
                Event::Reopen => reopen(),
            },
        }
    }
}

fn reopen_logs(engine: &Engine, audit: Option<&AuditLog>) {
    engine.reopen_log();
    if let Some(audit) = audit {
        audit.reopen();
    }
}

/// Drains off this thread, so that signals are heeded meanwhile. A second one to stop ends it at once.
async fn drain(
    engine: &Arc<Engine>,
    signals: &mut Signals,
    successor: &mut Option<Successor>,
    reopen: &impl Fn(),
    errors: &ErrorLog,
) -> Drained {
    let called_back = Arc::new(AtomicBool::new(false));
    let mut draining = tokio::task::spawn_blocking({
        let (engine, called_back) = (Arc::clone(engine), Arc::clone(&called_back));
        move || engine.drain(&called_back)
    });
    loop {
        let ended = async {
            match successor {
                Some(successor) => successor.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = &mut draining => return match done {
                Ok(Some(cut)) => Drained::Over(cut),
                Ok(None) => Drained::TakenBack,
                Err(_) => Drained::Over(0),
            },
            after = ended => {
                *successor = None;
                match after {
                    After::Died => called_back.store(true, Ordering::Release),
                    After::Left => engine.close_listeners(),
                }
            }
            event = signals.next() => match event {
                Event::Stop(_) => {
                    warn!("told to stop again: not waiting any longer");
                    errors.close();
                    std::process::exit(i32::from(EXIT_FAILED))
                }
                Event::Reopen => reopen(),
                Event::Reload | Event::HandOver => info!("draining; not heeded: {event:?}"),
            },
        }
    }
}

impl AdminServer {
    fn start(ready: &Ready, reloader: &Arc<Reloader>) -> anyhow::Result<Self> {
        let listener = ready.admin.try_clone();
        let unix = ready.admin_socket.as_ref();
        let sockets = Sockets::tcp(listener.context("admin.listen")?)
            .with_tls(ready.tls.clone())
            .with_unix(unix.map(admin::UnixSocket::share).transpose()?);
        let readiness = Readiness::new();
        let reloading = Arc::clone(reloader);
        let state = admin_state(&ready.engine, &ready.store, readiness.clone())
            .with_access(ready.access.clone())
            .with_reload(move |dry_run, author| reloading.reload(dry_run, author));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(admin::serve(sockets, state, async {
            // A sender that is gone means the same as a signal.
            let _ = stopped.await;
        }));
        Ok(Self {
            readiness,
            stop: Some(stop),
            task,
        })
    }

    /// Accepts no more; what is in flight is finished meanwhile.
    fn stop(&mut self) {
        self.stop = None;
    }

    /// Finishes what is in flight.
    async fn end(mut self) {
        self.stop();
        match self.task.await {
            Ok(Err(e)) => error!(error = %e, "admin listener failed"),
            Err(e) => error!(error = %e, "admin task failed"),
            Ok(Ok(())) => {}
        }
    }
}

fn admin_state(engine: &Arc<Engine>, store: &Arc<Store>, readiness: Readiness) -> AdminState {
    let (for_metrics, for_upstreams) = (Arc::clone(engine), Arc::clone(engine));
    let (for_limits, for_stats) = (Arc::clone(engine), Arc::clone(engine));
    let (overrides, counted) = (Arc::clone(store), Arc::clone(store));
    AdminState::new(Arc::clone(store), readiness)
        .with_metrics(move || for_metrics.metrics_text(overrides.overrides().len() as u64))
        .with_upstreams(move || for_upstreams.upstreams_json())
        .with_limits(move || for_limits.limits_json())
        .with_stats(move || for_stats.stats_json(counted.overrides().len() as u64))
}
