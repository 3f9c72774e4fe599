//! Arrivals of an open model.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{Pacer, RateProfile};
use crate::{
    scenario::{Arrivals, Open},
    units::Rate,
};

/// Places arrivals along a [`RateProfile`]: evenly, in volleys, or as a Poisson process; or where a
/// trace recorded them.
///
/// One sequence, whatever the number of threads or machines: each of them walks through all of it
/// and does what is its own.
#[derive(Debug, Clone)]
pub struct ArrivalPacer {
    profile: RateProfile,
    arrivals: Arrivals,
    random: SmallRng,
    /// Mass at which the next arrival is due.
    mass: f64,
    /// Arrivals so far.
    count: u64,
    warmup: Duration,
    /// Arrivals of the measured part that are left, if their number is fixed.
    left: Option<u64>,
}

impl ArrivalPacer {
    /// The arrivals of an open model, warm-up included.
    pub fn new(open: &Open, warmup: Duration, seed: u64) -> Self {
        let mut pacer = Self {
            profile: RateProfile::new(warmup, open),
            arrivals: open.arrivals.clone(),
            random: SmallRng::seed_from_u64(seed),
            mass: 0.0,
            count: 0,
            warmup,
            left: None,
        };
        if open.arrivals == Arrivals::Poisson {
            pacer.mass = pacer.exponential();
        }
        pacer
    }

    /// Ends after so many arrivals of the measured part.
    #[must_use]
    pub fn limited_to(mut self, requests: Option<u64>) -> Self {
        self.left = requests;
        self
    }

    /// The profile that the arrivals follow; that of a replay is only its mean.
    pub fn profile(&self) -> &RateProfile {
        &self.profile
    }

    /// A standard exponential variate, by inversion.
    fn exponential(&mut self) -> f64 {
        let uniform: f64 = self.random.random();
        -(1.0 - uniform).ln()
    }
}

impl ArrivalPacer {
    fn draw(&mut self) -> Option<Duration> {
        if let Arrivals::Replay(replay) = &self.arrivals {
            let due = replay.due(usize::try_from(self.count).ok()?)?;
            self.count += 1;
            return Some(due);
        }
        let due = self.profile.time_of(self.mass)?;
        self.count += 1;
        match &self.arrivals {
            // Counting avoids the error of adding up many small steps.
            Arrivals::Uniform => self.mass = self.count as f64,
            Arrivals::Volley(size) => {
                let size = u64::from((*size).max(1));
                self.mass = (self.count / size * size) as f64;
            }
            // Exponential steps of the mass are a Poisson process of any changing rate (time
            // rescaling: E. N. Brown and others, Neural Computation 14, 2002).
            Arrivals::Poisson => self.mass += self.exponential(),
            Arrivals::Replay(_) => {}
        }
        Some(Duration::from_secs_f64(due))
    }
}

