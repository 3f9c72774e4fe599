//! How much is tried within the budget.

use std::time::Duration;

use serde::Serialize;

use super::claim::Claim;

/// Switching a setting, besides the trial itself.
const SWITCH: Duration = Duration::from_millis(60);
/// Starting and stopping a rig.
const RIG: Duration = Duration::from_millis(1500);
/// Calibration, A/A and positive control of the whole, before the first row.
const BEFORE: Duration = Duration::from_secs(40);
/// A trial longer than this is made as seldom as possible.
const LONG: Duration = Duration::from_secs(5);
/// Most trials of a search.
const SEARCH: usize = 9;
/// Most pairs of a row whose metric scatters.
const MOST_PAIRS: usize = 60;

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plan {
    /// Time in all.
    #[serde(serialize_with = "weir_load::units::as_text::duration")]
    pub budget: Duration,
    /// Shorter trials, and times of settings a tenth of theirs.
    pub quick: bool,
    /// Pairs of rows whose metric is a count.
    pub exact_pairs: usize,
    /// Pairs of controls.
    pub control_pairs: usize,
    /// Pairs of the A/A test of a row whose metric scatters.
    pub aa_pairs: usize,
    /// Most pairs of such a row.
    pub most_pairs: usize,
    /// Most trials of a search for the value that is enough; 0: no search.
    pub search: usize,
    /// Whether the workload is also tried at other sizes.
    pub sizes: bool,
    /// Largest rate of false alarms over all claims.
    pub alpha: f64,
    /// Least probability of seeing an effect of the declared size.
    pub power: f64,
}

/// The budget is too small for the rows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the budget of {} s is too small: these rows need at least {} s; give a larger one, fewer rows, or --quick", .budget.as_secs(), .least.as_secs())]
pub struct TooSmall {
    /// As given.
    pub budget: Duration,
    /// What would do.
    pub least: Duration,
}

impl Plan {
    /// The most that fits: first the search and the sizes are given up, then pairs.
    ///
    /// # Errors
    ///
    /// When even three pairs of everything do not fit.
    pub fn within(budget: Duration, quick: bool, claims: &[Claim]) -> Result<Self, TooSmall> {
        let full = Self {
            budget,
            quick,
            exact_pairs: if quick { 3 } else { 4 },
            control_pairs: if quick { 3 } else { 4 },
            aa_pairs: if quick { 4 } else { 8 },
            most_pairs: 3,
            search: if quick { 6 } else { SEARCH },
            sizes: true,
            alpha: 0.05,
            power: 0.9,
        };
        let smaller = [
            full,
            Self {
                exact_pairs: 3,
                control_pairs: 3,
                ..full
            },
            Self {
                exact_pairs: 3,
                control_pairs: 3,
                search: 6,
                sizes: false,
                ..full
            },
            Self {
                exact_pairs: 3,
                control_pairs: 3,
                search: 0,
                sizes: false,
                aa_pairs: 4,
                ..full
            },
        ];
        let fits = smaller.iter().find(|plan| plan.least(claims) <= budget);
        let Some(plan) = fits else {
            let least = smaller.last().map_or(budget, |plan| plan.least(claims));
            return Err(TooSmall { budget, least });
        };
        let mut plan = *plan;
        let scattering = claims.iter().filter(|claim| !claim.exact);
        let each: Duration = scattering
            .clone()
            .map(|claim| plan.pair(claim) * claim.recommended.len() as u32)
            .sum();
        if !each.is_zero() {
            // A fifth stays for what takes longer than planned.
            let rest = budget.saturating_sub(plan.least(claims)).mul_f64(0.8);
            let more = (rest.as_secs_f64() / each.as_secs_f64()) as usize;
            let most = if quick { 12 } else { MOST_PAIRS };
            plan.most_pairs = (plan.most_pairs + more).clamp(3, most);
        }
        Ok(plan)
    }

    /// Pairs of a row, for one recommended value, before the noise is known.
    #[must_use]
    pub fn pairs(&self, claim: &Claim) -> usize {
        if !claim.exact {
            self.most_pairs
        } else if self.trial(claim) > LONG {
            3
        } else {
            self.exact_pairs
        }
    }

    /// A trial of the binding workload.
    fn trial(&self, claim: &Claim) -> Duration {
        let timeout = claim.current.duration().map(|timeout| {
            if self.quick {
                timeout.mul_f64(claim.quick_factor())
            } else {
                timeout
            }
        });
        let workload = if self.quick {
            claim.binding.quick()
        } else {
            claim.binding
        };
        workload.lasts(timeout) + SWITCH
    }

    /// A pair of trials: of a time, the recommended value takes its own time.
    fn pair(&self, claim: &Claim) -> Duration {
        let trial = self.trial(claim);
        match (claim.current.duration(), claim.recommended.first()) {
            (Some(_), Some(other)) => {
                trial + trial.mul_f64((other.amount / claim.current.amount).clamp(0.05, 4.0))
            }
            _ => trial * 2,
        }
    }

    /// Time of everything but the pairs that scattering rows get beyond three.
    #[must_use]
    pub fn least(&self, claims: &[Claim]) -> Duration {
        let before = if self.quick { BEFORE / 4 } else { BEFORE };
        before + claims.iter().map(|claim| self.row(claim)).sum::<Duration>()
    }

    fn row(&self, claim: &Claim) -> Duration {
        let arms = claim.recommended.len() as u32;
        let trial = self.trial(claim);
        let mut time = RIG + self.pair(claim) * arms * self.pairs(claim) as u32;
        let control = if self.quick {
            claim.control.quick()
        } else {
            claim.control
        };
        time += (control.lasts(None) + SWITCH) * 2 * self.control_pairs as u32;
        if !claim.exact {
            // Against itself, and with a slowdown put in.
            time += trial * 4 * self.aa_pairs as u32;
        }
        if claim.enough.is_some() {
            time += trial * self.search as u32;
        }
        if self.sizes {
            let sizes = claim.binding.sizes(&claim.series, claim.current.amount);
            time += trial * 2 * sizes.len() as u32;
        }
        time
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::study::tuning::file;

    fn claims() -> Vec<Claim> {
        file::parse(
            include_str!("../../../../config/tuning.toml"),
            "tuning.toml",
        )
        .unwrap()
    }

    #[test]
    fn all_six_rows_fit_into_ten_minutes_with_search_and_sizes() {
        let budget = Duration::from_secs(600);
        let plan = Plan::within(budget, false, &claims()).unwrap();
        assert!(
            plan.sizes && plan.search > 0 && plan.exact_pairs >= 3,
            "{plan:?}"
        );
        assert!(plan.most_pairs >= 12, "{plan:?}");
        assert!(plan.least(&claims()) <= budget);
    }

    #[test]
    fn a_smaller_budget_gives_up_the_extras_and_then_says_no() {
        let least = Plan::within(Duration::ZERO, false, &claims())
            .unwrap_err()
            .least;
        let plan = Plan::within(least, false, &claims()).unwrap();
        assert!(!plan.sizes && plan.search == 0);
        let error = Plan::within(Duration::from_secs(20), false, &claims()).unwrap_err();
        assert!(error.to_string().contains("--quick"), "{error}");
    }

    #[test]
    fn a_quick_check_with_everything_fits_into_three_minutes() {
        let plan = Plan::within(Duration::from_secs(180), true, &claims()).unwrap();
        assert!(plan.quick && plan.search > 0, "{plan:?}");
    }
}
