//! How many pairs an effect needs, given the noise.

use super::student;

/// What an experiment should be able to see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Effect to be seen, as a log-ratio; its sign does not matter.
    pub effect: f64,
    /// Largest rate of false alarms (two-sided).
    pub alpha: f64,
    /// Least probability of seeing the effect when it is there.
    pub power: f64,
}

impl Goal {
    /// An effect at α = 5 % and a power of 90 %.
    #[must_use]
    pub fn of(effect: f64) -> Self {
        Self {
            effect,
            alpha: 0.05,
            power: 0.9,
        }
    }
}

/// Pairs needed to see the effect when single pairs scatter with this standard deviation, at least
/// three; none if more than `most` would be needed.
///
/// The smallest n with n ≥ ((t₁₋α/₂ + t_power) · s / effect)², both quantiles with n − 1 degrees of
/// freedom: the usual approximation to the noncentral t distribution, a little on the safe side.
#[must_use]
pub fn pairs_needed(deviation: f64, goal: &Goal, most: usize) -> Option<usize> {
    (3..=most.max(3))
        .find(|n| detectable_effect(deviation, *n, goal) <= goal.effect.abs())
        .filter(|n| *n <= most)
}

/// The smallest effect (a log-ratio) that this many pairs can see with the goal's α and power.
#[must_use]
pub fn detectable_effect(deviation: f64, pairs: usize, goal: &Goal) -> f64 {
    if pairs < 2 {
        return f64::INFINITY;
    }
    let freedom = (pairs - 1) as f64;
    let quantiles =
        student::quantile(1.0 - goal.alpha / 2.0, freedom) + student::quantile(goal.power, freedom);
    quantiles * deviation / (pairs as f64).sqrt()
}

/// An upper bound of the true standard deviation, right four times out of five, for a deviation
/// that was itself estimated from a few pairs.
///
/// s·√(ν/χ²) with the 20 % quantile of χ² by Wilson and Hilferty (1931).
#[must_use]
pub fn upper_deviation(deviation: f64, pairs: usize) -> f64 {
    // The normal quantile at 20 %.
    const Z: f64 = -0.841_621;
    if pairs < 2 {
        return f64::INFINITY;
    }
    let freedom = (pairs - 1) as f64;
    let part = 2.0 / (9.0 * freedom);
    let chi_square = freedom * (1.0 - part + Z * part.sqrt()).powi(3);
    deviation * (freedom / chi_square.max(f64::EPSILON)).sqrt()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_standard_case_agrees_with_the_tables() {
        // Cohen's d of 1, α 5 %, power 80 %, paired: 10 by the noncentral t, 11 on the safe side.
        let goal = Goal {
            effect: 1.0,
            alpha: 0.05,
            power: 0.8,
        };
        let pairs = pairs_needed(1.0, &goal, 100).unwrap();
        assert!((10..=11).contains(&pairs), "{pairs}");
    }

    #[test]
    fn an_effect_out_of_reach_is_said() {
        assert_eq!(pairs_needed(1.0, &Goal::of(0.01), 50), None);
        assert_eq!(pairs_needed(0.0, &Goal::of(0.05), 50), Some(3));
        assert_eq!(detectable_effect(0.1, 1, &Goal::of(0.05)), f64::INFINITY);
    }

    #[test]
    fn a_deviation_from_few_pairs_is_doubted_more() {
        // χ² at 20 %: 0.446 for 2 degrees of freedom, 5.380 for 9.
        assert!((upper_deviation(1.0, 3) - (2.0_f64 / 0.446).sqrt()).abs() < 0.05);
        assert!((upper_deviation(1.0, 10) - (9.0_f64 / 5.380).sqrt()).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn more_noise_needs_more_pairs(deviation in 0.001_f64..0.1, factor in 1.0_f64..3.0) {
            let goal = Goal::of(0.05);
            let few = pairs_needed(deviation, &goal, 2_000);
            let many = pairs_needed(deviation * factor, &goal, 2_000);
            prop_assert!(many.is_none() || few <= many);
        }
    }
}
