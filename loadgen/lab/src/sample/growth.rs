//! Growth of memory over time, robustly: the Theil–Sen slope with Sen's interval, widened for
//! samples that depend on each other, and the smallest growth that could have been seen.
//!
//! P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau" (1968).

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// z-values of a two-sided 5 % test and of 80 % power.
const Z_LEVEL_AND_POWER: f64 = 1.960 + 0.842;
/// Most points used; more are thinned, since the slopes of all pairs are formed.
const MOST_POINTS: usize = 300;
/// Fewest points from which a slope means anything.
const FEWEST_POINTS: usize = 8;
/// Smallest spread assumed, bytes: allocators take memory from the system in steps.
const LEAST_SPREAD: f64 = 65_536.0;
/// Two-sided 95 %.
const Z_95: f64 = 1.960;
/// Turns a median absolute deviation into a standard deviation of normal noise.
const MAD_TO_SIGMA: f64 = 1.4826;

/// A growth per second, in bytes or whatever the samples count, with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GrowthEstimate {
    /// Theil–Sen slope.
    pub per_second: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Smallest growth that this series could have told from none.
    pub detectable: f64,
}

/// Estimates growth from samples of (seconds, bytes); none when there are too few.
#[must_use]
pub fn estimate_growth(samples: &[(f64, f64)], length: Duration) -> Option<GrowthEstimate> {
    estimate_growth_above(samples, length, LEAST_SPREAD)
}

/// As [`estimate_growth`], for any quantity; `least_spread` is the smallest spread assumed, in its
/// unit: half the step in which it changes.
#[must_use]
pub fn estimate_growth_above(
    samples: &[(f64, f64)],
    length: Duration,
    least_spread: f64,
) -> Option<GrowthEstimate> {
    let step = samples.len().div_ceil(MOST_POINTS).max(1);
    let points: Vec<(f64, f64)> = samples.iter().step_by(step).copied().collect();
    if points.len() < FEWEST_POINTS {
        return None;
    }
    let slopes = sorted_slopes(&points);
    let per_second = median(&slopes)?;
    let residuals = residuals(&points, per_second)?;
    let dependence = lag_one(&residuals).clamp(0.0, 0.95);
    // Dependent samples carry the information of fewer: n·(1−r)/(1+r) of them.
    let inflation = ((1.0 + dependence) / (1.0 - dependence)).sqrt();
    let n = points.len() as f64;
    let half = Z_95 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt() * inflation / 2.0;
    let middle = slopes.len() as f64 / 2.0;
    let at = |index: f64| {
        let last = slopes.len().saturating_sub(1);
        slopes
            .get((index.round().max(0.0) as usize).min(last))
            .copied()
            .unwrap_or(per_second)
    };
    let apart_s = length.as_secs_f64() / n;
    let assumption = MemoryAssumption {
        spread: spread(&residuals).max(least_spread),
        correlation_s: apart_s * (1.0 + dependence) / (1.0 - dependence),
    };
    Some(GrowthEstimate {
        per_second,
        low: at(middle - half),
        high: at(middle + half),
        detectable: smallest_detectable_growth(length.as_secs_f64(), assumption),
    })
}

