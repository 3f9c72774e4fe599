//! What the statistics promise, measured on simulated experiments: coverage, false alarms, power.
//!
//! Seeds are fixed, so a test that passes goes on passing; the bounds leave room for three standard
//! errors of the simulation.
#![allow(clippy::unwrap_used)]

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, LogNormal, Normal};

use super::*;

const TRIALS: usize = 600;
/// Fewer than in earnest, so that the simulations end soon; the interval is hardly less exact.
const FEW_RESAMPLES: usize = 400;

/// How single pairs scatter; each has the mean 0 and about the deviation 1.
#[derive(Debug, Clone, Copy)]
enum Noise {
    Normal,
    /// Skewed: now and then a pair is far off to one side.
    Skewed,
    /// One pair in ten is disturbed, with five times the deviation.
    Disturbed,
}

impl Noise {
    fn draw(self, random: &mut SmallRng) -> f64 {
        let normal = |random: &mut SmallRng, deviation: f64| {
            Normal::new(0.0, deviation).unwrap().sample(random)
        };
        match self {
            Self::Normal => normal(random, 1.0),
            Self::Skewed => {
                let (sigma, mean) = (0.5_f64, (0.125_f64).exp());
                let deviation = mean * ((sigma * sigma).exp() - 1.0).sqrt();
                (LogNormal::new(0.0, sigma).unwrap().sample(random) - mean) / deviation
            }
            Self::Disturbed if random.random_bool(0.1) => normal(random, 5.0),
            Self::Disturbed => normal(random, 1.0),
        }
    }
}

/// Share of trials for which `check` holds.
fn share(
    pairs: usize,
    noise: Noise,
    shift: f64,
    deviation: f64,
    check: impl Fn(&[f64], u64) -> bool,
) -> f64 {
    let mut random = SmallRng::seed_from_u64(20_240_817);
    let hits = (0..TRIALS)
        .filter(|trial| {
            let values: Vec<f64> = (0..pairs)
                .map(|_| shift + deviation * noise.draw(&mut random))
                .collect();
            check(&values, *trial as u64)
        })
        .count();
    hits as f64 / TRIALS as f64
}

#[test]
fn intervals_cover_the_truth_as_often_as_they_promise() {
    for noise in [Noise::Normal, Noise::Disturbed, Noise::Skewed] {
        for pairs in [4, 6, 8, 12, 20] {
            let least = match (noise, pairs) {
                // No method covers the mean of a few skewed values fully. The log-ratio of two runs
                // that are skewed alike is not skewed.
                (Noise::Skewed, ..8) => 0.91,
                (Noise::Skewed, _) => 0.93,
                _ => 0.95,
            };
            let covered = share(pairs, noise, 0.3, 1.0, |values, seed| {
                let found = estimate_at(values, 0.95, FEW_RESAMPLES, seed).unwrap();
                found.low <= 0.3 && 0.3 <= found.high
            });
            // Three standard errors of a share of 0.95 among 600 are 0.027.
            assert!(
                covered >= least - 0.027,
                "{noise:?}, {pairs} pairs: {covered}"
            );
        }
    }
}

#[test]
fn a_percentile_bootstrap_of_few_pairs_would_be_too_narrow() {
    let covered = share(5, Noise::Normal, 0.0, 1.0, |values, seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut means: Vec<f64> = (0..FEW_RESAMPLES)
            .map(|_| {
                (0..5)
                    .map(|_| values[random.random_range(0..5)])
                    .sum::<f64>()
                    / 5.0
            })
            .collect();
        means.sort_by(f64::total_cmp);
        means[FEW_RESAMPLES / 40] <= 0.0 && 0.0 <= means[FEW_RESAMPLES - FEW_RESAMPLES / 40]
    });
    assert!(covered < 0.90, "{covered}: then the plain one would do");
}

