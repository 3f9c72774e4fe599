//! How many requests a second the admin API works on.
//!
//! It shares the machine with the traffic: a client that asks in a loop must not take a core from it.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Requests a second, over all callers.
const PER_SECOND: u32 = 1000;
/// Requests at once.
const BURST: u32 = 2000;

/// A limit on requests of all callers together.
#[derive(Debug)]
pub(in crate::admin) struct Throttle(DefaultDirectRateLimiter);

impl Throttle {
    pub(in crate::admin) fn new() -> Self {
        let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(PER_SECOND)).allow_burst(at_least_one(BURST));
        Self(RateLimiter::direct(quota))
    }

    /// Whether one more may be worked on now.
    pub(in crate::admin) fn admits(&self) -> bool {
        self.0.check().is_ok()
    }

    /// The limit in words.
    pub(in crate::admin) fn told() -> String {
        format!("more than {PER_SECOND} admin requests a second")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let throttle = Throttle::new();
        let admitted = (0..2 * BURST).filter(|_| throttle.admits()).count();
        assert!(
            (BURST as usize..2 * BURST as usize).contains(&admitted),
            "{admitted}"
        );
    }
}
