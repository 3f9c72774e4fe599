//! `weir run`: the parts put together, and the signals.

mod files;
mod open;
mod signals;

use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::{error, info, warn};
use weir_proxy::admin::{self, Phase, Readiness, Sockets, UnixSocket};
use weir_proxy::config::{self, Config, ConfigErrors};
use weir_proxy::engine::Engine;
use weir_proxy::observe::metrics::Metrics;
use weir_proxy::settings::Store;

use self::files::{announce, remove_pid_file};
use self::open::{admin_state, open_access, open_log, start_log};
use self::signals::{drain, hand_over, until_told_to_stop};
use crate::cli::{EXIT_FAILED, EXIT_USAGE, RunArgs};
use crate::reload::Reloader;

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
