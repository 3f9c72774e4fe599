//! Signals, and the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use weir_proxy::admin::AuditLog;
use weir_proxy::config::Config;
use weir_proxy::engine::Engine;

use crate::cli::{EXIT_FAILED, RunArgs};
use crate::reload::Reloader;

/// How often `--exit-with-parent` looks whether the parent is there.
const PARENT_CHECK: Duration = Duration::from_millis(250);

/// Handles signals until one says stop; returns its name.
pub(super) async fn until_told_to_stop(
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
pub(super) fn hand_over(config: &Config, engine: &Engine) -> bool {
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

/// Drains off this thread, so that the admin API answers meanwhile. A second signal ends it at once.
pub(super) async fn drain(engine: Arc<Engine>) -> u32 {
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
