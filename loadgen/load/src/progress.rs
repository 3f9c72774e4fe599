//! What a run tells while it runs.

use std::{sync::Arc, time::Duration};

use crate::record::{Counts, FailureKind};

/// Told once a second how a run is going, from the collecting thread.
pub trait Progress: Send + Sync {
    /// One second has passed.
    fn tick(&self, tick: &Tick);

    /// Everything is up and the load is about to begin; these processes take part.
    fn begins(&self, _watched: &[Watched]) {}
}

/// Progress that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn tick(&self, _: &Tick) {}
}

/// Progress that several look at, in order.
#[derive(Default)]
pub struct Fan(Vec<Arc<dyn Progress>>);

impl Fan {
    /// Tells each of these.
    #[must_use]
    pub fn new(listeners: Vec<Arc<dyn Progress>>) -> Self {
        Self(listeners)
    }

    /// Tells this one too.
    pub fn add(&mut self, listener: Arc<dyn Progress>) {
        self.0.push(listener);
    }
}

impl Progress for Fan {
    fn tick(&self, tick: &Tick) {
        for listener in &self.0 {
            listener.tick(tick);
        }
    }

    fn begins(&self, watched: &[Watched]) {
        for listener in &self.0 {
            listener.begins(watched);
        }
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Load is on; nothing counts yet.
    #[default]
    WarmUp,
    /// Everything counts.
    Measured,
}

/// The last second of a run.
#[derive(Debug, Clone, Default)]
pub struct Tick {
    /// Where the run is.
    pub phase: Phase,
    /// Time since the phase began.
    pub elapsed: Duration,
    /// Planned length of the phase.
    pub planned: Duration,
    /// Arrivals that the schedule intended in the last second; 0 in a closed model and in warm-up.
    pub intended: u64,
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
    /// 95th percentile of the last second's successes.
    pub p95: Duration,
    /// 99th percentile of the last second's successes.
    pub p99: Duration,
    /// Longest response time of the last second's successes.
    pub max: Duration,
    /// 99th percentile of the send lag in the last second; zero in a closed model and in warm-up.
    pub send_lag_p99: Duration,
    /// Requests in flight at the end of the second.
    pub in_flight: u64,
    /// Users that are there, or connections.
    pub users: u64,
    /// Each endpoint, in scenario order; the login comes last, if there is one.
    pub endpoints: Vec<EndpointTick>,
    /// Failures of the last second by kind, 429 included.
    pub failures: Vec<(FailureKind, u64)>,
}

/// One endpoint in the last second.
#[derive(Debug, Clone, Default)]
pub struct EndpointTick {
    /// Name in the scenario.
    pub name: String,
    /// What was completed.
    pub counts: Counts,
    /// Median response time of the successes.
    pub p50: Duration,
    /// 99th percentile of the successes.
    pub p99: Duration,
    /// Successes with a response time up to each of [`BUCKETS_S`] and above the one before; the
    /// last entry counts those above all of them. Empty when there were none.
    pub buckets: Vec<u64>,
    /// Sum of the response times of the successes, seconds.
    pub sum_s: f64,
}

/// Upper edges of the buckets in [`EndpointTick::buckets`], seconds.
pub const BUCKETS_S: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
];

/// A process or a container to sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Name in reports.
    pub name: String,
    /// Process id; of a container, its main process.
    pub pid: u32,
    /// What of it is sampled.
    pub extent: Extent,
}

impl Watched {
    /// A process.
    pub fn process(name: impl Into<String>, pid: u32) -> Self {
        Self {
            name: name.into(),
            pid,
            extent: Extent::Process,
        }
    }

    /// A container, by its main process.
    pub fn container(name: impl Into<String>, pid: u32) -> Self {
        Self {
            extent: Extent::Container,
            ..Self::process(name, pid)
        }
    }

    /// This program.
    #[must_use]
    pub fn generator() -> Self {
        Self::process("generator", std::process::id())
    }
}

/// What is sampled of something watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The process alone.
    Process,
    /// The whole container that the process is the first of, from its control groups.
    Container,
}