#[test]
fn nothing_is_found_where_nothing_is_more_often_than_declared() {
    for noise in [Noise::Normal, Noise::Disturbed] {
        for pairs in [5, 8, 15] {
            let alarms = share(pairs, noise, 0.0, 0.03, |values, seed| {
                estimate_at(values, 0.95, FEW_RESAMPLES, seed)
                    .unwrap()
                    .p_value
                    < 0.05
            });
            assert!(alarms <= 0.05 + 0.027, "{noise:?}, {pairs} pairs: {alarms}");
        }
    }
}

#[test]
fn six_claims_at_once_raise_one_false_alarm_in_twenty_families() {
    let mut random = SmallRng::seed_from_u64(5);
    let families = 400;
    let alarms = (0..families)
        .filter(|family| {
            let p: Vec<f64> = (0..6)
                .map(|claim| {
                    let values: Vec<f64> =
                        (0..8).map(|_| Noise::Normal.draw(&mut random)).collect();
                    estimate_at(&values, 0.95, 200, family * 6 + claim)
                        .unwrap()
                        .p_value
                })
                .collect();
            holm(&p).iter().any(|p| *p < 0.05)
        })
        .count();
    // Without the adjustment it would be about one family in four.
    assert!(alarms as f64 / families as f64 <= 0.05 + 0.033, "{alarms}");
}

#[test]
fn an_effect_that_matters_is_called_none_no_more_often_than_declared() {
    for pairs in [5, 10] {
        let wrong = share(pairs, Noise::Normal, 0.05, 0.03, |values, _| {
            equivalence(values, 0.05).unwrap().holds(0.05)
        });
        assert!(wrong <= 0.05 + 0.027, "{pairs} pairs: {wrong}");
    }
    let right = share(10, Noise::Normal, 0.0, 0.03, |values, _| {
        equivalence(values, 0.05).unwrap().holds(0.05)
    });
    assert!(right > 0.9, "{right}");
}

#[test]
fn the_planned_number_of_pairs_finds_a_planted_five_percent() {
    let effect = 1.05_f64.ln();
    for deviation in [0.01, 0.03, 0.06] {
        let goal = Goal::of(effect);
        let pairs = pairs_needed(deviation, &goal, 200).unwrap();
        let found = share(pairs, Noise::Normal, effect, deviation, |values, seed| {
            let found = estimate_at(values, 0.95, FEW_RESAMPLES, seed).unwrap();
            found.p_value < 0.05 && found.mean > 0.0
        });
        // Three standard errors of a share of 0.9 among 600 are 0.037.
        assert!(
            found >= 0.9 - 0.05,
            "deviation {deviation}, {pairs} pairs: {found}"
        );
    }
}

#[test]
fn an_upper_deviation_is_one_four_times_out_of_five() {
    for pairs in [4, 8] {
        let above = share(pairs, Noise::Normal, 0.0, 1.0, |values, _| {
            upper_deviation(Moments::of(values).unwrap().deviation, pairs) >= 1.0
        });
        assert!((above - 0.8).abs() < 0.05, "{pairs} pairs: {above}");
    }
}

#[test]
fn a_noisy_sweep_gives_its_law_back() {
    let mut random = SmallRng::seed_from_u64(3);
    let mut inside = 0;
    for _ in 0..100 {
        let points: Vec<Point> = [1.0_f64, 2.0, 4.0, 8.0, 16.0, 32.0, 48.0, 64.0]
            .into_iter()
            .map(|n| {
                let law = 100.0 * n / (1.0 + 0.03 * (n - 1.0) + 0.0004 * n * (n - 1.0));
                Point {
                    concurrency: n,
                    throughput: law * (0.02 * Noise::Normal.draw(&mut random)).exp(),
                }
            })
            .collect();
        let fit = fit(&points).unwrap();
        let peak = fit.peak.map_or(f64::NAN, |peak| peak.concurrency);
        // The planted peak: √(0.97 / 0.0004) = 49.2.
        inside += usize::from((peak / 49.2 - 1.0).abs() < 0.2);
    }
    assert!(inside >= 95, "{inside} of 100");
}
