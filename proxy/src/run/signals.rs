//! Signals.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often `--exit-with-parent` looks whether the parent is there.
const PARENT_CHECK: Duration = Duration::from_millis(250);

/// The signals that mean something. From [`Signals::install`] on none of them ends the process by its default
/// action; those that come before anybody asks are kept.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    /// The parent whose end counts as a signal.
    parent: Option<u32>,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// To end; with its name.
    Stop(&'static str),
    /// To hand over to a successor (SIGQUIT).
    HandOver,
    /// To read the configuration file again (SIGHUP).
    Reload,
    /// To open the logs anew (SIGUSR1).
    Reopen,
}

impl Signals {
    /// Handles the signals from now on.
    pub(super) fn install(parent: Option<u32>) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            parent,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Event::Stop("SIGINT"),
            () = parent_gone(&mut self.parent) => Event::Stop("parent process ended"),
            _ = self.quit.recv() => Event::HandOver,
            _ = self.hangup.recv() => Event::Reload,
            _ = self.user1.recv() => Event::Reopen,
        }
    }

    /// The next one that says stop; the others wait for [`Signals::next`].
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = parent_gone(&mut self.parent) => "parent process ended",
        }
    }
}

/// Resolves, once, when this process has been handed to another parent; never, if none is named. The name comes
/// from the parent itself: one that was killed while this process started is noticed too.
async fn parent_gone(parent: &mut Option<u32>) {
    let Some(id) = *parent else {
        return std::future::pending().await;
    };
    while std::os::unix::process::parent_id() == id {
        tokio::time::sleep(PARENT_CHECK).await;
    }
    *parent = None;
}
