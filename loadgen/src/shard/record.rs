//! `shard.json`: what a shard leaves beside its recordings, so that they can be joined.

use serde::{Deserialize, Serialize};

use super::Shard;

/// Name of the file in a run folder.
pub const FILE: &str = "shard.json";

/// What `shard.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Version of this shape.
    pub format: u32,
    /// Number of the shard, from 1.
    pub number: u32,
    /// How many shards the run has.
    pub of: u32,
    /// When the load was to begin, RFC 3339 with milliseconds, UTC; none without `--start-at`.
    pub start_at: Option<String>,
    /// When the measured part began by the clock of this machine, seconds since 1970.
    pub measured_start_s: f64,
    /// Where load went.
    pub targets: Vec<String>,
}

impl ShardRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;

    /// The shard, if the numbers are those of one.
    #[must_use]
    pub fn shard(&self) -> Option<Shard> {
        Shard::new(self.number, self.of).ok()
    }
}
