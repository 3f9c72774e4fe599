//! `run.json`: everything about a run that is not a measurement.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_lab::{
    provenance::Provenance,
    record::{TopologyRecord, TuningRecord},
    sample::growth::Growth,
};
use weir_load::{
    shard::{MergeRecord, ShardRecord},
    summary::Summary,
};

use crate::{
    compare::{Comparison, kept::KeptRun},
    judge::{Row, Thresholds, bands::BandRow},
    lint::Finding,
};

/// What `run.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this shape.
    pub format: u32,
    /// Name of the run folder.
    pub id: String,
    /// Where and with what.
    pub provenance: Provenance,
    /// What tells this run from others of the same scenario: the topology, the size of the load, or
    /// a name that the user gave; a part of the folder's name.
    #[serde(default)]
    pub label: String,
    /// Base URLs that were driven.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Which part of a run this is, when it was split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardRecord>,
    /// What this run was joined from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<MergeRecord>,
    /// Why the run ended early, in words that follow "stopped"; none when it did not.
    #[serde(default)]
    pub stopped: Option<String>,
    /// The processes under test, if this program started them.
    pub topology: Option<TopologyRecord>,
    /// The effective scenario, every default filled in.
    pub scenario: Value,
    /// The proxy's configuration file as it was started, TOML.
    pub proxy_config: Option<String>,
    /// Settings in force during the run, as the proxy's admin API showed them.
    pub proxy_settings: Option<Value>,
    /// Revision of the proxy's settings during the run.
    pub proxy_revision: Option<u64>,
    /// What was changed for the run, and whether it was put back.
    pub tuning: Option<TuningRecord>,
    /// What the run was judged by.
    pub thresholds: Thresholds,
    /// Threshold rows.
    pub verdict: Vec<Row>,
    /// Outcome of the gate: `passed`, `failed` or `invalid`; `stopped` when the run ended early.
    pub gate: String,
    /// Contradictions between scenario, proxy configuration and thresholds.
    pub findings: Vec<Finding>,
    /// Growth of resident memory, one entry a process.
    #[serde(default)]
    pub growth: Vec<Growth>,
    /// How good the figures are, in bands.
    #[serde(default)]
    pub bands: Vec<BandRow>,
    /// The run against a baseline, if it was compared with one.
    #[serde(default)]
    pub comparison: Option<Comparison>,
    /// The same load through the proxy against direct, if there was a direct run.
    #[serde(default)]
    pub overhead: Option<Overhead>,
    /// Where the time of a request goes, if the proxy's access log tells.
    #[serde(default)]
    pub stages: Option<StageBreakdown>,
    /// The flame graph, if one was asked for.
    #[serde(default)]
    pub profile: Option<ProfileRecord>,
}

impl RunRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;

    /// What comparisons need of this run.
    #[must_use]
    pub fn kept(&self, summary: &Summary) -> KeptRun {
        let mut summary = summary.clone();
        summary.intervals.clear();
        for process in &mut summary.processes {
            process.samples.clear();
        }
        KeptRun {
            id: self.id.clone(),
            provenance: self.provenance.clone(),
            scenario: self.scenario.clone(),
            subject: self
                .topology
                .as_ref()
                .map_or_else(|| self.label.clone(), |topology| topology.name.clone()),
            proxy_settings: self.proxy_settings.clone(),
            gate: self.gate.clone(),
            summary,
        }
    }
}

/// Where the time of a request goes: the client's figures joined with the proxy's access log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageBreakdown {
    /// Requests of the proxy's log that it rests on.
    pub requests: u64,
    /// Mean response time that the shares refer to, milliseconds.
    pub total_ms: f64,
    /// The stages in the order of time.
    pub rows: Vec<StageRow>,
    /// What a reader must know; empty when nothing.
    pub note: String,
}

/// One stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageRow {
    /// `queue`, `network`, `choose`, `connect`, `wait`, `send`.
    pub stage: String,
    /// From where to where.
    pub meaning: String,
    /// Mean, milliseconds.
    pub mean_ms: f64,
    /// Share of the mean response time, 0 to 1.
    pub share: f64,
    /// Median of this stage alone; none for a stage that is a difference of means.
    pub p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub p95_ms: Option<f64>,
    /// See `p50_ms`.
    pub p99_ms: Option<f64>,
}

/// A flame graph that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// The process.
    pub process: String,
    /// Its id.
    pub pid: u32,
    /// The picture in the run folder; none when it could not be made.
    pub file: Option<String>,
    /// Samples that it shows.
    pub samples: u64,
    /// Why there is none; empty when there is one.
    pub problem: String,
}

/// What the proxy costs: through it against direct, same load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overhead {
    /// Folder of the direct run.
    pub against: String,
    /// The comparison.
    pub rows: Vec<OverheadRow>,
    /// CPU of the proxy per answered request, microseconds.
    pub proxy_cpu_us_per_request: f64,
    /// CPU of the proxy, percent of one core.
    pub proxy_cpu_percent: f64,
}

/// One line of the comparison, milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverheadRow {
    /// `mean`, `p50`, `p95`, `p99`.
    pub metric: String,
    /// Direct to the replica.
    pub direct_ms: f64,
    /// Through the proxy.
    pub proxy_ms: f64,
    /// The difference.
    pub added_ms: f64,
}
