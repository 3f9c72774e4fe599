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
use weir_proxy::admin::{self, AdminState, Phase, Readiness};
use weir_proxy::config::{self, Config, ConfigErrors, LogFormat};
use weir_proxy::engine::Engine;
use weir_proxy::observe::access_log::{AccessLog, Format};
use weir_proxy::observe::metrics::Metrics;
use weir_proxy::settings::{Author, Store};

use crate::cli::{EXIT_FAILED, EXIT_USAGE, RunArgs};

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
        let state = admin_state(&engine, &store, readiness.clone());
        let serving = tokio::spawn(admin::serve(admin_listener, state, async {
            // A sender that is gone means the same as a signal.
            let _ = stopped.await;
        }));
        let expiry = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.run_expiry().await }
        });
        readiness.enter(Phase::Ready);
        announce(args, config, &engine, admin_address)?;
        let reason = until_told_to_stop(args, config, &engine, &store).await?;
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
    let (for_metrics, for_upstreams, for_limits) =
        (Arc::clone(engine), Arc::clone(engine), Arc::clone(engine));
    let overrides = Arc::clone(store);
    AdminState::new(Arc::clone(store), readiness)
        .with_metrics(move || for_metrics.metrics_text(overrides.overrides().len() as u64))
        .with_upstreams(move || for_upstreams.upstreams_json())
        .with_limits(move || for_limits.limits_json())
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
    config: &Config,
    engine: &Engine,
    store: &Store,
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
            _ = hangup.recv() => reload(&args.config, config, engine, store),
            _ = user1.recv() => engine.reopen_log(),
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

/// Reads the file again. One that does not validate changes nothing.
fn reload(file: &Path, running: &Config, engine: &Engine, store: &Store) {
    let (next, text) = match read(file) {
        Ok(read) => read,
        Err(problems) => {
            error!(
                "reload refused, everything stays as it was:\n{}",
                config::render(&problems)
            );
            return;
        }
    };
    let fixed: Vec<_> = running
        .fixed_differences(&next)
        .into_iter()
        .filter(|part| *part != "route")
        .collect();
    if !fixed.is_empty() {
        warn!(
            parts = fixed.join(", "),
            "these parts of the file have changed and need a restart"
        );
    }
    let old = engine.set_routes(next.routes.clone());
    match store.reload(
        next.settings(),
        Author::new("SIGHUP", "configuration file read again"),
    ) {
        Ok(done) => {
            store.read_from(file, &text);
            info!(
                revision = done.revision,
                changes = done.diff.len(),
                "configuration file read again"
            );
            for path in &done.shadowed {
                warn!(%path, "changed in the file, but a patch or an override is in force");
            }
        }
        Err(e) => {
            engine.set_routes(old);
            error!("reload refused, everything stays as it was: {e}");
        }
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
