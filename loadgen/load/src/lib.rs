//! Load: a scenario becomes a schedule, which clients turn into requests, which are recorded and
//! summed up.
//!
//! Data flows one way: a [`scenario`] (TOML) becomes a [`schedule`] (when), which a client engine
//! turns into requests, which are [`record`]ed in histograms; [`run`] ties them together and yields
//! a [`summary`]. Nothing here knows proxies, pages or folders.

#![forbid(unsafe_code)]

pub mod alarm;
pub mod client;
pub mod config_file;
pub mod priority;
pub mod progress;
pub mod record;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod shard;
pub mod slo;
pub mod stop;
pub mod summary;
pub mod target;
pub mod units;
