//! Run folders, and what is kept of runs beyond them.
//!
//! A run folder holds `run.json` (what was run, on what; [`RunRecord`]), `summary.json` (the key
//! figures; [`weir_load::summary::Summary`]), `timeseries.csv`, `.hlog` files and `report.html`.

pub mod baseline;
pub mod ceiling;
pub(crate) mod folder;
mod record;

pub use self::{
    folder::{FolderError, RunFolder, now_utc, write_latest},
    record::{Overhead, OverheadRow, ProfileRecord, RunRecord, StageBreakdown, StageRow},
};
