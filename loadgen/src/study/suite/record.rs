//! What `suite.json` holds.

use serde::{Deserialize, Serialize};
use weir_lab::{provenance::Provenance, record::TopologyRecord};
use weir_load::summary::{Failure, Latency, Model, Summary, Validity, Verdict};

use super::Test;
use crate::{
    judge::bands::{BandRow, Bands},
    study::recovery::RecoveryRecord,
};

/// What `suite.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SuiteRecord {
    /// Version of this shape.
    pub format: u32,
    /// Where and with what.
    pub provenance: Provenance,
    /// Name of the suite.
    pub suite: String,
    /// One sentence.
    pub description: String,
    /// Base URLs that were driven.
    pub targets: Vec<String>,
    /// The processes, if this program started them.
    pub topology: Option<TopologyRecord>,
    /// One entry a test.
    pub tests: Vec<TestRecord>,
    /// Recovery from the loss of a replica, if it was part of the suite.
    pub recovery: Option<RecoveryRecord>,
}

/// What one test showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestRecord {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// Users, or most requests in flight.
    pub concurrency: u32,
    /// Requests completed.
    pub requests: u64,
    /// Successes.
    pub ok: u64,
    /// Answers 429.
    pub limited: u64,
    /// Failures.
    pub errors: u64,
    /// Requests that the schedule intended and could not start: they did not succeed, either.
    pub unsent: u64,
    /// `ok / (requests + unsent)`, 0 to 1; 0 without requests.
    pub success_rate: f64,
    /// Successes per second.
    pub throughput_rps: f64,
    /// Rate that an open model intended.
    pub intended_rps: Option<f64>,
    /// Response time of successes.
    pub response: Latency,
    /// Failures by kind.
    pub failures: Vec<Failure>,
    /// How good the figures are, in bands.
    #[serde(default)]
    pub bands: Vec<BandRow>,
    /// Whether the measurement may be believed.
    pub validity: Validity,
    /// The whole summary, a file beside this one.
    pub file: String,
}

impl TestRecord {
    pub(super) fn new(test: &Test, summary: &Summary, bands: &Bands, file: String) -> Self {
        // What runs at once: users, or what was in flight on average when arrivals do not wait.
        let load = match summary.model {
            Model::Closed => f64::from(test.scenario.lanes()),
            Model::Open => summary
                .extra
                .get("in_flight_mean")
                .copied()
                .unwrap_or_default(),
        };
        Self {
            name: test.name.clone(),
            about: test.about.clone(),
            concurrency: test.scenario.lanes(),
            requests: summary.requests,
            ok: summary.ok,
            limited: summary.limited,
            errors: summary.errors,
            unsent: summary.unsent,
            success_rate: summary.ok as f64 / (summary.requests + summary.unsent).max(1) as f64,
            throughput_rps: summary.throughput_rps,
            intended_rps: summary.intended_rps,
            response: summary.response.clone(),
            failures: summary.failures.clone(),
            bands: bands.judge(summary, &[], load),
            validity: summary.validity.clone(),
            file,
        }
    }

    /// The bands of the throughput at this concurrency; none when no band holds for it.
    pub fn throughput_bands(&self) -> impl Iterator<Item = &BandRow> {
        self.bands.iter().filter(|row| row.metric == "throughput")
    }

    /// The bands of the response time.
    pub fn latency_bands(&self) -> impl Iterator<Item = &BandRow> {
        let is_percentile = |metric: &str| {
            let number = metric.strip_prefix('p');
            number.is_some_and(|number| number.parse::<f64>().is_ok())
        };
        self.bands
            .iter()
            .filter(move |row| is_percentile(&row.metric))
    }

    /// Whether nothing at all succeeded, or the measurement cannot be believed.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.validity.verdict == Verdict::Invalid
    }
}

impl SuiteRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}
