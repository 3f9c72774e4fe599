//! Throughput and latency at several levels of load, in interleaved order.

pub mod command;
pub mod levels;
mod page;
mod record;

pub use self::record::{FILE, LawRecord, LevelRecord, Range, SweepRecord, SweepRun};
