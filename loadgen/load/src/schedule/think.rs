//! How long users think.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Exp1, LogNormal, Normal};

use crate::scenario::{Closed, ThinkTime};

/// No pause is longer; distributions with a tail do not know where to stop.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Draws of a truncated distribution before giving up; each succeeds at least every other time.
const MOST_DRAWS: u32 = 64;

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
            ThinkTime::Exponential { mean } => {
                let unit: f64 = Exp1.sample(&mut self.random);
                seconds(unit * mean.as_secs_f64())
            }
            ThinkTime::Normal { mean, deviation } => self.truncated(mean, deviation),
            ThinkTime::LogNormal { mean, deviation } => {
                let (mean_s, deviation_s) = (mean.as_secs_f64(), deviation.as_secs_f64());
                LogNormal::from_mean_cv(mean_s, deviation_s / mean_s)
                    .map_or(mean, |pauses| seconds(pauses.sample(&mut self.random)))
            }
        }
    }

    /// A normal variate, drawn again for as long as it is negative.
    fn truncated(&mut self, mean: Duration, deviation: Duration) -> Duration {
        let Ok(normal) = Normal::new(mean.as_secs_f64(), deviation.as_secs_f64()) else {
            return mean;
        };
        (0..MOST_DRAWS)
            .map(|_| normal.sample(&mut self.random))
            .find(|pause| *pause >= 0.0)
            .map_or(mean, seconds)
    }
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).map_or(LONGEST, |pause| pause.min(LONGEST))
}

/// Decides when a user sends its next request: after a pause, or at a fixed interval.
#[derive(Debug, Clone)]
pub struct Pace {
    pacing: Option<Duration>,
    thinker: Thinker,
}

impl Pace {
    /// The pace of one user.
    pub fn new(closed: &Closed, seed: u64) -> Self {
        Self {
            pacing: closed.pacing,
            thinker: Thinker::new(closed.think_time, seed),
        }
    }

    /// How long to wait between the steps of a flow that says nothing about it.
    pub fn within(&mut self) -> Duration {
        match self.pacing {
            Some(_) => Duration::ZERO,
            None => self.thinker.pause(),
        }
    }

    /// How long to wait now that the last request or flow, answers included, has taken `taken`.
    pub fn pause(&mut self, taken: Duration) -> Duration {
        match self.pacing {
            Some(interval) => interval.saturating_sub(taken),
            None => self.thinker.pause(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn draw(think_time: ThinkTime, seed: u64, count: usize) -> Vec<f64> {
        let mut thinker = Thinker::new(think_time, seed);
        (0..count).map(|_| thinker.pause().as_secs_f64()).collect()
    }

    fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt())
    }

    #[test]
    fn distributions_have_the_moments_that_they_state() {
        // 200,000 draws: the standard error of the mean is 0.2 % of the deviation.
        let (mean, deviation) = (MS * 1000, MS * 500);
        let cases = [
            (ThinkTime::Exponential { mean }, 1.0),
            (ThinkTime::LogNormal { mean, deviation }, 0.5),
            // 2 deviations from 0: hardly anything is cut off, but a little.
            (ThinkTime::Normal { mean, deviation }, 0.468),
        ];
        for (think_time, expected) in cases {
            let (mean, deviation) = mean_and_deviation(&draw(think_time, 3, 200_000));
            assert!(
                (deviation - expected).abs() < 0.02,
                "{think_time:?} {deviation}"
            );
            let stated = think_time.mean().as_secs_f64();
            assert!(
                (mean - stated).abs() < 0.01,
                "{think_time:?} {mean} {stated}"
            );
        }
    }

    #[test]
    fn the_mean_of_a_truncated_normal_is_that_of_what_is_drawn() {
        for (mean, deviation) in [(100, 300), (500, 500), (1, 1000), (2000, 100)] {
            let think_time = ThinkTime::Normal {
                mean: MS * mean,
                deviation: MS * deviation,
            };
            let pauses = draw(think_time, 11, 100_000);
            assert!(pauses.iter().all(|pause| *pause >= 0.0));
            let (mean, deviation) = mean_and_deviation(&pauses);
            let stated = think_time.mean().as_secs_f64();
            assert!(
                (mean - stated).abs() < 0.02 * deviation.max(0.1),
                "{mean} {stated}"
            );
        }
    }

    #[test]
    fn pacing_fixes_the_interval_and_never_waits_backwards() {
        let closed = Closed {
            pacing: Some(MS * 100),
            ..Closed::steady(1, ThinkTime::None)
        };
        let mut pace = Pace::new(&closed, 1);
        assert_eq!(pace.pause(MS * 30), MS * 70);
        assert_eq!(pace.pause(MS * 130), Duration::ZERO);
        assert_eq!(closed.cycle(), MS * 100);
    }

    fn think_times() -> impl Strategy<Value = ThinkTime> {
        let ms = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
        prop_oneof![
            Just(ThinkTime::None),
            ms(1..5000).prop_map(ThinkTime::Constant),
            ms(1..5000).prop_map(|mean| ThinkTime::Exponential { mean }),
            (ms(1..5000), ms(0..5000))
                .prop_map(|(mean, deviation)| ThinkTime::Normal { mean, deviation }),
            (ms(1..5000), ms(0..5000))
                .prop_map(|(mean, deviation)| ThinkTime::LogNormal { mean, deviation }),
        ]
    }

    proptest! {
        #[test]
        fn uniform_pauses_stay_within_bounds_and_average_to_the_middle(
            min in 0_u64..1000, width in 1_u64..1000, seed: u64
        ) {
            let think_time = ThinkTime::Uniform {
                min: Duration::from_millis(min),
                max: Duration::from_millis(min + width),
            };
            let pauses = draw(think_time, seed, 2000);
            let (low, high) = (min as f64 / 1e3, (min + width) as f64 / 1e3);
            prop_assert!(pauses.iter().all(|pause| (low..=high).contains(pause)));
            let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
            prop_assert!((mean - think_time.mean().as_secs_f64()).abs() < 0.05 * width as f64 / 1e3);
        }

        #[test]
        fn the_same_seed_gives_the_same_pauses(think_time in think_times(), seed: u64) {
            let pauses = draw(think_time, seed, 50);
            prop_assert!(pauses.iter().all(|pause| pause.is_finite() && *pause >= 0.0));
            prop_assert_eq!(pauses, draw(think_time, seed, 50));
        }
    }
}
