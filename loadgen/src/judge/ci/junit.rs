//! JUnit XML: a suite for each judgement, a test case for each check.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{Check, Judgement, Outcome};

/// Judgements as JUnit XML. A missed threshold is a failure, a measurement that cannot be believed
/// an error, what could not be judged is skipped; a warning passes and says why in its output.
///
/// # Errors
///
/// When the XML cannot be written.
pub fn junit(judgements: &[Judgement]) -> Result<String, SerializeError> {
    let mut report = Report::new("weir-bench");
    for judgement in judgements {
        let mut suite = TestSuite::new(format!("{} ({})", judgement.title, judgement.id));
        if let Some(seconds) = judgement.seconds {
            suite.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        }
        suite.add_property(("result", judgement.result.as_str()));
        for check in &judgement.checks {
            suite.add_test_case(case(judgement, check));
        }
        if !judgement.notes.is_empty() {
            suite.set_system_out(judgement.notes.join("\n"));
        }
        report.add_test_suite(suite);
    }
    report.to_string()
}

fn case(judgement: &Judgement, check: &Check) -> TestCase {
    let says = says(check);
    let mut status = match check.outcome {
        Outcome::Passed | Outcome::Warning => TestCaseStatus::success(),
        Outcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Invalid => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Skipped => TestCaseStatus::skipped(),
    };
    match check.outcome {
        Outcome::Passed | Outcome::Warning => {}
        Outcome::Failed | Outcome::Skipped => {
            status.set_message(says.as_str());
        }
        Outcome::Invalid => {
            status.set_message(says.as_str()).set_type("invalid");
        }
    }
    let mut case = TestCase::new(format!("{} {}", check.name, check.limit), status);
    case.set_classname(judgement.title.as_str());
    if matches!(check.outcome, Outcome::Passed | Outcome::Warning) {
        case.set_system_out(says);
    }
    case
}

/// A check as a sentence.
pub(super) fn says(check: &Check) -> String {
    let mut text = format!("{} is {}", check.name, check.value);
    if !check.limit.is_empty() {
        text += &format!(", must be {}", check.limit);
    }
    if !check.note.is_empty() {
        text += &format!(" ({})", check.note);
    }
    text
}
