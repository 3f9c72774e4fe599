//! `weir-bench`: a load generator that judges its target, and itself.
//!
//! [`weir_load`] makes the load and [`weir_lab`] what it goes to; here are the command line ([`cli`]),
//! what becomes of runs ([`results`], [`judge`], [`compare`], [`page`]) and experiments made of many of
//! them ([`study`]).

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
