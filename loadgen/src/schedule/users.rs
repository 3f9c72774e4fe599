//! Users of a closed model: when each starts, and how long it thinks.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::Pacer;
use crate::{
    scenario::{Closed, ThinkTime},
    units::Rate,
};

/// Starts users at the spawn rate: the first at once, the k-th after `k / rate`.
#[derive(Debug, Clone)]
pub struct UserPacer {
    users: u32,
    started: u32,
    rate: Option<Rate>,
}

impl UserPacer {
    /// The start of the users of a closed model.
    pub fn new(closed: &Closed) -> Self {
        Self {
            users: closed.users,
            started: 0,
            rate: closed.spawn_rate,
        }
    }

    fn start_of(&self, user: u32) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(f64::from(user) / rate.get()).unwrap_or(Duration::MAX)
        })
    }
}

impl Pacer for UserPacer {
    fn next_event(&mut self) -> Option<Duration> {
        if self.started >= self.users {
            return None;
        }
        let start = self.start_of(self.started);
        self.started += 1;
        Some(start)
    }

    fn rate_at(&self, offset: Duration) -> Rate {
        match self.rate {
            Some(rate) if offset < self.start_of(self.users) => rate,
            _ => Rate::default(),
        }
    }
}

/// Draws think times.
#[derive(Debug, Clone)]
pub struct Thinker {
    think_time: ThinkTime,
    random: SmallRng,
}

impl Thinker {
    /// Think times of one user.
    pub fn new(think_time: ThinkTime, seed: u64) -> Self {
        Self {
            think_time,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        match self.think_time {
            ThinkTime::None => Duration::ZERO,
            ThinkTime::Constant(pause) => pause,
            ThinkTime::Uniform { min, max } => {
                min + max.saturating_sub(min).mul_f64(self.random.random())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn closed(users: u32, spawn_rate: Option<f64>) -> Closed {
        Closed {
            users,
            spawn_rate: spawn_rate.map(|rate| Rate::per_second(rate).unwrap()),
            think_time: ThinkTime::None,
        }
    }

    #[test]
    fn documented_users_start_ten_a_second() {
        let mut pacer = UserPacer::new(&closed(100, Some(10.0)));
        let starts: Vec<_> = std::iter::from_fn(|| pacer.next_event()).collect();
        assert_eq!(starts.len(), 100);
        assert_eq!(starts[0], Duration::ZERO);
        assert_eq!(starts[10], Duration::from_secs(1));
        assert_eq!(starts[99], Duration::from_millis(9900));
        assert_eq!(pacer.rate_at(Duration::from_secs(5)).get(), 10.0);
        assert_eq!(pacer.rate_at(Duration::from_secs(11)).get(), 0.0);
    }

    #[test]
    fn without_a_rate_all_start_at_once() {
        let mut pacer = UserPacer::new(&closed(3, None));
        let starts: Vec<_> = std::iter::from_fn(|| pacer.next_event()).collect();
        assert_eq!(starts, [Duration::ZERO; 3]);
    }

    proptest! {
        #[test]
        fn pauses_stay_within_bounds_and_average_to_the_middle(
            min in 0_u64..1000, width in 1_u64..1000, seed: u64
        ) {
            let think_time = ThinkTime::Uniform {
                min: Duration::from_millis(min),
                max: Duration::from_millis(min + width),
            };
            let mut thinker = Thinker::new(think_time, seed);
            let pauses: Vec<_> = (0..2000).map(|_| thinker.pause().as_secs_f64()).collect();
            let (low, high) = (min as f64 / 1e3, (min + width) as f64 / 1e3);
            prop_assert!(pauses.iter().all(|pause| (low..=high).contains(pause)));
            let mean = pauses.iter().sum::<f64>() / 2000.0;
            // Five standard errors of the mean of 2,000 uniform draws.
            let tolerance = 5.0 * (high - low) / 12.0_f64.sqrt() / 2000.0_f64.sqrt();
            prop_assert!((mean - think_time.mean().as_secs_f64()).abs() < tolerance);
        }
    }
}
