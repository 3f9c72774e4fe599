//! Run folders and the reports made from them.
//!
//! A run folder holds `run.json` (what was run, on what; [`RunRecord`]), `summary.json` (the key
//! figures; [`weir_load::summary::Summary`]), `timeseries.csv`, `.hlog` files and `report.html`, which
//! is made from the two JSON files alone and can be made again at any time.

pub mod chart;
pub(crate) mod comparison;
pub mod document;
pub(crate) mod export;
mod headline;
pub(crate) mod overlay;
mod plots;
pub(crate) mod run;
pub(crate) mod sample;
mod sheet;

pub use comparison::{
    ComparisonRecord, RunCard, RunTuning, ScalingPair, ScalingRecord, ScenarioOverhead,
    write_comparison,
};
pub use run::{PageError, render_page, write_page};
pub use sheet::{Kind, Sheet, SheetTable, write_sheet};

#[cfg(test)]
pub(crate) mod tests;
