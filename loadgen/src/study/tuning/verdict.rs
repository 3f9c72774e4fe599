//! From evidence to verdict: a pure function, so that it can be tried on planted claims.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stats::{Estimate, Moments, equivalence};

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// The recommended value is better, by as much as matters.
    #[serde(rename = "confirmed")]
    Confirmed,
    /// A difference that matters is ruled out.
    #[serde(rename = "no effect")]
    NoEffect,
    /// The recommended value is worse, by as much as matters.
    #[serde(rename = "harmful")]
    Harmful,
    /// The workload never reached the setting.
    #[serde(rename = "not bound")]
    NotBound,
    /// The measurement cannot decide.
    #[serde(rename = "invalid")]
    Invalid,
}

impl Verdict {
    /// As in the table.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::NoEffect => "no effect",
            Self::Harmful => "harmful",
            Self::NotBound => "not bound",
            Self::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What the control workload showed, where the setting must make no difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Control {
    /// Mean difference of the metric, recommended minus current, in the metric's unit.
    pub difference: f64,
    /// A difference that would matter: the smallest effect of the binding workload's metric.
    pub bound: f64,
    /// Pairs.
    pub pairs: usize,
    /// How it came out.
    pub outcome: ControlOutcome,
}

/// How a control came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlOutcome {
    /// A difference that matters is ruled out.
    Clean,
    /// There is a difference, so the experiment measures something else than it says.
    Differs,
    /// Too noisy to tell.
    Unsure,
}

impl ControlOutcome {
    /// As in the report.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Differs => "differs",
            Self::Unsure => "unsure",
        }
    }
}

impl Control {
    /// Judges the differences of control pairs against a bound in the metric's unit.
    #[must_use]
    pub fn of(differences: &[f64], bound: f64, alpha: f64) -> Self {
        let moments = Moments::of(differences);
        let difference = moments.map_or(f64::NAN, |moments| moments.mean);
        let outcome = match equivalence(differences, bound) {
            Some(test) if test.holds(alpha) => ControlOutcome::Clean,
            Some(_) => {
                let beyond = moments.is_some_and(|m| {
                    m.mean.abs() - bound > 2.0 * m.standard_error() && m.mean.abs() > bound
                });
                if beyond {
                    ControlOutcome::Differs
                } else {
                    ControlOutcome::Unsure
                }
            }
            None => ControlOutcome::Unsure,
        };
        Self {
            difference,
            bound,
            pairs: differences.len(),
            outcome,
        }
    }
}

/// Everything that a verdict rests on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Whether the workload reached the setting at its current value.
    pub bound: bool,
    /// Log-ratios of the pairs, turned so that positive ones are improvements.
    pub improvements: &'a [f64],
    /// Their mean with its interval; none for fewer than three pairs.
    pub estimate: Option<&'a Estimate>,
    /// p-value after correction for all claims that were tried together.
    pub p_adjusted: f64,
    /// Smallest relative effect that matters.
    pub smallest_effect: f64,
    /// The control; none if it was not tried.
    pub control: Option<&'a Control>,
    /// Whether the injected slowdown was found; none if the metric is a count that needs no such proof.
    pub positive_control: Option<bool>,
    /// Why the measurement itself cannot be believed.
    pub problems: &'a [String],
    /// Largest rate of false alarms.
    pub alpha: f64,
}

/// A verdict and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// One sentence.
    pub why: String,
}

fn decided(verdict: Verdict, why: impl Into<String>) -> Decision {
    Decision {
        verdict,
        why: why.into(),
    }
}

