//! The micro-benchmark suite: short runs one after the other against the same processes.

mod file;
pub(crate) mod page;
mod record;

use weir_lab::{error::TopologyError, provenance::Provenance};
use weir_load::stop::StopToken;

use crate::{
    judge::bands::Bands,
    measure::{MeasureError, Setup, side::Side},
    results::{RunFolder, now_utc},
    view::lines_unless,
};
pub use file::{Suite, Test};
pub use record::{SuiteRecord, TestRecord};

/// Runs every test of a suite; the summary of each goes to `folder`.
///
/// # Errors
///
/// When a run cannot be made, or the user stops it.
pub(crate) fn run_suite(
    suite: &Suite,
    bands: &Bands,
    side: &mut Side,
    setup: &Setup,
    folder: &RunFolder,
    quiet: bool,
    stop: &StopToken,
) -> Result<SuiteRecord, MeasureError> {
    let created_at = now_utc();
    let mut tests = Vec::new();
    for (index, test) in suite.tests.iter().enumerate() {
        let label = format!("[{}/{}] {:<15}", index + 1, suite.tests.len(), test.name);
        let progress = lines_unless(quiet, label);
        let summary = side.run(&test.scenario, setup, progress, stop)?.summary;
        if stop.is_stopped() {
            return Err(TopologyError::Stopped.into());
        }
        let file = format!("test-{:02}.json", index + 1);
        folder.write_json(&file, &summary)?;
        tests.push(TestRecord::new(test, &summary, bands, file));
    }
    Ok(SuiteRecord {
        format: SuiteRecord::FORMAT,
        provenance: Provenance::collect(created_at),
        suite: suite.name.clone(),
        description: suite.description.clone(),
        targets: side
            .target
            .base_urls()
            .iter()
            .map(ToString::to_string)
            .collect(),
        topology: side.record(),
        tests,
        recovery: None,
    })
}
