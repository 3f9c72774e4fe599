//! One measurement from start to report.
//!
//! [`measure`] is what every run goes through, whether it starts the processes under test itself or
//! drives something that is running already ([`Subject`]): set the `stage`, drive the `load`,
//! strike the stage, complete `validity`, judge, and write everything to its `place`.

mod clock;
mod growth;
mod load;
mod order;
mod overhead;
mod place;
pub(crate) mod print;
pub mod setup_args;
mod shard;
pub(crate) mod side;
mod stage;
mod stages;
mod validity;
mod warm;
mod watching;

use std::{io, path::PathBuf, sync::Arc};

use weir_lab::{
    error::TopologyError, profile::ProfileError, provenance::Provenance, sample::SelectError,
};
use weir_load::{
    progress::Progress,
    run::RunError,
    stop::StopToken,
    summary::{Summary, Verdict},
};

use self::{place::Place, stage::Stage};
use crate::{
    exit::Usage,
    judge::{self, Gate},
    lint,
    page::{PageError, write_page},
    results::{FolderError, RunFolder, RunRecord, now_utc},
};
pub use order::{Keep, Order, Setup, Subject};
pub use overhead::overhead;
pub use setup_args::SetupArgs;
pub(crate) use stage::{apply_tuning, places};
pub use warm::{Cooled, Probed, Warm};
pub use watching::Watching;

/// The word of a gate that was not judged, since the run ended early.
const STOPPED: &str = "stopped";

/// A finished measurement; its folder is complete.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Where everything about it is; none when nothing was to be kept.
    pub folder: Option<RunFolder>,
    /// What `run.json` holds.
    pub record: RunRecord,
    /// What `summary.json` holds.
    pub summary: Summary,
    /// The verdict.
    pub gate: Gate,
}

/// A measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Its processes.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// Its load.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its report.
    #[error(transparent)]
    Page(#[from] PageError),
    /// It broke off after its processes were started.
    #[error("{cause} (logs are in {})", .folder.display())]
    Broken {
        /// Why.
        cause: Box<MeasureError>,
        /// Where the logs are.
        folder: PathBuf,
    },
    /// What was to be sampled.
    #[error("--sample: {0}")]
    Select(#[from] SelectError),
    /// The log that stages are to be read from.
    #[error("--access-log: cannot read {}: {cause}", .path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// What was to be profiled.
    #[error("--profile: {0}")]
    ProfileWhat(String),
    /// Profiling could not be started.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Its recordings or samples.
    #[error("cannot {what}: {cause}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
}

/// Starts the processes if there are any to start, raises limits, drives the load, puts the limits
/// back, stops the processes, judges, and writes the run folder with its report. Blocks until all
/// of that is done. A `stop` while the load is on ends it early; what was measured until then is
/// judged and written as usual, and the record says why it ended.
///
/// # Errors
///
/// When any step but the load itself fails; processes are stopped and overrides deleted all the
/// same. Failed requests are part of the result.
pub fn measure(
    order: &Order,
    setup: &Setup,
    progress: Arc<dyn Progress>,
    stop: &StopToken,
) -> Result<Measured, MeasureError> {
    let created_at = now_utc();
    setup.watching.check()?;
    let place = Place::make(order, setup)?;
    let prepared = Stage::set(order, setup, place.path(), stop);
    let driven = prepared.and_then(|stage| {
        let driven = load::run(order, setup, &stage, place.path(), progress, stop)?;
        Ok((driven, stage.strike()))
    });
    let (driven, struck) = driven.map_err(|error| place.broken(order, error))?;

    let mut summary = driven.outcome.summary;
    validity::complete(
        &mut summary,
        order.way(),
        setup.options.threads,
        driven.other_cores,
        struck.ended,
        struck.tuning.as_ref(),
    );
    let stopped = stop
        .is_stopped()
        .then(|| stop.reason().unwrap_or_else(|| "on request".to_owned()));
    if let Some(reason) = &stopped {
        validity::note_stop(&mut summary, reason);
    }
    if let Some(aborted) = summary.aborted.clone() {
        let reason = format!("since `{}` was missed ({})", aborted.rule, aborted.value);
        validity::note_stop(&mut summary, &reason);
    }
    if driven.profile.is_some() {
        validity::note_profile(&mut summary);
    }
    let measured_start = driven.outcome.recording.measured_start();
    let stages = match (&setup.watching.access_log, &struck.topology) {
        (Some(log), _) => stages::divide_once_written(log, measured_start, &summary),
        (None, Some(topology)) if topology.proxy => {
            let log = place.path().join("access.log");
            stages::divide(&log, measured_start, &summary)
                .map_err(place::failed("read the proxy's access log"))?
        }
        (None, _) => None,
    };
    let reach = lint::reach(&struck.facts);
    let judged = shard::thresholds(setup.options.shard, &order.thresholds);
    let verdict = judge::judge_exactly(&summary, driven.outcome.recording.totals(), &judged, reach);
    let gate = judge::gate(&verdict, &summary.validity);
    let mut provenance = Provenance::collect(created_at.clone());
    if let Some(version) = struck.proxy_version {
        provenance.versions.insert("weir".to_owned(), version);
    }
    let record = RunRecord {
        format: RunRecord::FORMAT,
        id: place.id(order, &created_at),
        provenance,
        label: order.label(),
        targets: struck.targets,
        gate: match &stopped {
            Some(_) => STOPPED.to_owned(),
            None => gate.text().to_owned(),
        },
        stopped,
        shard: shard::record(&setup.options, reach),
        merged: None,
        topology: struck.topology,
        scenario: serde_json::to_value(&order.scenario).unwrap_or_default(),
        proxy_config: struck.proxy_config,
        proxy_revision: struck.settings.as_ref().map(|settings| settings.revision),
        proxy_settings: struck.settings.map(|settings| settings.effective),
        tuning: struck.tuning,
        thresholds: order.thresholds.clone(),
        verdict,
        findings: lint::lint(&struck.facts),
        growth: growth::of(&summary, order.thresholds.memory_growth_per_hour),
        bands: Vec::new(),
        comparison: None,
        overhead: None,
        stages,
        profile: driven.profile,
    };
    let folder = place.write(setup, &driven.outcome.recording, &record, &summary)?;
    Ok(Measured {
        folder,
        record,
        summary,
        gate,
    })
}

impl Measured {
    /// Notes what the proxy cost against a direct run of the same load, and writes the report again.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn compare_with_direct(&mut self, direct: &Self) -> Result<(), MeasureError> {
        self.record.overhead = Some(overhead(direct, self));
        self.rewrite()
    }

    /// Writes the JSON files and the report again after a change of the record; nothing when
    /// nothing is kept.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn rewrite(&self) -> Result<(), MeasureError> {
        if let Some(folder) = &self.folder {
            folder.save(&self.record, &self.summary)?;
            write_page(folder)?;
        }
        Ok(())
    }

    /// The report, if one was written.
    #[must_use]
    pub fn page(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(RunFolder::page)
    }

    /// Whether the measurement may be believed at all.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.summary.validity.verdict == Verdict::Invalid
    }
}

/// An error of a measurement, marked as usage when the user's input is wrong.
pub(crate) fn as_usage(error: MeasureError) -> anyhow::Error {
    if error.is_usage() {
        Usage::new(error).into()
    } else {
        error.into()
    }
}
