//! `weir run`: the parts put together, and the signals.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;
use weir_proxy::admin::{
    self, Access, AdminState, AuditLog, Phase, Readiness, Sockets, TokenFile, UnixSocket,
};
use weir_proxy::config::{self, Config, ConfigErrors, LogFormat};
use weir_proxy::engine::Engine;
use weir_proxy::observe::access_log::{AccessLog, Format};
use weir_proxy::observe::metrics::Metrics;
use weir_proxy::settings::Store;

use crate::cli::{EXIT_FAILED, EXIT_USAGE, RunArgs};
use crate::reload::Reloader;

/// How often `--exit-with-parent` looks whether the parent is there.
const PARENT_CHECK: Duration = Duration::from_millis(250);

/// How long an upgrade waits for the old process to give up the admin address.
const ADMIN_FREE: Duration = Duration::from_secs(10);

/// Runs until a signal; the exit code says how it went.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let (config, text) = match read(&args.config) {
        Ok(read) => read,
        Err(problems) => {
            eprint!("{}", config::render(&problems));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    start_log();
    match serve(args, &config, &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("weir: {e:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The configuration, and the text that it was read from.
fn read(file: &Path) -> Result<(Config, String), ConfigErrors> {
    let text = config::read(file)?;
    Ok((config::parse(&text, &file.display().to_string())?, text))
}

/// The program's own log goes to standard error; `WEIR_LOG` chooses how much of it.
fn start_log() {
    let filter = EnvFilter::try_from_env("WEIR_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,pingora_core=error,pingora=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .init();
}

fn serve(args: &RunArgs, config: &Config, text: &str) -> anyhow::Result<()> {
    let address = config.admin.listen;
    let bind_admin = || {
        TcpListener::bind(address)
            .with_context(|| format!("admin.listen: cannot listen on {address}"))
    };
    // The process that is replaced holds the address until it has handed its sockets over.
    let early = if args.upgrade {
        None
    } else {
        Some(bind_admin()?)
    };
    let access = open_access(config)?;
    let tls = config.admin.tls.as_ref().map(admin::load_tls).transpose()?;
    let store = Arc::new(Store::new(config.settings()).map_err(|e| anyhow::anyhow!("{e}"))?);
    store.read_from(&args.config, text);
    let log = open_log(config)?;
    let first = store.current();
    let metrics = Arc::new(Metrics::new()?);
    let engine = Arc::new(Engine::start(
        config,
        first.revision,
        &first.settings,
        metrics,
        log,
        args.upgrade,
    )?);
    let admin_listener = match early {
        Some(listener) => listener,
        None => retry(ADMIN_FREE, bind_admin)?,
    };
    let admin_address = admin_listener.local_addr()?;
    let unix = config.admin.socket.as_deref().map(UnixSocket::bind);
    let sockets = Sockets::tcp(admin_listener)
        .with_tls(tls)
        .with_unix(unix.transpose()?);
    let audit = access.audit.clone();
    let reloader = Arc::new(Reloader {
        file: args.config.clone(),
        running: config.clone(),
        engine: Arc::clone(&engine),
        store: Arc::clone(&store),
        tokens: access.tokens.clone(),
        turn: parking_lot::Mutex::new(()),
    });
    store
        .on_publish({
            let engine = Arc::clone(&engine);
            Box::new(move |next| {
                engine
                    .publish(next.revision, &next.settings)
                    .map_err(|e| e.to_string())
            })
        })
        .map_err(|e| anyhow::anyhow!("{e}"))?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the admin runtime")?;
    runtime.block_on(async {
        let readiness = Readiness::new();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let reloading = Arc::clone(&reloader);
        let state = admin_state(&engine, &store, readiness.clone())
            .with_access(access)
            .with_reload(move |dry_run, author| reloading.reload(dry_run, author));
        let serving = tokio::spawn(admin::serve(sockets, state, async {
            // A sender that is gone means the same as a signal.
            let _ = stopped.await;
        }));
        let expiry = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.run_expiry().await }
        });
        readiness.enter(Phase::Ready);
        announce(args, config, &engine, admin_address)?;
        let reason = until_told_to_stop(args, &reloader, audit.as_deref()).await?;
        info!(reason, "draining");
        readiness.enter(Phase::Draining);
        let mut stop = Some(stop);
        if reason == "SIGQUIT" && hand_over(config, &engine) {
            // The successor wants the admin address.
            drop(stop.take());
        }
        let cut = drain(Arc::clone(&engine)).await;
        if cut > 0 {
            warn!(
                connections = cut,
                "timeouts.drain is over; connections were cut off"
            );
        }
        expiry.abort();
        drop(stop);
        match serving.await {
            Ok(Err(e)) => error!(error = %e, "admin listener failed"),
            Err(e) => error!(error = %e, "admin task failed"),
            Ok(Ok(())) => {}
        }
        remove_pid_file(config);
        info!("bye");
        Ok(())
    })
}

/// Repeats `attempt` until it succeeds or `limit` is over; then its last error counts.
fn retry<T>(limit: Duration, attempt: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            done => return done,
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

/// Who may use the admin API.
fn open_access(config: &Config) -> anyhow::Result<Access> {
    let admin = &config.admin;
    let tokens = admin.tokens.as_deref().map(TokenFile::open).transpose();
    let audit = admin.audit_log.as_deref().map(|path| {
        AuditLog::open(path)
            .with_context(|| format!("admin.audit_log: cannot open {}", path.display()))
    });
    Ok(Access {
        tokens: tokens.context("admin.tokens")?.map(Arc::new),
        hosts: admin.hosts.clone(),
        audit: audit.transpose()?.map(Arc::new),
        profile: admin.profile,
    })
}

fn open_log(config: &Config) -> anyhow::Result<Option<AccessLog>> {
    let log = &config.access_log;
    if !log.enabled {
        return Ok(None);
    }
    let format = match log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    AccessLog::open(&log.path, format, log.buffer)
        .map(Some)
        .with_context(|| format!("access_log.path: cannot open {}", log.path.display()))
}

/// Tells where the proxy can be reached.
fn announce(
    args: &RunArgs,
    config: &Config,
    engine: &Engine,
    admin: SocketAddr,
) -> anyhow::Result<()> {
    for address in engine.addresses() {
        info!(%address, "listening");
    }
    info!(address = %admin, "admin API");
    if let Some(file) = &config.server.pid_file {
        write_whole(file, &format!("{}\n", std::process::id()))
            .with_context(|| format!("server.pid_file: cannot write {}", file.display()))?;
    }
    if let Some(file) = &args.ports_file {
        let listeners: Vec<String> = engine
            .addresses()
            .iter()
            .map(SocketAddr::to_string)
            .collect();
        let text = json!({ "listeners": listeners, "admin": admin.to_string(), "pid": std::process::id() });
        write_whole(file, &text.to_string())
            .with_context(|| format!("--ports-file: cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Writes a file so that a reader sees all of it or nothing.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let temp = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut out = std::fs::File::create(&temp)?;
    out.write_all(text.as_bytes())?;
    std::fs::rename(&temp, file)
}

/// Handles signals until one says stop; returns its name.
async fn until_told_to_stop(
    args: &RunArgs,
    reloader: &Reloader,
    audit: Option<&AuditLog>,
) -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut user1 = signal(SignalKind::user_defined1())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = interrupt.recv() => return Ok("SIGINT"),
            _ = quit.recv() => return Ok("SIGQUIT"),
            () = parent_gone(args.exit_with_parent) => return Ok("parent process ended"),
            _ = hangup.recv() => reloader.on_signal(),
            _ = user1.recv() => {
                reloader.engine.reopen_log();
                if let Some(Err(error)) = audit.map(AuditLog::reopen) {
                    error!(%error, "cannot open the audit log anew");
                }
            }
        }
    }
}

/// Resolves when this process has been handed to another parent; never, if none is named. The name comes
/// from the parent itself: one that was killed while this process started is noticed too.
async fn parent_gone(parent: Option<u32>) {
    let Some(parent) = parent else {
        return std::future::pending().await;
    };
    while std::os::unix::process::parent_id() == parent {
        tokio::time::sleep(PARENT_CHECK).await;
    }
}

/// Gives the listening sockets to a successor that waits for them; `false` if there is none.
fn hand_over(config: &Config, engine: &Engine) -> bool {
    match engine.hand_over(&config.server.upgrade_socket) {
        Ok(true) => info!("listening sockets handed over"),
        Ok(false) => return false,
        Err(e) => {
            error!(error = %e, "cannot hand the listening sockets over");
            return false;
        }
    }
    true
}

/// Removes the pid file, unless a successor has written its own.
fn remove_pid_file(config: &Config) {
    let Some(file) = &config.server.pid_file else {
        return;
    };
    let ours = std::process::id().to_string();
    if std::fs::read_to_string(file).is_ok_and(|text| text.trim() == ours) {
        // It may have been removed by hand meanwhile.
        let _ = std::fs::remove_file(file);
    }
}

/// Drains off this thread, so that the admin API answers meanwhile. A second signal ends it at once.
async fn drain(engine: Arc<Engine>) -> u32 {
    let draining = tokio::task::spawn_blocking(move || engine.drain());
    let again = async {
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            return std::future::pending().await;
        };
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    tokio::select! {
        cut = draining => cut.unwrap_or_default(),
        () = again => {
            warn!("told to stop again: not waiting any longer");
            std::process::exit(i32::from(EXIT_FAILED))
        }
    }
}