/// Decides.
///
/// A difference counts when it is both significant after correction and at least as large as the
/// declared smallest effect; its absence counts only when two one-sided tests rule such an effect out.
#[must_use]
pub fn decide(evidence: &Evidence<'_>) -> Decision {
    if let Some(problem) = evidence.problems.first() {
        return decided(Verdict::Invalid, problem.clone());
    }
    if !evidence.bound {
        return decided(Verdict::NotBound, "the workload never reached the setting");
    }
    let Some(estimate) = evidence.estimate else {
        return decided(Verdict::Invalid, "fewer than three pairs");
    };
    match evidence.control.map(|control| control.outcome) {
        Some(ControlOutcome::Clean) => {}
        Some(ControlOutcome::Differs) => {
            return decided(
                Verdict::Invalid,
                "the control workload shows a difference although the setting cannot bind there",
            );
        }
        Some(ControlOutcome::Unsure) => {
            return decided(
                Verdict::Invalid,
                "the control workload is too noisy to show that it makes no difference",
            );
        }
        None => return decided(Verdict::Invalid, "the control workload was not tried"),
    }
    let smallest = evidence.smallest_effect.ln_1p();
    let significant = evidence.p_adjusted < evidence.alpha && estimate.excludes_zero();
    if significant && estimate.mean >= smallest {
        return decided(
            Verdict::Confirmed,
            "better by as much as matters, beyond chance",
        );
    }
    if significant && estimate.mean <= -smallest {
        return decided(
            Verdict::Harmful,
            "worse by as much as matters, beyond chance",
        );
    }
    if evidence.positive_control == Some(false) {
        return decided(
            Verdict::Invalid,
            "the injected slowdown was not found, so an effect could have been missed as well",
        );
    }
    let ruled_out =
        equivalence(evidence.improvements, smallest).is_some_and(|test| test.holds(evidence.alpha));
    if ruled_out {
        let why = if significant {
            "there is a difference, but a smaller one than matters"
        } else {
            "an effect that matters is ruled out"
        };
        return decided(Verdict::NoEffect, why);
    }
    decided(
        Verdict::Invalid,
        "undecided: this machine is too noisy now for the pairs that the budget allows",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
    use rand_distr::{Distribution as _, Normal};

    use super::*;
    use crate::stats::{Goal, estimate_at, pairs_needed};

    const CLEAN: Control = Control {
        difference: 0.0,
        bound: 1.0,
        pairs: 3,
        outcome: ControlOutcome::Clean,
    };

    fn judged(improvements: &[f64], change: impl FnOnce(&mut Evidence<'_>)) -> Verdict {
        let estimate = estimate_at(improvements, 0.95, 1_000, 1);
        let mut evidence = Evidence {
            bound: true,
            improvements,
            estimate: estimate.as_ref(),
            p_adjusted: estimate.as_ref().map_or(1.0, |found| found.p_value),
            smallest_effect: 0.05,
            control: Some(&CLEAN),
            positive_control: Some(true),
            problems: &[],
            alpha: 0.05,
        };
        change(&mut evidence);
        decide(&evidence).verdict
    }

    fn noisy(mean: f64, deviation: f64, pairs: usize, random: &mut SmallRng) -> Vec<f64> {
        let normal = Normal::new(mean, deviation).unwrap();
        (0..pairs).map(|_| normal.sample(random)).collect()
    }

    #[test]
    fn planted_claims_get_what_they_deserve() {
        let mut random = SmallRng::seed_from_u64(2);
        let right = noisy(0.20, 0.02, 8, &mut random);
        assert_eq!(judged(&right, |_| {}), Verdict::Confirmed);
        // The recommended value made worse.
        let wrong: Vec<_> = right.iter().map(|log| -log).collect();
        assert_eq!(judged(&wrong, |_| {}), Verdict::Harmful);
        // A setting that does nothing.
        let nothing = noisy(0.0, 0.02, 8, &mut random);
        assert_eq!(judged(&nothing, |_| {}), Verdict::NoEffect);
        // A workload that cannot bind, whatever the figures say.
        assert_eq!(judged(&right, |e| e.bound = false), Verdict::NotBound);
        // A real difference that is too small to matter.
        let small = noisy(0.01, 0.001, 8, &mut random);
        assert_eq!(judged(&small, |_| {}), Verdict::NoEffect);
    }

    #[test]
    fn exact_counts_need_no_noise() {
        assert_eq!(judged(&[0.69; 3], |_| {}), Verdict::Confirmed);
        assert_eq!(judged(&[-0.69; 3], |_| {}), Verdict::Harmful);
        assert_eq!(
            judged(&[0.0; 3], |e| e.positive_control = None),
            Verdict::NoEffect
        );
    }

    #[test]
    fn what_cannot_be_believed_is_invalid() {
        let right = [0.2, 0.21, 0.19, 0.2];
        let problem: &[String] = Vec::leak(vec!["the proxy restarted".to_owned()]);
        assert_eq!(judged(&right, |e| e.problems = problem), Verdict::Invalid);
        assert_eq!(judged(&right, |e| e.control = None), Verdict::Invalid);
        for outcome in [ControlOutcome::Differs, ControlOutcome::Unsure] {
            let control = Control { outcome, ..CLEAN };
            let estimate = estimate_at(&right, 0.95, 100, 1);
            let evidence = Evidence {
                bound: true,
                improvements: &right,
                estimate: estimate.as_ref(),
                p_adjusted: 0.0,
                smallest_effect: 0.05,
                control: Some(&control),
                positive_control: None,
                problems: &[],
                alpha: 0.05,
            };
            assert_eq!(decide(&evidence).verdict, Verdict::Invalid, "{outcome:?}");
        }
        assert_eq!(judged(&right[..2], |_| {}), Verdict::Invalid);
        // Too much noise for either answer, and an injected slowdown that was missed.
        assert_eq!(judged(&[0.5, -0.4, 0.1, -0.3], |_| {}), Verdict::Invalid);
        let nothing = [0.001, -0.001, 0.0, 0.0005];
        assert_eq!(
            judged(&nothing, |e| e.positive_control = Some(false)),
            Verdict::Invalid
        );
        // The correction for several claims counts.
        assert_eq!(judged(&right, |e| e.p_adjusted = 0.2), Verdict::Invalid);
    }

    #[test]
    fn controls_are_judged_in_the_unit_of_the_metric() {
        let outcome = |differences: &[f64]| Control::of(differences, 30.0, 0.05).outcome;
        assert_eq!(outcome(&[0.0; 3]), ControlOutcome::Clean);
        assert_eq!(outcome(&[2.0, -3.0, 1.0, 0.5]), ControlOutcome::Clean);
        assert_eq!(outcome(&[90.0, 95.0, 92.0]), ControlOutcome::Differs);
        assert_eq!(outcome(&[90.0, -80.0, 10.0]), ControlOutcome::Unsure);
        assert_eq!(outcome(&[0.0, 0.0]), ControlOutcome::Unsure);
    }

    #[test]
    fn a_hundred_experiments_without_a_difference_give_at_most_the_declared_rate_of_wrong_verdicts()
    {
        let mut random = SmallRng::seed_from_u64(77);
        for (pairs, deviation) in [(4, 0.01), (6, 0.05), (12, 0.15)] {
            let wrong = (0..100)
                .filter(|_| {
                    let logs = noisy(0.0, deviation, pairs, &mut random);
                    matches!(judged(&logs, |_| {}), Verdict::Confirmed | Verdict::Harmful)
                })
                .count();
            assert!(wrong <= 5, "{pairs} pairs: {wrong} of 100");
        }
    }

    #[test]
    fn a_planted_five_percent_is_found_with_the_planned_pairs() {
        let mut random = SmallRng::seed_from_u64(78);
        let effect = 1.06_f64.ln();
        for deviation in [0.01, 0.04] {
            let pairs = pairs_needed(deviation, &Goal::of(1.05_f64.ln()), 100).unwrap();
            let found = (0..100)
                .filter(|_| {
                    let logs = noisy(effect, deviation, pairs, &mut random);
                    judged(&logs, |_| {}) != Verdict::NoEffect
                        && estimate_at(&logs, 0.95, 500, random.random()).unwrap().low > 0.0
                })
                .count();
            assert!(
                found >= 85,
                "deviation {deviation}, {pairs} pairs: {found} of 100"
            );
        }
    }
}
