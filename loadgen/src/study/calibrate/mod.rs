//! What the generator itself can do on this machine: its ceiling, and its cost beside other tools.
//!
//! A load generator near its own limit measures itself. [`crate::cli::calibrate`] drives
//! a server that does nothing and stores what each client engine reached, by version of HTTP and with
//! or without TLS; a run compares its rate with that through [`crate::results::ceiling::share`]. [`selfcheck`]
//! (`weir-bench self-check`) drives for minutes and watches the generator's own memory. [`engines`] (`weir-bench engines`) puts the same engines beside
//! `wrk` and whatever other generators are installed.

pub mod agreement;
pub mod driver;
pub mod engines;
pub mod inner;
mod locust;
pub mod selfcheck;
