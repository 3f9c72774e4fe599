//! Baselines: runs that were saved under a name, for later ones to be compared with.
//!
//! A baseline holds the key figures and the provenance of one run or, better, of several: the unit
//! of evidence is a run, and one pair of runs cannot tell noise from change.

pub mod command;
mod store;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::store::{BaselineError, Store, Taken};
use crate::{
    report::{Provenance, RunRecord},
    summary::Summary,
};

/// Folder of baselines below the results.
pub const FOLDER: &str = "results/baselines";

/// What is saved under a name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Baseline {
    /// Version of this shape.
    pub format: u32,
    /// Its name, such as `main` or `release/1.2`.
    pub name: String,
    /// When it was saved, RFC 3339, UTC.
    pub saved_at: String,
    /// The runs, in the order in which they were given.
    pub runs: Vec<KeptRun>,
}

impl Baseline {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}

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
