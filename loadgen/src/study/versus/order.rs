//! Taking turns, and summing up what the turns gave.

use serde::Serialize;

/// The order of `rounds` rounds of `n` contenders: forwards, then backwards, and so on.
///
/// In `A B C C B A` a drift that grows evenly in time adds the same to every contender.
pub fn interleaved(n: usize, rounds: usize) -> Vec<(usize, usize)> {
    (0..rounds)
        .flat_map(|round| {
            (0..n).map(move |place| {
                let contender = if round % 2 == 0 { place } else { n - 1 - place };
                (round, contender)
            })
        })
        .collect()
}

/// The middle and the ends of a few measurements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median; the mean of the two middle values if their number is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Median, minimum and maximum; `None` without values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_runs_backwards() {
        let order: Vec<usize> = interleaved(3, 2).into_iter().map(|(_, c)| c).collect();
        assert_eq!(order, [0, 1, 2, 2, 1, 0]);
    }

    #[test]
    fn a_linear_drift_cancels_over_two_rounds() {
        let mut sums = [0; 3];
        for (time, (_, contender)) in interleaved(3, 4).into_iter().enumerate() {
            sums[contender] += time;
        }
        assert_eq!(sums[0], sums[1]);
        assert_eq!(sums[1], sums[2]);
    }

    #[test]
    fn the_median_is_the_middle() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([f64::NAN]), None);
    }
}
