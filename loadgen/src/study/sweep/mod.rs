//! Throughput and latency at several levels of load, in interleaved order.

pub mod levels;
pub(crate) mod page;
pub(crate) mod record;

pub use self::record::{FILE, LawRecord, LevelRecord, Range, SweepRecord, SweepRun};
