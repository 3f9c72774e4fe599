//! What a run tells while it runs.

use std::time::Duration;

/// Told once a second how a run is going, from the collecting thread.
pub trait Progress: Send + Sync {
    /// One second has passed.
    fn tick(&self, tick: &Tick);
}

/// Progress that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn tick(&self, _: &Tick) {}
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Load is on; nothing counts yet.
    WarmUp,
    /// Everything counts.
    Measured,
}

/// The last second of a run.
#[derive(Debug, Clone)]
pub struct Tick {
    /// Where the run is.
    pub phase: Phase,
    /// Time since the phase began.
    pub elapsed: Duration,
    /// Planned length of the phase.
    pub planned: Duration,
    /// Requests completed in the last second, failures included.
    pub requests: u64,
    /// Successes in the last second.
    pub ok: u64,
    /// 429 answers in the last second.
    pub limited: u64,
    /// Failures in the last second, 429 excluded.
    pub errors: u64,
    /// Median response time of the last second's successes.
    pub p50: Duration,
    /// 99th percentile of the last second's successes.
    pub p99: Duration,
    /// Requests in flight at the end of the second.
    pub in_flight: u64,
    /// Users or connections started so far.
    pub users: u64,
}
