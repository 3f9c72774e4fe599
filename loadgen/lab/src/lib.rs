//! The laboratory: machines, processes, topologies and the stand-in replica, and what is read of
//! them while load is on.

#![forbid(unsafe_code)]

pub mod host;
pub mod profile;
pub mod provenance;
pub mod replica;
pub mod sample;
pub mod stdio;
pub mod topology;
