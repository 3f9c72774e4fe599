//! Asking a run to end early and still report what it measured.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// Asks a run to end early; clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct StopToken(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stopped: AtomicBool,
    changed: Notify,
}

impl StopToken {
    /// A token that nobody has stopped yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that the first Ctrl-C or SIGTERM stops; a second one ends the process with
    /// code 130.
    ///
    /// # Errors
    ///
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let token = Self::new();
        let stopper = token.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let (mut interrupt, mut terminate) = {
            let _context = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                runtime.block_on(async {
                    loop {
                        tokio::select! {
                            _ = interrupt.recv() => {}
                            _ = terminate.recv() => {}
                        }
                        if stopper.is_stopped() {
                            std::process::exit(130);
                        }
                        stopper.stop();
                    }
                });
            })?;
        Ok(token)
    }

    /// Asks the run to end.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Whether somebody asked the run to end.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }

    /// Waits until somebody asks the run to end.
    pub async fn stopped(&self) {
        let changed = self.0.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if !self.is_stopped() {
            changed.await;
        }
    }
}
