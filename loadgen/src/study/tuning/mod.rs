//! Experiments: is a claim about a setting true on this machine?
//!
//! A [`claim`] is registered before it is tried ([`mod@file`]). A [`rig`](super::rig) (stand-in replicas and one
//! proxy) gets a [`workload`] in interleaved [`pairs`](super::pairs) of trials, of which the setting is the only
//! difference; a pure function turns the evidence into a [`verdict`]. [`before`] any claim come the
//! generator's ceiling, the noise of the machine and a slowdown that must be found.

pub(crate) mod apply;
pub mod before;
pub mod claim;
pub mod conclude;
pub mod documented;
pub mod file;
pub mod limiter;
pub mod page;
pub mod plan;
pub(crate) mod plots;
pub mod print;
pub mod quantity;
pub mod raise;
pub mod record;
pub mod row;
pub mod search;
pub mod verdict;
pub mod workload;
