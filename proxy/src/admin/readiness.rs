//! Whether the proxy takes requests.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// Where the proxy is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not listening yet.
    Starting,
    /// Taking requests.
    Ready,
    /// Finishing what is in flight.
    Draining,
}

/// A handle on the proxy's phase; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// A proxy that is starting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Enters a phase. Phases only go forward: a proxy that drains is never ready again.
    pub fn enter(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}
