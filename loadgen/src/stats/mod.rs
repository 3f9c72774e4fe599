//! Statistics of comparison: what a few pairs of runs can support, and what they cannot.
//!
//! The unit of evidence is a pair of runs; what is analysed is the logarithm of each pair's ratio,
//! so that "twice" and "half" are equally far from "the same". Nothing here knows about proxies.

pub mod equivalence;
pub mod estimate;
pub mod holm;
pub mod power;
pub mod sample;
pub mod student;
pub mod usl;

pub use equivalence::{Equivalence, equivalence};
pub use estimate::{Estimate, LEVEL, RESAMPLES, estimate, estimate_at};
pub use holm::holm;
pub use power::{Goal, detectable_effect, pairs_needed, upper_deviation};
pub use sample::{Moments, log_ratio};
pub use usl::{Distrust, Fit, FitError, Point, fit};

#[cfg(test)]
mod simulation;
