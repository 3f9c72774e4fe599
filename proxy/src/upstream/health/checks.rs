//! What checks have told about one server.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;

use super::{Change, CheckResult, Standing, Thresholds};

/// What checks have told about one server. Outlives changes of settings, as long as it is checked.
#[derive(Debug, Default)]
pub struct Checks {
    /// Read for every request; everything else only when a check ends or somebody asks.
    out: AtomicBool,
    /// None: not checked.
    record: Mutex<Option<Record>>,
}

#[derive(Debug, Clone, Default)]
struct Record {
    standing: Standing,
    last: Option<Last>,
    passed: u64,
    failed: u64,
}

#[derive(Debug, Clone)]
struct Last {
    result: CheckResult,
    took: Duration,
    at_ms: u64,
}

/// The checks of a server, as `GET /v1/upstreams` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckView {
    /// `new` (none has ended yet), `up` or `out`.
    pub state: &'static str,
    /// Checks in a row that speak against that state.
    pub against: u32,
    /// Checks passed since checking began.
    pub passed: u64,
    /// Checks failed since then.
    pub failed: u64,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastCheckView>,
}

/// The last check of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastCheckView {
    /// One of [`CheckResult::KINDS`].
    pub result: &'static str,
    /// The same in words, with the status.
    pub why: String,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// Milliseconds since it ended.
    pub ms_ago: u64,
}

impl Checks {
    /// Whether checks have taken the server out.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.out.load(Relaxed)
    }

    /// The server is checked from now on. What was known stays.
    pub fn begin(&self) {
        self.record.lock().get_or_insert_default();
    }

    /// The server is not checked any more, and all is forgotten. Returns whether that brings it back.
    pub fn end(&self) -> bool {
        let mut record = self.record.lock();
        *record = None;
        self.out.swap(false, Relaxed)
    }

    /// Takes in the end of a check, at a time of the caller's clock.
    pub fn note(
        &self,
        result: CheckResult,
        took: Duration,
        at_ms: u64,
        thresholds: Thresholds,
    ) -> Option<Change> {
        let mut record = self.record.lock();
        let record = record.get_or_insert_default();
        let verdict = result.verdict();
        record.last = Some(Last {
            result,
            took,
            at_ms,
        });
        let passed = verdict?;
        match passed {
            true => record.passed += 1,
            false => record.failed += 1,
        }
        record.standing = record.standing.after(passed, thresholds);
        let out = record.standing.is_out();
        match (self.out.swap(out, Relaxed), out) {
            (false, true) => Some(Change::Out),
            (true, false) => Some(Change::Back),
            _ => None,
        }
    }

    /// What there is to show; none: not checked.
    #[must_use]
    pub fn view(&self, now_ms: u64) -> Option<CheckView> {
        let record = self.record.lock();
        let record = record.as_ref()?;
        Some(CheckView {
            state: record.standing.as_str(),
            against: record.standing.against(),
            passed: record.passed,
            failed: record.failed,
            last: record.last.as_ref().map(|last| LastCheckView {
                result: last.result.kind(),
                why: last.result.to_string(),
                took_us: u64::try_from(last.took.as_micros()).unwrap_or(u64::MAX),
                ms_ago: now_ms.saturating_sub(last.at_ms),
            }),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TWO: Thresholds = Thresholds { rise: 2, fall: 2 };

    fn note(checks: &Checks, result: CheckResult) -> Option<Change> {
        checks.note(result, Duration::from_millis(3), 1000, TWO)
    }

    #[test]
    fn changes_are_told_once_and_what_cannot_be_told_changes_nothing() {
        let checks = Checks::default();
        assert!(checks.view(0).is_none(), "not checked");
        checks.begin();
        assert_eq!(checks.view(0).unwrap().state, "new");
        let failed = || CheckResult::Status(500);
        assert_eq!(note(&checks, CheckResult::Passed(200)), None);
        assert_eq!(note(&checks, failed()), None);
        assert_eq!(note(&checks, CheckResult::Skipped("full".into())), None);
        assert_eq!(note(&checks, failed()), Some(Change::Out));
        assert_eq!(note(&checks, failed()), None);
        assert!(checks.is_out());
        checks.begin();
        let view = checks.view(1250).unwrap();
        assert_eq!((view.state, view.passed, view.failed), ("out", 1, 3));
        let last = view.last.unwrap();
        assert_eq!((last.why.as_str(), last.ms_ago), ("answered 500", 250));
        assert_eq!(note(&checks, CheckResult::Passed(200)), None);
        assert_eq!(checks.view(0).unwrap().against, 1);
        assert_eq!(note(&checks, CheckResult::Passed(200)), Some(Change::Back));
        assert!(!checks.is_out());
    }

    #[test]
    fn without_checks_nobody_is_out() {
        let checks = Checks::default();
        checks.begin();
        note(&checks, CheckResult::Timeout(Duration::from_secs(1)));
        assert!(checks.is_out(), "the first check decides alone");
        assert!(checks.end());
        assert!(!checks.is_out() && checks.view(0).is_none());
        assert!(!checks.end());
    }
}
