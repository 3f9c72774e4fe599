//! Searching the live settings for values that meet an objective, and proving what was found.
//!
//! Candidates are drawn within the bounds that the settings registry declares. They are compared
//! with the current values in interleaved pairs on one warm proxy; after every round the worse half
//! drops out (successive halving: Karnin, Koren and Somekh 2013), so that time goes to those that
//! may win. The winner then meets the current values in fresh pairs, which had no part in choosing it.

pub(crate) mod objective;
pub(crate) mod page;
pub(crate) mod print;
pub(crate) mod record;
pub(crate) mod space;
pub(crate) mod tournament;

pub use objective::Objective;
pub use space::{Candidate, Dimension, space_of};
pub use tournament::{Entrant, halve};