impl Pacer for ArrivalPacer {
    fn next_event(&mut self) -> Option<Duration> {
        if self.left == Some(0) {
            return None;
        }
        let due = self.draw()?;
        if due >= self.warmup
            && let Some(left) = &mut self.left
        {
            *left -= 1;
        }
        Some(due)
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
    use crate::scenario::{Stage, Wave};

    fn stage(seconds: f64, from: f64, to: f64) -> Stage {
        Stage {
            duration: Duration::from_secs_f64(seconds),
            from: Rate::per_second(from).unwrap(),
            to: Rate::per_second(to).unwrap(),
        }
    }

    fn open(stages: Vec<Stage>, arrivals: Arrivals) -> Open {
        Open {
            stages,
            wave: None,
            arrivals,
        }
    }

    fn pacer(stages: Vec<Stage>, arrivals: Arrivals, seed: u64) -> ArrivalPacer {
        ArrivalPacer::new(&open(stages, arrivals), Duration::ZERO, seed)
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
        let open = open(vec![stage(1.0, 100.0, 300.0)], Arrivals::Uniform);
        let times = all(ArrivalPacer::new(&open, Duration::from_secs(2), 0));
        let early = times.iter().filter(|t| t.as_secs_f64() < 2.0).count();
        assert_eq!(early, 200);
        assert_eq!(times.len(), 400);
    }

    #[test]
    fn a_fixed_number_counts_the_measured_part_alone() {
        let open = open(vec![stage(1.0, 100.0, 100.0)], Arrivals::Uniform);
        let pacer = || ArrivalPacer::new(&open, Duration::from_secs(2), 0);
        assert_eq!(all(pacer().limited_to(Some(7))).len(), 207);
        assert_eq!(all(pacer().limited_to(Some(1000))).len(), 300);
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

    #[test]
    fn poisson_counts_of_a_changing_rate_have_mean_and_variance_of_the_integral() {
        // In each part of a ramp with a wave, counts over many seeds: a Poisson distribution, so
        // that mean and variance are both the integral of the rate.
        let open = Open {
            stages: vec![stage(2.0, 0.0, 100.0), stage(1.0, 30.0, 30.0)],
            wave: Some(Wave {
                amplitude: Rate::default(),
                period: Duration::from_secs(1),
            }),
            arrivals: Arrivals::Poisson,
        };
        let runs = 3000;
        let parts = [(0.0, 1.0, 25.0), (1.0, 2.0, 75.0), (2.0, 3.0, 30.0)];
        let mut counts = vec![Vec::new(); parts.len()];
        for seed in 0..runs {
            let times = all(ArrivalPacer::new(&open, Duration::ZERO, seed));
            for ((low, high, _), counts) in parts.iter().zip(&mut counts) {
                let inside = |time: &&Duration| (*low..*high).contains(&time.as_secs_f64());
                counts.push(times.iter().filter(inside).count() as f64);
            }
        }
        for ((_, _, expected), counts) in parts.iter().zip(&counts) {
            let mean = counts.iter().sum::<f64>() / runs as f64;
            let variance = counts
                .iter()
                .map(|count| (count - mean).powi(2))
                .sum::<f64>()
                / (runs - 1) as f64;
            // Standard errors: √(λ/3000) of the mean, about λ·√(2/3000) = 2.6 % of the variance.
            assert!(
                (mean - expected).abs() < 5.0 * (expected / runs as f64).sqrt(),
                "{mean}"
            );
            assert!(
                (variance / expected - 1.0).abs() < 0.13,
                "{variance} {expected}"
            );
        }
    }

    #[test]
    fn a_sine_rises_and_falls_around_its_mean() {
        let open = Open {
            stages: vec![stage(60.0, 100.0, 100.0)],
            wave: Some(Wave {
                amplitude: Rate::per_second(100.0).unwrap(),
                period: Duration::from_secs(60),
            }),
            arrivals: Arrivals::Uniform,
        };
        let times = all(ArrivalPacer::new(&open, Duration::ZERO, 0));
        assert_eq!(times.len(), 6000);
        let half = times.iter().filter(|t| t.as_secs_f64() < 30.0).count();
        // Half a period: 3000 of the mean, and the area under half a sine, 100·60/π = 1910.
        assert!((4908..=4911).contains(&half), "{half}");
        let profile = RateProfile::new(Duration::ZERO, &open);
        assert!((profile.rate_at(Duration::from_secs(15)).get() - 200.0).abs() < 1e-9);
        assert!(profile.rate_at(Duration::from_secs(45)).get() < 1e-9);
        assert!((open.expected() - 6000.0).abs() < 1e-6);
        assert_eq!(open.peak_rate(), 200.0);
    }

    fn stages() -> impl Strategy<Value = Vec<Stage>> {
        let stage = (0.01_f64..5.0, 0.0_f64..300.0, 0.0_f64..300.0)
            .prop_map(|(seconds, from, to)| stage(seconds, from, to));
        prop::collection::vec(stage, 1..5)
    }

    /// Stages with a wave that they can carry, or none.
    fn shapes() -> impl Strategy<Value = Open> {
        (
            stages(),
            prop::option::of((0.0_f64..1.0, 0.05_f64..10.0)),
            arrivals(),
        )
            .prop_map(|(mut stages, wave, arrivals)| {
                let wave = wave.map(|(share, period)| {
                    for stage in &mut stages {
                        let raised = |rate: Rate| Rate::per_second(rate.get() + 1.0).unwrap();
                        (stage.from, stage.to) = (raised(stage.from), raised(stage.to));
                    }
                    let lowest = stages
                        .iter()
                        .flat_map(|stage| [stage.from.get(), stage.to.get()])
                        .fold(f64::INFINITY, f64::min);
                    Wave {
                        amplitude: Rate::per_second(lowest * share).unwrap(),
                        period: Duration::from_secs_f64(period),
                    }
                });
                Open {
                    stages,
                    wave,
                    arrivals,
                }
            })
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
        fn arrivals_never_go_back_and_stay_within(open in shapes(), seed: u64) {
            let end: Duration = open.stages.iter().map(|stage| stage.duration).sum();
            let times = all(ArrivalPacer::new(&open, Duration::ZERO, seed));
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(times.iter().all(|time| *time <= end + Duration::from_micros(1)));
        }

        #[test]
        fn uniform_arrivals_number_the_integral_of_the_rate(open in shapes()) {
            let open = Open { arrivals: Arrivals::Uniform, ..open };
            let pacer = ArrivalPacer::new(&open, Duration::ZERO, 0);
            let total = pacer.profile().total();
            prop_assert!((total - open.expected()).abs() <= 1e-6 * total.max(1.0));
            let count = all(pacer).len() as f64;
            prop_assert!((count - total).abs() <= 1.0, "{count} against {total}");
        }

        #[test]
        fn the_integral_is_inverted_exactly(open in shapes(), share in 0.0_f64..1.0) {
            let profile = RateProfile::new(Duration::ZERO, &open);
            prop_assume!(profile.total() > 1e-3);
            let mass = profile.total() * share;
            if let Some(time) = profile.time_of(mass) {
                // Integrate by the definition, up to the answer.
                let mut left = time;
                let mut back = open.wave.map_or(0.0, |wave| {
                    wave.arrivals(Duration::from_secs_f64(time))
                });
                for stage in &open.stages {
                    let length = stage.duration.as_secs_f64();
                    let part = left.min(length);
                    let (from, to) = (stage.from.get(), stage.to.get());
                    back += from * part + (to - from) / length * part * part / 2.0;
                    left -= part;
                }
                prop_assert!((back - mass).abs() < 1e-5 * profile.total().max(1.0), "{back} {mass}");
                prop_assert!((profile.mass_at(time) - mass).abs() < 1e-5 * profile.total().max(1.0));
            }
        }

        #[test]
        fn a_fixed_number_is_the_beginning_of_the_same_sequence(
            open in shapes(), seed: u64, limit in 0_u64..200
        ) {
            let pacer = || ArrivalPacer::new(&open, Duration::ZERO, seed);
            let whole = all(pacer());
            let part = all(pacer().limited_to(Some(limit)));
            prop_assert_eq!(part.len() as u64, limit.min(whole.len() as u64));
            prop_assert_eq!(&part[..], &whole[..part.len()]);
        }

        #[test]
        fn the_same_seed_gives_the_same_arrivals(open in shapes(), seed: u64) {
            let make = || all(ArrivalPacer::new(&open, Duration::ZERO, seed));
            prop_assert_eq!(make(), make());
        }
    }
}
