//! The value that is enough: between one that is not and one that is.

use serde::Serialize;

/// One value that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// The amount of the setting.
    pub amount: f64,
    /// What the measure came to.
    pub measured: f64,
    /// Whether that is enough.
    pub enough: bool,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The smallest amount that was seen to be enough, twice; none if nothing was.
    pub amount: Option<f64>,
    /// The largest amount below it that was seen not to be.
    pub not_enough: f64,
    /// Everything that was tried, in order.
    pub steps: Vec<Step>,
}

/// How closely and how long to search.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// The search ends when the bounds are this close, relative to the upper one, or next to each other.
    pub precision: f64,
    /// Most trials.
    pub trials: usize,
}

/// Searches between `low`, which is known not to be enough, and `high`. `try_it` gives the measure
/// and whether it is enough.
///
/// When `high` is not enough it is doubled until it is, up to `most`. The answer is confirmed by a
/// second trial; where that fails the next larger amount that held takes its place.
///
/// # Errors
///
/// The first error of a trial.
pub fn smallest<E>(
    low: f64,
    high: f64,
    most: f64,
    effort: Effort,
    mut try_it: impl FnMut(f64) -> Result<(f64, bool), E>,
) -> Result<Found, E> {
    let mut steps: Vec<Step> = Vec::new();
    let mut attempt = |amount: f64, steps: &mut Vec<Step>| -> Result<bool, E> {
        let (measured, enough) = try_it(amount)?;
        steps.push(Step {
            amount,
            measured,
            enough,
        });
        Ok(enough)
    };
    let (mut low, mut high) = (low, high);
    let mut held = attempt(high, &mut steps)?;
    while !held && high < most && steps.len() < effort.trials {
        low = high;
        high = (high * 2.0).min(most);
        held = attempt(high, &mut steps)?;
    }
    if !held {
        return Ok(Found {
            amount: None,
            not_enough: high,
            steps,
        });
    }
    while steps.len() + 1 < effort.trials && high - low > (high * effort.precision).max(1.0) {
        let middle = f64::midpoint(low, high).round();
        if attempt(middle, &mut steps)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    if !attempt(high, &mut steps)? {
        let above = steps
            .iter()
            .filter(|step| step.enough && step.amount > high)
            .map(|step| step.amount)
            .min_by(f64::total_cmp);
        low = high;
        high = above.unwrap_or(high);
        if above.is_none() {
            return Ok(Found {
                amount: None,
                not_enough: low,
                steps,
            });
        }
    }
    Ok(Found {
        amount: Some(high),
        not_enough: low,
        steps,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: Effort = Effort {
        precision: 0.0,
        trials: 40,
    };

    fn threshold(at: f64) -> impl FnMut(f64) -> Result<(f64, bool), ()> {
        move |amount| Ok((amount, amount >= at))
    }

    #[test]
    fn the_smallest_is_found_to_the_unit() {
        let found = smallest(20.0, 100.0, 1e6, FULL, threshold(99.0)).unwrap();
        assert_eq!((found.amount, found.not_enough), (Some(99.0), 98.0));
    }

    #[test]
    fn beyond_the_upper_bound_it_doubles() {
        let found = smallest(32.0, 64.0, 1e6, FULL, threshold(300.0)).unwrap();
        assert_eq!(found.amount, Some(300.0));
        let never = smallest(32.0, 64.0, 500.0, FULL, threshold(1e9)).unwrap();
        assert_eq!((never.amount, never.not_enough), (None, 500.0));
    }

    #[test]
    fn an_answer_that_does_not_hold_twice_is_not_given() {
        let mut tries = 0;
        let found = smallest(10.0, 20.0, 20.0, FULL, |amount| {
            tries += 1;
            // 15 holds once only.
            Ok::<_, ()>((amount, amount > 15.0 || (amount == 15.0 && tries < 3)))
        })
        .unwrap();
        assert!(found.amount.unwrap() > 15.0, "{found:?}");
    }

    proptest! {
        #[test]
        fn the_bounds_enclose_the_truth(truth in 33_u32..5_000, trials in 3_usize..20) {
            let effort = Effort { precision: 0.01, trials };
            let found = smallest(32.0, 64.0, 1e5, effort, threshold(f64::from(truth))).unwrap();
            if let Some(amount) = found.amount {
                prop_assert!(found.not_enough < f64::from(truth) && f64::from(truth) <= amount);
            }
            prop_assert!(found.steps.len() <= trials.max(1) + 1);
        }
    }
}
