//! How long a peer has taken nothing.

use std::time::Instant;

/// Since when a peer has taken nothing of what waits for it.
#[derive(Debug, Default)]
pub(super) struct Stall {
    since: Option<Instant>,
    written: u64,
}

// === impl Stall ===

impl Stall {
    /// Nothing waits.
    pub(super) fn clear(&mut self) {
        self.since = None;
    }

    /// Something waits; `written` is how much the peer has taken in all.
    pub(super) fn note(&mut self, written: u64, now: Instant) {
        if self.since.is_none() || self.written != written {
            self.since = Some(now);
            self.written = written;
        }
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}
