//! Baselines: runs that were saved under a name, for later ones to be compared with.
//!
//! A baseline holds the key figures and the provenance of one run or, better, of several: the unit
//! of evidence is a run, and one pair of runs cannot tell noise from change.

mod store;

use crate::compare::kept::KeptRun;
use serde::{Deserialize, Serialize};

pub use self::store::{BaselineError, Store, Taken};

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
