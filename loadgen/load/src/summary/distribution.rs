//! The shape of a latency distribution, small enough to plot and to keep in `summary.json`.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Steps a decade of `1 / (1 - q)` in the percentile curve.
const STEPS_PER_DECADE: u32 = 16;
/// Bins that the histogram should have between the smallest and the largest value.
const WANTED_BINS: f64 = 40.0;
/// Fewest and most logarithmic bins a decade; more would be finer than the three digits recorded.
const BINS_PER_DECADE: (f64, f64) = (24.0, 240.0);
/// Microseconds in a millisecond: histograms count microseconds, reports show milliseconds.
const US_PER_MS: f64 = 1000.0;

/// Shapes of the two latencies of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distributions {
    /// Intended start to last byte.
    pub response: Distribution,
    /// Sent to last byte.
    pub service: Distribution,
}

impl Distributions {
    /// Makes both shapes from histograms of microseconds.
    #[must_use]
    pub fn of(response: &Histogram<u64>, service: &Histogram<u64>) -> Self {
        Self {
            response: Distribution::of(response),
            service: Distribution::of(service),
        }
    }
}

/// Shape of one latency distribution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Percentile curve, rising; ends at the largest value.
    pub quantiles: Vec<QuantilePoint>,
    /// Histogram in logarithmic bins, empty bins left out.
    pub bins: Vec<Bin>,
}

/// One point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantilePoint {
    /// Quantile, 0 to 1.
    pub quantile: f64,
    /// Latency at or below which that share of the samples lies, milliseconds.
    pub ms: f64,
}

/// One bin of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower edge, milliseconds.
    pub from_ms: f64,
    /// Upper edge, milliseconds.
    pub to_ms: f64,
    /// Samples in between.
    pub count: u64,
}

impl Distribution {
    /// Makes the shape from a histogram of microseconds; an empty histogram gives an empty shape.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            quantiles: quantiles(histogram),
            bins: bins(histogram),
        }
    }
}

fn quantiles(histogram: &Histogram<u64>) -> Vec<QuantilePoint> {
    let samples = histogram.len() as f64;
    let mut points = Vec::new();
    for step in 0.. {
        let tail = 10_f64.powf(-f64::from(step) / f64::from(STEPS_PER_DECADE));
        // A tail of less than one sample says nothing beyond the maximum.
        if tail * samples < 1.0 {
            break;
        }
        let quantile = 1.0 - tail;
        let ms = histogram.value_at_quantile(quantile) as f64 / US_PER_MS;
        points.push(QuantilePoint { quantile, ms });
    }
    points.push(QuantilePoint {
        quantile: 1.0 - 1.0 / samples.max(2.0),
        ms: histogram.max() as f64 / US_PER_MS,
    });
    points
}

fn bins(histogram: &Histogram<u64>) -> Vec<Bin> {
    let decades = (histogram.max().max(1) as f64 / histogram.min().max(1) as f64).log10();
    let per_decade = (WANTED_BINS / decades).clamp(BINS_PER_DECADE.0, BINS_PER_DECADE.1);
    let mut bins: Vec<Bin> = Vec::new();
    for value in histogram.iter_recorded() {
        let us = value.value_iterated_to().max(1) as f64;
        let slot = (us.log10() * per_decade).floor();
        let from_ms = 10_f64.powf(slot / per_decade) / US_PER_MS;
        let to_ms = 10_f64.powf((slot + 1.0) / per_decade) / US_PER_MS;
        let count = value.count_at_value();
        match bins.last_mut() {
            Some(last) if last.from_ms == from_ms => last.count += count,
            _ => bins.push(Bin {
                from_ms,
                to_ms,
                count,
            }),
        }
    }
    bins
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        for value in values {
            histogram.saturating_record(*value);
        }
        histogram
    }

    #[test]
    fn an_empty_histogram_has_no_shape() {
        assert_eq!(Distribution::of(&histogram(&[])), Distribution::default());
    }

    proptest! {
        #[test]
        fn bins_keep_every_sample_and_quantiles_rise(values in prop::collection::vec(1_u64..10_000_000, 1..400)) {
            let shape = Distribution::of(&histogram(&values));
            let total: u64 = shape.bins.iter().map(|bin| bin.count).sum();
            prop_assert_eq!(total, values.len() as u64);
            prop_assert!(shape.quantiles.windows(2).all(|pair| pair[0].ms <= pair[1].ms));
            prop_assert!(shape.quantiles.windows(2).all(|pair| pair[0].quantile <= pair[1].quantile));
        }
    }
}
