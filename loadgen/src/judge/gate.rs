//! From rows to one verdict and its exit code.

use weir_load::summary::{Validity, Verdict};

use super::{Row, Status};
use crate::exit::Exit;

/// Outcome of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Every threshold that can be judged is met.
    Passed,
    /// A threshold is missed.
    Failed,
    /// The measurement cannot be believed.
    Invalid,
}

impl Gate {
    /// The exit code that scripts see.
    #[must_use]
    pub fn exit(self) -> Exit {
        self.into()
    }

    /// The gate of this word, as [`Gate::text`] writes it; any other word is [`Gate::Invalid`].
    #[must_use]
    pub fn named(word: &str) -> Self {
        match word {
            "passed" => Self::Passed,
            "failed" => Self::Failed,
            _ => Self::Invalid,
        }
    }

    /// The word in tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
        }
    }
}

impl From<Gate> for Exit {
    fn from(gate: Gate) -> Self {
        match gate {
            Gate::Passed => Self::Passed,
            Gate::Failed => Self::GateFailed,
            Gate::Invalid => Self::Invalid,
        }
    }
}

/// Judges rows and validity together. An invalid run never passes; a row that could not be
/// measured fails, since nothing proves it; a row that is not reachable by arithmetic does not.
#[must_use]
pub fn gate(rows: &[Row], validity: &Validity) -> Gate {
    if validity.verdict == Verdict::Invalid {
        return Gate::Invalid;
    }
    let missed = |row: &Row| matches!(row.status, Status::Fail | Status::NotMeasured);
    if rows.iter().any(missed) {
        Gate::Failed
    } else {
        Gate::Passed
    }
}
