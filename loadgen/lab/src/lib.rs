//! The laboratory: machines, processes, topologies and the stand-in replica, and what is read of
//! them while load is on.

#![forbid(unsafe_code)]

pub mod error;
pub mod host;
pub mod process;
pub mod profile;
pub mod provenance;
pub mod proxies;
pub mod record;
pub mod replica;
pub mod sample;
pub mod stdio;
pub mod topology;
pub mod tuning;
