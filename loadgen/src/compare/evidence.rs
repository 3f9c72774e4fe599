//! What two groups of runs say about a change.
//!
//! The runs of a baseline and those that are judged are not pairs, so the effect is the difference
//! of the means of their logarithms. Its interval is the hull of Welch's interval (B. L. Welch, "The
//! generalization of Student's problem when several different population variances are involved",
//! Biometrika 34, 1947), which is right for few values that are roughly log-normal, and of a
//! bootstrap that resamples both groups, which follows their skew.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::rules::Evidence;
use crate::stats::{Moments, student};

/// Seed of the bootstrap: the same runs give the same interval.
const SEED: u64 = 0x5745_4952;

/// A change between two groups of runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Relative change of the mean, 0.1 for a tenth more; of the geometric mean where every value
    /// is positive. Infinite when there was nothing before.
    pub relative: f64,
    /// Interval of the change.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p-value of "no change", not corrected.
    pub p_value: Option<f64>,
}

/// The change from one group of values to another; none when a group is empty, or both are zero.
#[must_use]
pub fn change(before: &[f64], after: &[f64], evidence: &Evidence) -> Option<Change> {
    let (old, new) = (Moments::of(before)?, Moments::of(after)?);
    let positive = |values: &[f64]| values.iter().all(|value| *value > 0.0);
    if !(positive(before) && positive(after)) {
        if old.mean <= 0.0 && new.mean <= 0.0 {
            return None;
        }
        return Some(Change {
            relative: if old.mean > 0.0 {
                new.mean / old.mean - 1.0
            } else {
                f64::INFINITY
            },
            interval: None,
            p_value: None,
        });
    }
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
    let (old_logs, new_logs) = (logs(before), logs(after));
    let (old, new) = (Moments::of(&old_logs)?, Moments::of(&new_logs)?);
    let effect = new.mean - old.mean;
    let mut found = Change {
        relative: effect.exp_m1(),
        interval: None,
        p_value: None,
    };
    if old.n < evidence.fewest_runs || new.n < evidence.fewest_runs {
        return Some(found);
    }
    let (low, high, p_value) = interval(&old_logs, &new_logs, &old, &new, evidence);
    found.interval = Some((low.exp_m1(), high.exp_m1()));
    found.p_value = Some(p_value);
    Some(found)
}

fn interval(
    old_logs: &[f64],
    new_logs: &[f64],
    old: &Moments,
    new: &Moments,
    evidence: &Evidence,
) -> (f64, f64, f64) {
    let effect = new.mean - old.mean;
    let (a, b) = (old.standard_error().powi(2), new.standard_error().powi(2));
    let error = (a + b).sqrt();
    if error <= 0.0 {
        // Runs that all agree: no doubt unless they agree on no change.
        return (effect, effect, if effect == 0.0 { 1.0 } else { 0.0 });
    }
    let freedom = (a + b).powi(2) / (a.powi(2) / old.freedom() + b.powi(2) / new.freedom());
    let tail = (1.0 - evidence.confidence) / 2.0;
    let half = student::quantile(1.0 - tail, freedom) * error;
    let (low, high) = bootstrap(old_logs, new_logs, tail, evidence.resamples);
    (
        low.min(effect - half),
        high.max(effect + half),
        student::two_sided(effect / error, freedom),
    )
}

fn bootstrap(old: &[f64], new: &[f64], tail: f64, resamples: usize) -> (f64, f64) {
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut mean = |values: &[f64]| {
        let sum: f64 = (0..values.len())
            .filter_map(|_| values.get(random.random_range(0..values.len())))
            .sum();
        sum / values.len() as f64
    };
    let mut effects: Vec<f64> = (0..resamples).map(|_| mean(new) - mean(old)).collect();
    effects.sort_by(f64::total_cmp);
    let at = |probability: f64| {
        let place = (probability * (effects.len() - 1) as f64).round() as usize;
        effects.get(place).copied().unwrap_or(f64::NAN)
    };
    (at(tail), at(1.0 - tail))
}
