//! A fair share of a worker's time.

use std::future::Future as _;
use std::pin::pin;
use std::task::Context;

/// Bytes that one connection may move before others have their turn.
const SHARE: usize = 128 * 1024;

/// What is left of a connection's turn.
///
/// The runtime's own budget counts calls, and a socket that is always ready makes each of them 64 KB
/// big. Bytes are what takes time.
#[derive(Debug)]
pub(super) struct Turn {
    left: usize,
}

// === impl Turn ===

impl Turn {
    pub(super) fn new() -> Self {
        Self { left: SHARE }
    }

    /// Counts `bytes` that were moved.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Has the task polled again once others, and the sockets they wait for, have had their turn.
    pub(super) fn pass(cx: &mut Context<'_>) {
        // Polled once, it hands the waker to the scheduler, to be woken after the next look at the
        // sockets.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }
}
