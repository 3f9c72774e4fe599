//! Asking a run to end early and still report what it measured.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Exit code of a process that a second Ctrl-C ends at once.
const KILLED: i32 = 130;

/// Asks a run to end early; clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct StopToken(Arc<Inner>);

#[derive(Default)]
struct Inner {
    parent: Option<StopToken>,
    stopped: AtomicBool,
    changed: Notify,
    reason: Mutex<Option<String>>,
    last_act: Mutex<Option<LastAct>>,
}

type LastAct = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("stopped", &self.stopped)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
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
                        let name = tokio::select! {
                            _ = interrupt.recv() => "Ctrl-C (SIGINT)",
                            _ = terminate.recv() => "SIGTERM",
                        };
                        stopper.again_or_first(name);
                    }
                });
            })?;
        Ok(token)
    }

    /// What a Ctrl-C means: the first one stops the run, a second one ends the process.
    pub fn again_or_first(&self, source: &str) {
        if self.is_stopped() {
            self.end_now();
        }
        self.stop_because(format!("by {source}"));
    }

    /// A token that ends with this one, and can be stopped without it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(Inner {
            parent: Some(self.clone()),
            ..Inner::default()
        }))
    }

    /// Asks the run to end.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Asks the run to end and says why, in words that follow "stopped". The first reason is kept.
    pub fn stop_because(&self, reason: impl Into<String>) {
        self.0.reason.lock().get_or_insert_with(|| reason.into());
        self.stop();
    }

    /// Why the run was asked to end, if anybody said so.
    pub fn reason(&self) -> Option<String> {
        self.0.reason.lock().clone()
    }

    /// What to do before a second Ctrl-C ends the process, such as putting the terminal back.
    pub fn before_forced_end(&self, act: impl FnOnce() + Send + 'static) {
        *self.0.last_act.lock() = Some(Box::new(act));
    }

    fn end_now(&self) -> ! {
        let act = self.0.last_act.lock().take();
        if let Some(act) = act {
            act();
        }
        std::process::exit(KILLED)
    }

    /// Whether somebody asked the run to end.
    pub fn is_stopped(&self) -> bool {
        let parent = self.0.parent.as_ref();
        self.0.stopped.load(Ordering::Acquire) || parent.is_some_and(Self::is_stopped)
    }

    /// Waits until somebody asks the run to end.
    pub async fn stopped(&self) {
        match &self.0.parent {
            None => self.stopped_itself().await,
            Some(parent) => tokio::select! {
                () = self.stopped_itself() => {}
                () = Box::pin(parent.stopped()) => {}
            },
        }
    }

    async fn stopped_itself(&self) {
        let changed = self.0.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if !self.0.stopped.load(Ordering::Acquire) {
            changed.await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_kept() {
        let stop = StopToken::new();
        assert!(!stop.is_stopped() && stop.reason().is_none());
        stop.stop_because("by Ctrl-C");
        stop.clone().stop_because("since errors passed 5 %");
        assert!(stop.is_stopped());
        assert_eq!(stop.reason().unwrap(), "by Ctrl-C");
    }
}
