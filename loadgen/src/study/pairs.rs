//! Interleaved pairs, A B, B A …, so that a drift of the machine hurts both sides alike.

use serde::Serialize;

use crate::stats::log_ratio;

/// One of the two values that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The current value.
    A,
    /// The other value.
    B,
}

/// The metric of both trials of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// With the current value.
    pub a: f64,
    /// With the other value.
    pub b: f64,
}

impl Pair {
    /// The log-ratio, positive for an improvement. `floor` is added to both sides: half a count for
    /// counts that may be 0, otherwise 0.
    #[must_use]
    pub fn improvement(&self, direction: Direction, floor: f64) -> Option<f64> {
        log_ratio(self.a + floor, self.b + floor).map(|log| log * direction.sign())
    }
}

/// The order of the two sides in pair number `index`, from 0: A B B A, B A A B, and again. A drift that
/// is straight cancels over two pairs, a curved one over four, and a disturbance that comes back every
/// few trials meets both sides: A B B A alone would give every fourth trial to the same one.
#[must_use]
pub fn order(index: usize) -> [Side; 2] {
    if matches!(index % 4, 0 | 3) {
        [Side::A, Side::B]
    } else {
        [Side::B, Side::A]
    }
}

/// Makes pairs until there are `count`, or `enough` says so after one.
///
/// # Errors
///
/// The first error of a trial.
pub fn interleave<T, E>(
    count: usize,
    mut trial: impl FnMut(usize, Side) -> Result<T, E>,
) -> Result<Vec<(T, T)>, E> {
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        let [first, _] = order(index);
        let (one, two) = match first {
            Side::A => (trial(index, Side::A)?, trial(index, Side::B)?),
            Side::B => {
                let b = trial(index, Side::B)?;
                (trial(index, Side::A)?, b)
            }
        };
        pairs.push((one, two));
    }
    Ok(pairs)
}

/// Which way a metric should move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// A higher value is better.
    Higher,
    /// A lower value is better.
    Lower,
}

impl Direction {
    /// 1 for higher, −1 for lower: a log-ratio times this is positive for an improvement.
    #[must_use]
    pub fn sign(self) -> f64 {
        match self {
            Self::Higher => 1.0,
            Self::Lower => -1.0,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Sum of B − A over pairs of trials that only follow their number.
    fn bias(count: usize, of: impl Fn(f64) -> f64) -> f64 {
        let mut clock = 0.0;
        let pairs = interleave(count, |_, _| {
            clock += 1.0;
            Ok::<_, ()>(of(clock))
        })
        .unwrap();
        pairs.iter().map(|(a, b)| b - a).sum()
    }

    #[test]
    fn drifts_cancel() {
        for pairs in [2, 4, 6, 8] {
            assert_eq!(bias(pairs, |at| at), 0.0, "{pairs}");
        }
        for pairs in [4, 8, 12] {
            assert_eq!(bias(pairs, |at| at * at), 0.0, "{pairs}");
        }
    }

    #[test]
    fn what_comes_back_every_few_trials_meets_both_sides() {
        for period in 2..8 {
            for phase in 0..period {
                let disturbed = |at: f64| f64::from(at as u32 % period == phase);
                let hits = (1..=32).filter(|at| at % period == phase).count() as f64;
                let bias = bias(16, disturbed).abs();
                assert!(
                    bias <= hits / 2.0,
                    "every {period} trials, from {phase}: {bias}"
                );
            }
        }
    }

    #[test]
    fn improvements_are_positive_whichever_way_is_better() {
        let halved = Pair { a: 2.0, b: 1.0 };
        assert!(halved.improvement(Direction::Lower, 0.0).unwrap() > 0.0);
        assert!(halved.improvement(Direction::Higher, 0.0).unwrap() < 0.0);
        let none = Pair { a: 0.0, b: 0.0 };
        assert_eq!(none.improvement(Direction::Lower, 0.0), None);
        assert_eq!(none.improvement(Direction::Lower, 0.5), Some(0.0));
    }
}
