//! What the record of a shard says about being one, so that `weir-bench merge` can join them.

use serde::{Deserialize, Serialize};

use super::Shard;

/// Which part of a run a run folder holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Number of the shard, from 1.
    pub number: u32,
    /// How many shards the run has.
    pub of: u32,
    /// When the load was to begin, RFC 3339 with milliseconds, UTC; none without `--start-at`.
    #[serde(default)]
    pub start_at: Option<String>,
    /// The most requests per second that the profile of the whole run offers, by arithmetic.
    #[serde(default)]
    pub reach_rps: Option<f64>,
}

impl ShardRecord {
    /// The shard, if the numbers are those of one.
    #[must_use]
    pub fn shard(&self) -> Option<Shard> {
        Shard::new(self.number, self.of).ok()
    }
}

/// The shards that a merged run was joined from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MergeRecord {
    /// One entry a shard, by number.
    pub shards: Vec<MergedShard>,
    /// Between the first and the last start of a measured part, each by the clock of its own
    /// machine, seconds.
    pub skew_s: f64,
    /// Share of the measured part during which all shards were measuring, 0 to 1.
    pub overlap: f64,
}

/// One shard of a merged run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MergedShard {
    /// Its number, from 1.
    pub number: u32,
    /// Name of its run folder.
    pub folder: String,
    /// The machine it ran on.
    pub host: String,
    /// When its measured part began by the clock of that machine, RFC 3339.
    pub started_at: String,
    /// Requests completed.
    pub requests: u64,
    /// Requests per second that succeeded.
    pub throughput_rps: f64,
    /// Verdict on its measurement.
    pub verdict: crate::summary::Verdict,
}
