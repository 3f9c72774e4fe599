//! Runs as comparisons need them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{provenance::Provenance, report::RunRecord, summary::Summary};

/// What comparisons need of a run: key figures and provenance, without its time series.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptRun {
    /// Name of its folder.
    pub id: String,
    /// Where and with what it was made.
    pub provenance: Provenance,
    /// The effective scenario.
    pub scenario: Value,
    /// The topology, or the label of the run when it started no processes.
    pub subject: String,
    /// Settings of the proxy during the run.
    pub proxy_settings: Option<Value>,
    /// Outcome of its gate.
    pub gate: String,
    /// Key figures.
    pub summary: Summary,
}

impl KeptRun {
    /// What to keep of a run.
    #[must_use]
    pub fn of(record: &RunRecord, summary: &Summary) -> Self {
        let mut summary = summary.clone();
        summary.intervals.clear();
        for process in &mut summary.processes {
            process.samples.clear();
        }
        Self {
            id: record.id.clone(),
            provenance: record.provenance.clone(),
            scenario: record.scenario.clone(),
            subject: record
                .topology
                .as_ref()
                .map_or_else(|| record.label.clone(), |topology| topology.name.clone()),
            proxy_settings: record.proxy_settings.clone(),
            gate: record.gate.clone(),
            summary,
        }
    }
}
