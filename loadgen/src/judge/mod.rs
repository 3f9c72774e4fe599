//! Judging a run: thresholds against key figures, and what the verdict means for the exit code.
//!
//! A threshold that the load could not have reached by arithmetic is *not reachable*, which is a
//! finding about the scenario, not a failure of the target. An invalid run passes no gate.

pub mod bands;
pub mod ci;
mod gate;
mod logged;
mod rows;
mod table;
mod thresholds;

use serde::{Deserialize, Serialize};
use weir_load::{
    slo::{Histograms, figures::Finished},
    summary::{Aborted, Summary},
    units::{milliseconds, percent, rounded},
};

use self::rows::rule_row;
pub use gate::{Gate, gate};
pub use logged::LoggedHistograms;
pub use table::{doubts, endpoint_table, rows_table, status_cell};
pub use thresholds::{Thresholds, ThresholdsError};

/// Samples beyond a percentile below which the report says how few they are.
const FEW_TAIL_SAMPLES: f64 = 10.0;

/// Whether a metric met its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The threshold is met.
    Pass,
    /// The threshold is missed.
    Fail,
    /// The load cannot reach the threshold whatever the target does.
    NotReachable,
    /// Nothing was measured that the threshold could be held against.
    NotMeasured,
}

impl Status {
    /// The word in tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::NotReachable => "not reachable",
            Self::NotMeasured => "not measured",
        }
    }
}

/// One line of the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What is judged, e.g. `p95 latency`.
    pub metric: String,
    /// Measured value with its unit.
    pub value: String,
    /// Required value with its unit.
    pub threshold: String,
    /// Verdict.
    pub status: Status,
    /// What a reader must know to read the verdict; empty when nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The most that the offered load allows, by arithmetic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// Requests per second that the profile offers at zero latency.
    pub rps: f64,
}

/// Holds the key figures of a run against thresholds. Percentiles that a summary does not hold are
/// *not measured* here; [`judge_exactly`] has them all.
#[must_use]
pub fn judge(summary: &Summary, thresholds: &Thresholds, reach: Option<Reach>) -> Vec<Row> {
    rows(summary, None, thresholds, reach)
}

/// Holds a run against thresholds, any percentile taken exactly from its histograms.
#[must_use]
pub fn judge_exactly(
    summary: &Summary,
    histograms: &dyn Histograms,
    thresholds: &Thresholds,
    reach: Option<Reach>,
) -> Vec<Row> {
    rows(summary, Some(histograms), thresholds, reach)
}

fn rows(
    summary: &Summary,
    histograms: Option<&dyn Histograms>,
    thresholds: &Thresholds,
    reach: Option<Reach>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let latency = &summary.response;
    let quantiles = [
        ("p50 latency", thresholds.p50_ms, latency.p50_ms, 0.50),
        ("p95 latency", thresholds.p95_ms, latency.p95_ms, 0.95),
        ("p99 latency", thresholds.p99_ms, latency.p99_ms, 0.99),
    ];
    for (metric, limit, value, quantile) in quantiles {
        if let Some(limit) = limit {
            rows.push(latency_row(metric, limit, value, latency.count, quantile));
        }
    }
    if let Some(limit) = thresholds.error_rate {
        rows.push(error_row(summary, limit));
    }
    if let Some(limit) = thresholds.throughput_rps {
        rows.push(throughput_row(summary, limit, reach));
    }
    let finished = Finished {
        summary,
        histograms,
    };
    for rule in &thresholds.rules {
        rows.push(rule_row(&finished, rule, reach));
    }
    if let Some(aborted) = &summary.aborted {
        rows.push(abort_row(aborted));
    }
    rows
}

/// Why the run ended early: a row that fails whatever the rest of the run would have shown.
fn abort_row(aborted: &Aborted) -> Row {
    Row {
        metric: "run to its end".to_owned(),
        value: aborted.value.clone(),
        threshold: aborted.rule.clone(),
        status: Status::Fail,
        note: format!("aborted after {:.1} s", aborted.after_s),
    }
}

fn latency_row(metric: &str, limit_ms: f64, value_ms: f64, count: u64, quantile: f64) -> Row {
    let tail = count as f64 * (1.0 - quantile);
    let (status, value, note) = if count == 0 {
        (
            Status::NotMeasured,
            "–".to_owned(),
            "no successful request".to_owned(),
        )
    } else {
        let note = if tail < FEW_TAIL_SAMPLES {
            format!("rests on {tail:.0} of {count} samples")
        } else {
            String::new()
        };
        (pass_if(value_ms < limit_ms), milliseconds(value_ms), note)
    };
    Row {
        metric: metric.to_owned(),
        value,
        threshold: format!("< {}", milliseconds(limit_ms)),
        status,
        note,
    }
}

fn error_row(summary: &Summary, limit: f64) -> Row {
    let (status, value) = if summary.requests == 0 {
        (Status::NotMeasured, "–".to_owned())
    } else {
        (
            pass_if(summary.error_rate < limit),
            percent(summary.error_rate),
        )
    };
    let note = if summary.limited > 0 && summary.requests > 0 {
        let share = percent(summary.limited as f64 / summary.requests as f64);
        format!("{share} more answered 429, counted apart")
    } else if status != Status::NotMeasured && 1.0 / summary.requests as f64 >= limit {
        format!("a single failure among {} fails this", summary.requests)
    } else {
        String::new()
    };
    Row {
        metric: "error rate".to_owned(),
        value,
        threshold: format!("< {}", percent(limit)),
        status,
        note,
    }
}

fn throughput_row(summary: &Summary, limit: f64, reach: Option<Reach>) -> Row {
    let mut note = String::new();
    let status = if summary.requests == 0 {
        Status::NotMeasured
    } else if summary.throughput_rps > limit {
        Status::Pass
    } else if let Some(reach) = reach.filter(|reach| reach.rps <= limit) {
        note = format!(
            "not reachable with this profile (at most {}/s)",
            rounded(reach.rps)
        );
        Status::NotReachable
    } else {
        Status::Fail
    };
    Row {
        metric: "throughput".to_owned(),
        value: format!("{:.1}/s", summary.throughput_rps),
        threshold: format!("> {}/s", rounded(limit)),
        status,
        note,
    }
}

fn pass_if(met: bool) -> Status {
    if met { Status::Pass } else { Status::Fail }
}

#[cfg(test)]
pub(crate) mod tests;
