//! Runs as comparisons need them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use weir_lab::provenance::Provenance;
use weir_load::summary::Summary;

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
