//! `weir-bench`: a load generator that judges its target, and itself.
//!
//! Data flows one way: a [`scenario`] (TOML) becomes a [`schedule`] (when), which a [`client`]
//! engine turns into requests, which are [`record`]ed in histograms; [`run`] ties them together
//! and yields a [`summary`].

#![forbid(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod exit;
pub mod import;
pub mod judge;
pub mod lint;
pub mod measure;
pub mod merge;
pub mod metrics;
pub mod page;
pub mod plan;
pub mod results;
pub mod stats;
pub mod study;
pub mod text;
pub mod view;
