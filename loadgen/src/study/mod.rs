//! Experiments: what is asked of a topology, and how runs answer it.

pub mod autotune;
pub mod calibrate;
pub mod demo;
pub mod overhead;
pub mod pairs;
pub mod recovery;
pub mod rig;
pub mod scaling;
pub mod search;
pub mod suite;
pub mod sweep;
pub mod tuning;
pub mod versus;
