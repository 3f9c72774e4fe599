//! Run folders and the reports made from them.
//!
//! A run folder holds `run.json` (what was run, on what; [`RunRecord`]), `summary.json` (the key
//! figures; [`crate::summary::Summary`]), `timeseries.csv`, `.hlog` files and `report.html`, which
//! is made from the two JSON files alone and can be made again at any time.

pub mod chart;
pub mod command;
mod comparison;
pub mod document;
mod export;
mod folder;
mod headline;
mod overlay;
mod page;
mod plots;
mod record;
mod sheet;

pub use comparison::{
    ComparisonRecord, RunCard, RunTuning, ScalingPair, ScalingRecord, ScenarioOverhead,
    write_comparison,
};
pub use folder::{FolderError, RunFolder, now_utc, write_latest};
pub use page::{PageError, render_page, write_page};
pub use record::{Overhead, OverheadRow, ProfileRecord, RunRecord, StageBreakdown, StageRow};
pub use sheet::{Kind, Sheet, SheetTable, write_sheet};

#[cfg(test)]
pub(crate) mod tests;
