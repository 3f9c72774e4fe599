//! Runs against a baseline: how much each figure changed, what the runs can support of that, and
//! whether it is a regression.
//!
//! The unit of evidence is a run. With at least [`Evidence::fewest_runs`](rules::Evidence) on both
//! sides a change counts only when it could not as well be noise; with fewer, the rules alone
//! decide, and the result says so.

mod differences;
mod evidence;
mod figures;
pub mod kept;
pub mod rules;
pub mod table;
mod verdict;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};

pub use self::{
    evidence::{Change, change},
    figures::{Figure, figures},
    rules::CompareRules,
    table::{change_table, lines},
    verdict::{Grade, compare},
};
use crate::exit::Exit;

/// Runs against a baseline, as `run.json` and `compare --json` hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What was compared with: a name, or run folders.
    pub against: String,
    /// Runs of the baseline.
    pub baseline_runs: Vec<String>,
    /// Runs that were judged.
    pub runs: Vec<String>,
    /// One entry a figure, the gravest first.
    pub changes: Vec<JudgedChange>,
    /// The whole.
    pub result: Outcome,
    /// What makes the two sides differ other than in what is tested: host, scenario, versions.
    pub differences: Vec<String>,
    /// What the numbers can support, in sentences.
    pub notes: Vec<String>,
}

/// The whole of a comparison in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing that a rule calls a failure.
    NoRegression,
    /// Worse than the rules allow.
    Regression,
    /// A run cannot be believed.
    Invalid,
}

impl Outcome {
    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::NoRegression => "no regression",
            Self::Regression => "regression",
            Self::Invalid => "invalid",
        }
    }

    /// The exit code that scripts see.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::NoRegression => Exit::Passed,
            Self::Regression => Exit::Regression,
            Self::Invalid => Exit::Invalid,
        }
    }
}

/// One figure on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedChange {
    /// What, e.g. `p95` or `login: p95`.
    pub figure: String,
    /// Mean of the baseline, with its unit.
    pub before: String,
    /// Mean of the runs, with its unit.
    pub after: String,
    /// Relative change, 0.1 for a tenth more; none when there is nothing to relate to.
    pub change: Option<f64>,
    /// 95 % interval of the change, where there are enough runs.
    pub interval: Option<(f64, f64)>,
    /// p-value after Holm's correction, where there are enough runs.
    pub p_value: Option<f64>,
    /// How it was graded.
    pub grade: Grade,
    /// The rule that graded it, or what a reader must know.
    pub note: String,
}
