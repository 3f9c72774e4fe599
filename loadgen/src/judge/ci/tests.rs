//! What is written can be read by those who read it, whatever stands in it.

use proptest::prelude::*;
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};

use super::*;

fn check(name: &str, outcome: Outcome) -> Check {
    Check {
        name: name.into(),
        value: "120 ms".into(),
        limit: "< 100 ms".into(),
        outcome,
        note: String::new(),
    }
}

fn judgement(checks: Vec<Check>) -> Judgement {
    Judgement {
        title: "ci on two".into(),
        id: "20260101T000000Z__ci__two__git-abc".into(),
        result: "failed".into(),
        checks,
        notes: vec!["100 requests in 1.0 s".into()],
        seconds: Some(1.0),
    }
}

fn all() -> Judgement {
    judgement(vec![
        check("p50", Outcome::Passed),
        check("p95", Outcome::Failed),
        check("p99", Outcome::Warning),
        check("throughput", Outcome::Skipped),
        check("measurement", Outcome::Invalid),
    ])
}

#[test]
fn junit_counts_failures_errors_and_skips() {
    let xml = junit(&[all()]).unwrap();
    let report = Report::deserialize_from_str(&xml).unwrap();
    let suite = &report.test_suites[0];
    assert_eq!((suite.tests, suite.failures, suite.errors), (5, 1, 1));
    assert_eq!(xml.matches("<skipped").count(), 1);
    let TestCaseStatus::NonSuccess { kind, message, .. } = &suite.test_cases[1].status else {
        unreachable!("{xml}");
    };
    assert_eq!(*kind, NonSuccessKind::Failure);
    let message = message.as_ref().map(|message| message.as_str());
    assert_eq!(message, Some("p95 is 120 ms, must be < 100 ms"));
}

#[test]
fn markdown_is_one_row_a_check() {
    let text = markdown(&[all()]);
    assert!(text.starts_with("### ❌ ci on two: failed\n"), "{text}");
    assert!(
        text.contains("| p95 | 120 ms | &lt; 100 ms | **FAIL** |"),
        "{text}"
    );
    assert_eq!(
        text.lines().filter(|line| line.starts_with("| ")).count(),
        6
    );
}

#[test]
fn annotations_name_only_what_is_not_as_it_must_be() {
    assert_eq!(
        annotations(&[all()]),
        [
            "::error title=weir-bench%3A ci on two%3A p95::p95 is 120 ms, must be < 100 ms",
            "::warning title=weir-bench%3A ci on two%3A p99::p99 is 120 ms, must be < 100 ms",
            "::notice title=weir-bench%3A ci on two%3A throughput::throughput is 120 ms, must be < 100 ms",
            "::error title=weir-bench%3A ci on two%3A measurement::measurement is 120 ms, must be < 100 ms",
        ]
    );
    let mut share = check("errors", Outcome::Failed);
    share.value = "12 %".into();
    share.note = "first\nsecond".into();
    let lines = annotations(&[judgement(vec![share])]);
    assert!(lines[0].ends_with("::errors is 12 %25, must be < 100 ms (first%0Asecond)"));
}

proptest! {
    #[test]
    fn anything_can_stand_in_a_verdict(name in any::<String>(), note in any::<String>()) {
        let mut failed = check(&name, Outcome::Failed);
        failed.note = note;
        let mut whole = judgement(vec![failed]);
        whole.title = name;
        let xml = junit(std::slice::from_ref(&whole)).unwrap();
        let report = Report::deserialize_from_str(&xml).unwrap();
        prop_assert_eq!(report.failures, 1);
        let lines = annotations(std::slice::from_ref(&whole));
        prop_assert_eq!(lines.len(), 1);
        prop_assert!(!lines[0].contains(['\n', '\r']));
        let rows = markdown(&[whole]).lines().filter(|line| line.starts_with("| ")).count();
        prop_assert!(rows >= 2);
    }
}
