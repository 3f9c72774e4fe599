//! What `recovery.json` holds, and how it is judged.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use weir_lab::{provenance::Provenance, record::TopologyRecord};
use weir_load::summary::{Failure, Latency, Summary, Validity};

use crate::judge::{Row, Status};

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Time from the kill until the last failure, seconds.
    pub error_free_within_s: f64,
    /// Time from the restart until the replica serves again, seconds.
    pub served_within_s: f64,
    /// Share of all requests that may fail, 0 to 1.
    pub failed: f64,
}

impl Bounds {
    /// Free of errors within 10 s, serving again within the proxy's `fail_timeout` and 5 s, and at
    /// most 1 % of all requests failed.
    #[must_use]
    pub fn for_fail_timeout(fail_timeout: Duration) -> Self {
        Self {
            error_free_within_s: 10.0,
            served_within_s: fail_timeout.as_secs_f64() + 5.0,
            failed: 0.01,
        }
    }
}

/// What `recovery.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// Version of this shape.
    pub format: u32,
    /// Where and with what.
    pub provenance: Provenance,
    /// The load.
    pub scenario: serde_json::Value,
    /// The processes.
    pub topology: Option<TopologyRecord>,
    /// The replica that was killed.
    pub killed: String,
    /// How long the proxy lets a server rest that has failed, seconds.
    pub fail_timeout_s: f64,
    /// When what happened.
    pub moments: Moments,
    /// Requests completed in the measured part.
    pub requests: u64,
    /// Successes.
    pub ok: u64,
    /// Answers 429.
    pub limited: u64,
    /// Failures, 429 excluded.
    pub errors: u64,
    /// `errors / requests`.
    pub error_rate: f64,
    /// Failures by kind.
    pub failures: Vec<Failure>,
    /// One entry a second.
    pub seconds: Vec<SecondOfFailures>,
    /// Response time of successes.
    pub response: Latency,
    /// What was allowed.
    pub bounds: Bounds,
    /// What happened held against it.
    pub verdict: Vec<Row>,
    /// `passed`, `failed` or `invalid`.
    pub gate: String,
    /// Whether the measurement may be believed.
    pub validity: Validity,
}

impl RecoveryRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}

/// Moments in seconds since the measured part began, and what lies between them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// The replica was killed.
    pub killed_s: Option<f64>,
    /// It listened again.
    pub restarted_s: Option<f64>,
    /// It was first seen to have served a request again.
    pub served_s: Option<f64>,
    /// The first failure since the kill was noticed.
    pub first_error_s: Option<f64>,
    /// The last one.
    pub last_error_s: Option<f64>,
    /// From the kill to the last failure; 0 without any.
    pub error_free_after_s: Option<f64>,
    /// From the restart until it served again; none when it never did.
    pub served_after_s: Option<f64>,
}

/// One second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecondOfFailures {
    /// Its start, since the measured part began.
    pub t_s: f64,
    /// Successes.
    pub ok: u64,
    /// Failures, 429 excluded.
    pub errors: u64,
    /// Failures by kind, 429 included.
    pub kinds: BTreeMap<String, u64>,
}

/// Holds what happened against what is allowed.
pub(super) fn judge(moments: &Moments, summary: &Summary, bounds: &Bounds) -> Vec<Row> {
    let seconds = |metric: &str, value: Option<f64>, limit: f64, missing: &str| Row {
        metric: metric.to_owned(),
        value: value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2} s")),
        threshold: format!("≤ {limit:.1} s"),
        status: match value {
            Some(value) if value <= limit => Status::Pass,
            _ => Status::Fail,
        },
        note: if value.is_none() {
            missing.to_owned()
        } else {
            String::new()
        },
    };
    vec![
        seconds(
            "error-free after the kill",
            moments.error_free_after_s,
            bounds.error_free_within_s,
            "no replica was killed",
        ),
        seconds(
            "serves again after the restart",
            moments.served_after_s,
            bounds.served_within_s,
            "it never did",
        ),
        Row {
            metric: "failed requests".to_owned(),
            value: format!(
                "{:.3} % ({} of {})",
                summary.error_rate * 100.0,
                summary.errors,
                summary.requests
            ),
            threshold: format!("≤ {} %", bounds.failed * 100.0),
            status: if summary.requests == 0 {
                Status::NotMeasured
            } else if summary.error_rate <= bounds.failed {
                Status::Pass
            } else {
                Status::Fail
            },
            note: String::new(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::summary;

    fn statuses(error_free: Option<f64>, served: Option<f64>, error_rate: f64) -> Vec<Status> {
        let moments = Moments {
            killed_s: Some(5.0),
            restarted_s: Some(10.0),
            served_s: served.map(|after| 10.0 + after),
            first_error_s: None,
            last_error_s: None,
            error_free_after_s: error_free,
            served_after_s: served,
        };
        let mut summary = summary();
        summary.error_rate = error_rate;
        let bounds = Bounds::for_fail_timeout(Duration::from_secs(30));
        let rows = judge(&moments, &summary, &bounds);
        rows.iter().map(|row| row.status).collect()
    }

    #[test]
    fn each_bound_fails_alone() {
        use Status::{Fail, Pass};
        assert_eq!(statuses(Some(0.1), Some(28.0), 0.001), [Pass, Pass, Pass]);
        assert_eq!(statuses(Some(10.1), Some(28.0), 0.001), [Fail, Pass, Pass]);
        assert_eq!(statuses(Some(0.1), Some(35.1), 0.001), [Pass, Fail, Pass]);
        assert_eq!(
            statuses(Some(0.1), None, 0.001),
            [Pass, Fail, Pass],
            "it never served again"
        );
        assert_eq!(statuses(Some(0.1), Some(28.0), 0.011), [Pass, Pass, Fail]);
    }
}
