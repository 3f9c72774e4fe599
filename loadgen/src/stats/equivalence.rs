//! "No effect" as a finding of its own, not as the lack of one.

use serde::Serialize;

use super::{sample::Moments, student};

/// The result of two one-sided tests (Schuirmann 1987).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Equivalence {
    /// Smallest effect that matters: the mean is asked to lie between −bound and +bound.
    pub bound: f64,
    /// p-value of "the effect is at least as large as the bound": the larger of the two tests.
    pub p_value: f64,
}

impl Equivalence {
    /// Whether an effect that matters is ruled out at this error rate.
    #[must_use]
    pub fn holds(&self, alpha: f64) -> bool {
        self.p_value < alpha
    }
}

/// Tests whether the mean of values (log-ratios) is closer to zero than `bound`, which must be
/// positive; none for fewer than three values.
#[must_use]
pub fn equivalence(values: &[f64], bound: f64) -> Option<Equivalence> {
    let moments = Moments::of(values)?;
    if moments.n < 3 || bound.is_nan() || bound <= 0.0 {
        return None;
    }
    let p_value = if moments.deviation == 0.0 {
        if moments.mean.abs() < bound { 0.0 } else { 1.0 }
    } else {
        let error = moments.standard_error();
        let above = 1.0 - student::cumulative((moments.mean + bound) / error, moments.freedom());
        let below = student::cumulative((moments.mean - bound) / error, moments.freedom());
        above.max(below)
    };
    Some(Equivalence { bound, p_value })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: [f64; 6] = [0.004, -0.006, 0.002, -0.001, 0.003, -0.003];

    #[test]
    fn a_small_spread_about_zero_rules_an_effect_out() {
        assert!(equivalence(&SMALL, 0.05).unwrap().holds(0.05));
        assert!(!equivalence(&SMALL, 0.001).unwrap().holds(0.05));
    }

    #[test]
    fn noise_rules_nothing_out() {
        let noisy = SMALL.map(|value| value * 50.0);
        assert!(!equivalence(&noisy, 0.05).unwrap().holds(0.05));
    }

    #[test]
    fn an_effect_beyond_the_bound_is_never_equivalent() {
        let shifted = SMALL.map(|value| value + 0.06);
        assert!(!equivalence(&shifted, 0.05).unwrap().holds(0.05));
        assert_eq!(equivalence(&SMALL, 0.0), None);
        assert_eq!(equivalence(&SMALL[..2], 0.05), None);
    }

    proptest! {
        #[test]
        fn the_sides_are_alike_and_a_wider_bound_is_easier(
            values in prop::collection::vec(-0.2_f64..0.2, 3..15), bound in 0.01_f64..0.2
        ) {
            let found = equivalence(&values, bound).unwrap();
            let turned: Vec<f64> = values.iter().map(|v| -v).collect();
            prop_assert!((equivalence(&turned, bound).unwrap().p_value - found.p_value).abs() < 1e-9);
            prop_assert!(equivalence(&values, bound * 2.0).unwrap().p_value <= found.p_value + 1e-12);
        }
    }
}
