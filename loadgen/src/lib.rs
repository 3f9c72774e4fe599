//! `weir-bench`: a load generator that judges its target, and itself.
//!
//! Data flows one way: a [`scenario`] (TOML) becomes a [`schedule`] (when), which a [`client`]
//! engine turns into requests, which are [`record`]ed in histograms; [`run`] ties them together
//! and yields a [`summary`].

#![forbid(unsafe_code)]

mod alarm;
pub mod cli;
pub mod client;
pub mod compare;
pub mod config_file;
pub mod exit;
pub mod host;
pub mod import;
pub mod judge;
pub mod lint;
pub mod measure;
pub mod merge;
pub mod metrics;
pub mod page;
pub mod plan;
mod priority;
pub mod profile;
pub mod progress;
pub mod provenance;
pub mod record;
pub mod replica;
pub mod results;
pub mod run;
pub mod sample;
pub mod scenario;
pub mod schedule;
pub mod shard;
pub mod slo;
pub mod stats;
pub mod stdio;
pub mod stop;
pub mod study;
pub mod summary;
pub mod target;
pub mod text;
pub mod topology;
pub mod units;
pub mod view;