fn sorted_slopes(points: &[(f64, f64)]) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, (t, y)) in points.iter().enumerate() {
        for (later_t, later_y) in points.iter().skip(index + 1) {
            if later_t > t {
                slopes.push((later_y - y) / (later_t - t));
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted
        .get(middle.wrapping_sub(1))
        .map(|lower| f64::midpoint(*lower, upper))
}

fn residuals(points: &[(f64, f64)], slope: f64) -> Option<Vec<f64>> {
    let mut offsets: Vec<f64> = points.iter().map(|(t, y)| y - slope * t).collect();
    let unsorted = offsets.clone();
    offsets.sort_by(f64::total_cmp);
    let level = median(&offsets)?;
    Some(unsorted.into_iter().map(|offset| offset - level).collect())
}

fn spread(residuals: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = residuals.iter().map(|value| value.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    median(&sizes).unwrap_or(0.0) * MAD_TO_SIGMA
}

/// Correlation of each value with the next.
fn lag_one(values: &[f64]) -> f64 {
    let own: f64 = values.iter().map(|value| value * value).sum();
    let next: f64 = values
        .iter()
        .zip(values.iter().skip(1))
        .map(|(a, b)| a * b)
        .sum();
    if own > 0.0 { next / own } else { 0.0 }
}

/// What is assumed about a process's memory before it has been measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryAssumption {
    /// Spread of resident memory around its trend, bytes.
    pub spread: f64,
    /// Time after which two samples are independent, seconds.
    pub correlation_s: f64,
}

impl Default for MemoryAssumption {
    fn default() -> Self {
        Self {
            spread: 1e6,
            correlation_s: 10.0,
        }
    }
}

/// Smallest growth in bytes per second that a run of `duration_s` seconds can tell from none.
#[must_use]
pub fn smallest_detectable_growth(duration_s: f64, assumption: MemoryAssumption) -> f64 {
    if duration_s <= 0.0 {
        return f64::INFINITY;
    }
    let independent = (duration_s / assumption.correlation_s).max(2.0);
    Z_LEVEL_AND_POWER * assumption.spread * (12.0 / independent).sqrt() / duration_s
}

/// Growth of a process's resident memory over a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Growth {
    /// The process.
    pub process: String,
    /// Bytes per minute, robust slope.
    pub per_minute: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
    /// Smallest growth that this run could have told from none, bytes per minute.
    pub detectable: f64,
    /// What follows, in words.
    pub verdict: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn series(slope: f64, noise: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        (0..240)
            .map(|i| (i as f64 / 4.0, 2e7 + slope * i as f64 / 4.0 + noise(i)))
            .collect()
    }

    fn jitter(index: usize) -> f64 {
        ((index * 7919) % 101) as f64 * 2000.0 - 100_000.0
    }

    #[test]
    fn a_leak_is_seen_and_its_size_is_right() {
        let estimate = estimate_growth(&series(50_000.0, jitter), MINUTE).unwrap();
        assert!(
            (estimate.per_second - 50_000.0).abs() < 2_500.0,
            "{estimate:?}"
        );
        assert!(estimate.low > 0.0 && estimate.low <= estimate.per_second);
        assert!(estimate.high >= estimate.per_second);
        assert!(estimate.detectable < 50_000.0);
    }

    #[test]
    fn steady_memory_has_no_growth_and_says_what_it_could_have_seen() {
        let estimate = estimate_growth(&series(0.0, jitter), MINUTE).unwrap();
        assert!(estimate.low <= 0.0 && estimate.high >= 0.0, "{estimate:?}");
        assert!(estimate.detectable > 0.0);
        let flat = estimate_growth(&series(0.0, |_| 0.0), MINUTE).unwrap();
        assert_eq!(flat.per_second, 0.0);
        assert!(flat.detectable > 0.0, "even a flat line has limits");
    }

    #[test]
    fn one_wild_sample_does_not_make_a_leak() {
        let mut samples = series(0.0, |_| 0.0);
        samples[200].1 = 9e9;
        assert_eq!(estimate_growth(&samples, MINUTE).unwrap().per_second, 0.0);
    }

    #[test]
    fn a_handful_of_samples_supports_nothing() {
        assert_eq!(estimate_growth(&[(0.0, 1.0), (1.0, 2.0)], MINUTE), None);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_slope(values in prop::collection::vec(1e6_f64..1e8, 8..80)) {
            let samples: Vec<_> = values.iter().enumerate().map(|(i, y)| (i as f64, *y)).collect();
            let estimate = estimate_growth(&samples, MINUTE).unwrap();
            prop_assert!(estimate.low <= estimate.per_second && estimate.per_second <= estimate.high);
            prop_assert!(estimate.detectable.is_finite() && estimate.detectable > 0.0);
        }
    }
}
