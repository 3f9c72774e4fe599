//! Pages: reports of runs, comparisons and studies, and the charts in them.
//!
//! The `report.html` of a run is made from its `run.json` and `summary.json` alone, and can be made
//! again at any time.

pub mod chart;
pub(crate) mod comparison;
pub mod document;
pub(crate) mod export;
mod headline;
pub(crate) mod overlay;
mod plots;
mod run;
pub(crate) mod sample;
pub(crate) mod sheet;
mod template;

pub use comparison::{
    ComparisonRecord, RunCard, RunTuning, ScalingPair, ScalingRecord, ScenarioOverhead,
    write_comparison,
};
pub use run::{render_page, write_page};
pub use sheet::{Kind, Sheet, SheetTable, write_sheet};
pub use template::PageError;

#[cfg(test)]
pub(crate) mod tests;
