//! Arrivals of an open model.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{Pacer, RateProfile};
use crate::{
    scenario::{Arrivals, Open},
    units::Rate,
};

/// Places arrivals along a [`RateProfile`]: evenly, in volleys, or as a Poisson process.
#[derive(Debug, Clone)]
pub struct ArrivalPacer {
    profile: RateProfile,
    arrivals: Arrivals,
    random: SmallRng,
    /// Mass at which the next arrival is due.
    mass: f64,
    /// Arrivals so far.
    count: u64,
}

impl ArrivalPacer {
    /// The arrivals of an open model, warm-up included.
    pub fn new(open: &Open, warmup: Duration, seed: u64) -> Self {
        let mut pacer = Self {
            profile: RateProfile::new(warmup, &open.stages),
            arrivals: open.arrivals,
            random: SmallRng::seed_from_u64(seed),
            mass: 0.0,
            count: 0,
        };
        if open.arrivals == Arrivals::Poisson {
            pacer.mass = pacer.exponential();
        }
        pacer
    }

    /// The profile that the arrivals follow.
    pub fn profile(&self) -> &RateProfile {
        &self.profile
    }

    /// A standard exponential variate, by inversion.
    fn exponential(&mut self) -> f64 {
        let uniform: f64 = self.random.random();
        -(1.0 - uniform).ln()
    }
}

impl Pacer for ArrivalPacer {
    fn next_event(&mut self) -> Option<Duration> {
        let due = self.profile.time_of(self.mass)?;
        self.count += 1;
        match self.arrivals {
            // Counting avoids the error of adding up many small steps.
            Arrivals::Uniform => self.mass = self.count as f64,
            Arrivals::Volley(size) => {
                let size = u64::from(size.max(1));
                self.mass = (self.count / size * size) as f64;
            }
            Arrivals::Poisson => self.mass += self.exponential(),
        }
        Some(Duration::from_secs_f64(due))
    }

    fn rate_at(&self, offset: Duration) -> Rate {
        self.profile.rate_at(offset)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::Stage;

    fn stage(seconds: f64, from: f64, to: f64) -> Stage {
        Stage {
            duration: Duration::from_secs_f64(seconds),
            from: Rate::per_second(from).unwrap(),
            to: Rate::per_second(to).unwrap(),
        }
    }

    fn pacer(stages: Vec<Stage>, arrivals: Arrivals, seed: u64) -> ArrivalPacer {
        ArrivalPacer::new(&Open { stages, arrivals }, Duration::ZERO, seed)
    }

    fn all(mut pacer: ArrivalPacer) -> Vec<Duration> {
        std::iter::from_fn(|| pacer.next_event()).collect()
    }

    #[test]
    fn uniform_arrivals_are_evenly_spaced() {
        let times = all(pacer(vec![stage(1.0, 10.0, 10.0)], Arrivals::Uniform, 0));
        let expected: Vec<_> = (0..10).map(|k| Duration::from_millis(k * 100)).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn volleys_share_an_instant_and_keep_the_rate() {
        let times = all(pacer(
            vec![stage(1.0, 500.0, 500.0)],
            Arrivals::Volley(100),
            0,
        ));
        assert_eq!(times.len(), 500);
        for (k, time) in times.iter().enumerate() {
            assert_eq!(*time, Duration::from_millis(k as u64 / 100 * 200));
        }
    }

    #[test]
    fn warm_up_runs_at_the_first_rate() {
        let open = Open {
            stages: vec![stage(1.0, 100.0, 300.0)],
            arrivals: Arrivals::Uniform,
        };
        let times = all(ArrivalPacer::new(&open, Duration::from_secs(2), 0));
        let early = times.iter().filter(|t| t.as_secs_f64() < 2.0).count();
        assert_eq!(early, 200);
        assert_eq!(times.len(), 400);
    }

    #[test]
    fn poisson_gaps_have_mean_and_deviation_of_an_exponential() {
        let times = all(pacer(
            vec![stage(1000.0, 100.0, 100.0)],
            Arrivals::Poisson,
            7,
        ));
        let gaps: Vec<_> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // 100,000 gaps: the standard error of the mean is 0.3 %.
        assert!((mean * 100.0 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{variance}");
    }

    fn stages() -> impl Strategy<Value = Vec<Stage>> {
        let stage = (0.01_f64..5.0, 0.0_f64..300.0, 0.0_f64..300.0)
            .prop_map(|(seconds, from, to)| stage(seconds, from, to));
        prop::collection::vec(stage, 1..5)
    }

    fn arrivals() -> impl Strategy<Value = Arrivals> {
        prop_oneof![
            Just(Arrivals::Uniform),
            Just(Arrivals::Poisson),
            (1_u32..50).prop_map(Arrivals::Volley),
        ]
    }

    proptest! {
        #[test]
        fn arrivals_never_go_back_and_stay_within(
            stages in stages(), arrivals in arrivals(), seed: u64
        ) {
            let end: Duration = stages.iter().map(|stage| stage.duration).sum();
            let times = all(pacer(stages, arrivals, seed));
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(times.iter().all(|time| *time <= end + Duration::from_micros(1)));
        }

        #[test]
        fn uniform_arrivals_number_the_integral_of_the_rate(stages in stages()) {
            let pacer = pacer(stages, Arrivals::Uniform, 0);
            let total = pacer.profile().total();
            let count = all(pacer).len() as f64;
            prop_assert!((count - total).abs() <= 1.0, "{count} against {total}");
        }

        #[test]
        fn the_integral_is_inverted_exactly(stages in stages(), share in 0.0_f64..1.0) {
            let profile = RateProfile::new(Duration::ZERO, &stages);
            prop_assume!(profile.total() > 1e-3);
            let mass = profile.total() * share;
            if let Some(time) = profile.time_of(mass) {
                // Integrate by the definition, up to the answer.
                let mut left = time;
                let mut back = 0.0;
                for stage in &stages {
                    let length = stage.duration.as_secs_f64();
                    let part = left.min(length);
                    let (from, to) = (stage.from.get(), stage.to.get());
                    back += from * part + (to - from) / length * part * part / 2.0;
                    left -= part;
                }
                prop_assert!((back - mass).abs() < 1e-6 * profile.total().max(1.0), "{back} {mass}");
            }
        }

        #[test]
        fn the_same_seed_gives_the_same_arrivals(seed: u64) {
            let make = || all(pacer(vec![stage(1.0, 200.0, 50.0)], Arrivals::Poisson, seed));
            prop_assert_eq!(make(), make());
        }
    }
}
