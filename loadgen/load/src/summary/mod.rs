//! The result of a run, as data: what `summary.json` holds and every report is made from.

mod distribution;
mod reasons;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use distribution::{Bin, Distribution, Distributions, QuantilePoint};
pub use reasons::Reasons;

/// Key figures of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// `closed` (users) or `open` (arrivals).
    pub model: Model,
    /// `session` or `wire`.
    pub engine: String,
    /// Start of the measured part, RFC 3339, UTC.
    pub started_at: String,
    /// Length of the measured part in seconds.
    pub duration_s: f64,
    /// Warm-up in seconds, excluded from every figure here.
    pub warmup_s: f64,
    /// Requests completed in the measured part, failures included.
    pub requests: u64,
    /// Requests answered as the scenario expects.
    pub ok: u64,
    /// Answers with 429: counted apart, neither successes nor errors.
    pub limited: u64,
    /// Requests that failed (every kind, 429 excluded).
    pub errors: u64,
    /// `errors / requests`, 0 to 1.
    pub error_rate: f64,
    /// Successful requests per second.
    pub throughput_rps: f64,
    /// Arrivals per second that the schedule intended, if the model is open.
    pub intended_rps: Option<f64>,
    /// Requests that the schedule intended in the measured part but could not start.
    pub unsent: u64,
    /// Response time (intended start to last byte) of successful requests.
    pub response: Latency,
    /// Service time (sent to last byte) of successful requests.
    pub service: Latency,
    /// Intended to actual send; open model only.
    pub send_lag: Option<Latency>,
    /// One entry an endpoint, in scenario order.
    pub endpoints: Vec<EndpointSummary>,
    /// Failures by kind, most frequent first (429 listed here too, marked).
    pub failures: Vec<Failure>,
    /// One entry a second of the measured part.
    pub intervals: Vec<Interval>,
    /// CPU and memory of the processes under test and of the generator itself.
    pub processes: Vec<ProcessSummary>,
    /// Whether these numbers may be believed.
    pub validity: Validity,
    /// The threshold that ended the run before its time, if one did.
    #[serde(default)]
    pub aborted: Option<Aborted>,
    /// Shapes of the latency distributions, for plots (`Distributions::of` makes it).
    #[serde(default)]
    pub distributions: Distributions,
    /// Free figures by name (e.g. `littles_law_n`, `bytes_in_per_s`).
    pub extra: BTreeMap<String, f64>,
}

impl Summary {
    /// Requests that an arrival of an open model makes on average, when it may be a whole flow;
    /// none when an arrival is a request. `intended_rps` and `unsent` count arrivals.
    #[must_use]
    pub fn requests_per_arrival(&self) -> Option<f64> {
        self.extra.get(Self::REQUESTS_PER_ARRIVAL).copied()
    }

    /// Name of that figure in `extra`.
    pub const REQUESTS_PER_ARRIVAL: &str = "requests_per_arrival";
}

/// Load model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// N users, each waiting for its answer.
    Closed,
    /// Arrivals on a schedule, independent of answers.
    Open,
}

/// Percentiles of a histogram, in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Samples.
    pub count: u64,
    /// Smallest.
    pub min_ms: f64,
    /// Arithmetic mean.
    pub mean_ms: f64,
    /// Standard deviation.
    pub stdev_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Largest.
    pub max_ms: f64,
}

/// Figures of one endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndpointSummary {
    /// Name in the scenario.
    pub name: String,
    /// HTTP method.
    pub method: String,
    /// Path template.
    pub path: String,
    /// Completed requests.
    pub requests: u64,
    /// Successes.
    pub ok: u64,
    /// 429 answers.
    pub limited: u64,
    /// Failures without 429.
    pub errors: u64,
    /// Response time of successes.
    pub response: Latency,
    /// Failures by kind, 429 included.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
}

/// One kind of failure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// `timeout`, `connection_refused`, `reset`, `status_502`, `wrong_body`, …
    pub kind: String,
    /// How often.
    pub count: u64,
    /// Share of all requests, in percent.
    pub percent: f64,
    /// What usually causes it.
    pub likely_cause: String,
}

/// One second of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interval {
    /// Seconds since the start of the measured part.
    pub t_s: f64,
    /// Requests that the schedule intended in this second (open model).
    pub intended: u64,
    /// Requests completed, failures included.
    pub requests: u64,
    /// Successes.
    pub ok: u64,
    /// 429 answers.
    pub limited: u64,
    /// Failures without 429.
    pub errors: u64,
    /// Requests in flight at the end of the second.
    pub in_flight: u64,
    /// Response time percentiles of the successes in this second.
    pub p50_ms: f64,
    /// See `p50_ms`.
    pub p95_ms: f64,
    /// See `p50_ms`.
    pub p99_ms: f64,
    /// See `p50_ms`.
    pub max_ms: f64,
    /// 99th percentile of the send lag of this second; none in a closed model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_lag_p99_ms: Option<f64>,
}

/// Resources of one process over the measured part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessSummary {
    /// `weir`, `replica-1`, `generator`, …
    pub name: String,
    /// Process id.
    pub pid: u32,
    /// CPU seconds used, user and system.
    pub cpu_s: f64,
    /// The part of it in user mode.
    #[serde(default)]
    pub user_s: f64,
    /// The part of it in the kernel.
    #[serde(default)]
    pub system_s: f64,
    /// CPU as percent of one core.
    pub cpu_percent: f64,
    /// Resident memory at the start, bytes.
    pub rss_start: u64,
    /// Resident memory at the end, bytes.
    pub rss_end: u64,
    /// Smallest resident memory, bytes.
    #[serde(default)]
    pub rss_min: u64,
    /// Largest resident memory, bytes.
    pub rss_max: u64,
    /// Mean resident memory, bytes.
    #[serde(default)]
    pub rss_mean: u64,
    /// Virtual memory at the end, bytes.
    #[serde(default)]
    pub vms_end: u64,
    /// Threads at the end.
    pub threads: u64,
    /// Open file descriptors at the end.
    pub fds: u64,
    /// Those of them that are sockets, if they were counted.
    #[serde(default)]
    pub sockets: Option<u64>,
    /// When it was found to have ended, seconds since the measured part began.
    #[serde(default)]
    pub ended_s: Option<f64>,
    /// Samples over time: seconds, CPU percent, RSS bytes.
    pub samples: Vec<(f64, f64, u64)>,
}

/// A threshold was missed so that going on made no sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aborted {
    /// The rule, as [`crate::slo`] writes it.
    pub rule: String,
    /// The value that missed it, with its unit.
    pub value: String,
    /// When, in seconds since the measured part began.
    pub after_s: f64,
}

/// Verdict on the measurement itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Validity {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not `valid`; empty when it is.
    pub reasons: Vec<String>,
}

/// Whether a run's numbers may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing speaks against it.
    Valid,
    /// Read the reasons first.
    Suspect,
    /// Never passes a gate.
    Invalid,
}
