//! GitHub workflow commands, which become annotations of a job.
//!
//! The form is `::error title=…::message`; see "Workflow commands for GitHub Actions" in GitHub's
//! documentation. Percent signs and line ends are escaped in both parts, colons and commas in
//! properties.

use super::{Judgement, Outcome, junit::says};

/// One line for everything that is not as it must be.
#[must_use]
pub fn annotations(judgements: &[Judgement]) -> Vec<String> {
    let mut lines = Vec::new();
    for judgement in judgements {
        for check in &judgement.checks {
            let command = match check.outcome {
                Outcome::Failed | Outcome::Invalid => "error",
                Outcome::Warning => "warning",
                Outcome::Skipped => "notice",
                Outcome::Passed => continue,
            };
            let title = format!("weir-bench: {}: {}", judgement.title, check.name);
            lines.push(format!(
                "::{command} title={}::{}",
                property(&title),
                message(&says(check))
            ));
        }
    }
    lines
}

pub(super) fn message(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

pub(super) fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}
