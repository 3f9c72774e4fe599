//! One run: a scenario against a target, from the first connection to a [`Summary`].
//!
//! [`drive`] blocks the calling thread; worker threads with runtimes of their own send the load,
//! and one collecting thread merges what they recorded, once a second.

mod abort;
mod arrivals;
mod budget;
mod collect;
mod dispatch;
mod driver;
mod error;
mod lane;
mod summarise;
mod worker;

use std::time::{Duration, SystemTime};

pub use self::{driver::drive, error::RunError};
use crate::{record::Recording, shard::Shard, slo::Rule, summary::Summary};

pub use self::abort::AbortWatch;
pub(crate) use self::collect::Collector;
pub use self::summarise::latency;

/// How to run, apart from what the scenario says.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Generator threads, each with its share of the load; at least 1.
    pub threads: usize,
    /// Number of source addresses in 127.0.0.0/8 to spread connections over; 1 leaves
    /// the choice to the system.
    pub source_addresses: u32,
    /// Longest wait, after the measured part, for answers that are still on their way.
    pub drain: Duration,
    /// Which part of the run this process does; connections, users and arrivals are split alike.
    pub shard: Shard,
    /// When the load begins; `None` begins as soon as everybody is ready. It is an error when
    /// that takes longer.
    pub start_at: Option<SystemTime>,
    /// Rules whose breach ends the run early: those of these that have `abort`.
    pub abort: Vec<Rule>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            source_addresses: 1,
            drain: Duration::from_secs(10),
            shard: Shard::WHOLE,
            start_at: None,
            abort: Vec::new(),
        }
    }
}

/// What a run yields.
#[derive(Debug)]
pub struct Outcome {
    /// Key figures.
    pub summary: Summary,
    /// Raw histograms and the time series.
    pub recording: Recording,
}
