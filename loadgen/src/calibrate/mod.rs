//! What the generator itself can do on this machine: its ceiling, and its cost beside other tools.
//!
//! A load generator near its own limit measures itself. [`command`] (`weir-bench calibrate`) drives
//! a server that does nothing and stores what each client engine reached; a run compares its rate
//! with that through [`ceiling`]. [`engines`] (`weir-bench engines`) puts the same engines beside
//! `wrk` and whatever other generators are installed.

pub mod command;
pub mod driver;
pub mod engines;
pub mod inner;
pub mod stored;

pub use stored::{Calibration, ceiling};
