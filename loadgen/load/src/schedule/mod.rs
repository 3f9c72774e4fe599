//! When things happen: arrivals of an open model, users and think times of a closed one.
//!
//! Everything is a pure function of parameters and a seed; nothing here knows a clock.

mod arrivals;
mod profile;
mod think;
mod users;

use std::time::Duration;

pub use self::{
    arrivals::ArrivalPacer,
    profile::RateProfile,
    think::{Pace, Thinker},
    users::{Stay, UserPlan},
};
use crate::units::Rate;

/// Decides when the next thing happens, whatever the load looks like.
pub trait Pacer {
    /// Offset of the next event from the start of the load, never earlier than the one before;
    /// `None` when the schedule is over.
    fn next_event(&mut self) -> Option<Duration>;

    /// Rate that the schedule aims at, at an offset from the start of the load.
    fn rate_at(&self, offset: Duration) -> Rate;
}
