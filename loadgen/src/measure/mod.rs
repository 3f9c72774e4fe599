//! One measurement from start to report: processes, override, load, samples, verdict, run folder.
//!
//! [`measure`] is what `weir-bench run --topology` and `weir-bench demo` have in common.

mod clock;
pub mod command;
mod growth;
mod live;
mod overhead;
mod validity;

pub use live::LiveProgress;
pub use overhead::overhead;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use self::clock::MeasuredClock;
use crate::{
    judge::{self, Gate, Thresholds},
    lint::{self, Facts},
    report::{
        Commit, FolderError, PageError, Provenance, RunFolder, RunRecord, now_utc, write_latest,
        write_page,
    },
    run::{Progress, RunError, RunOptions, StopToken, Target, drive},
    sample::{Sampler, Watched},
    scenario::Scenario,
    summary::{Distributions, Summary, Verdict},
    topology::{Places, Topology, TopologyError, TopologySpec, Tuning, raise_limits, settings_of},
};

/// Time to live of the override; it is renewed three times as often.
const OVERRIDE_TTL: Duration = Duration::from_secs(30);
/// Time between two samples of a process.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Where things are and how to run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where run folders go.
    pub results: PathBuf,
    /// The proxy's binary; found beside this program when not given.
    pub weir: Option<PathBuf>,
    /// The proxy configuration to derive from.
    pub proxy_config: PathBuf,
    /// Options of the generator.
    pub options: RunOptions,
    /// Whether limits in the way of the load are raised for the run.
    pub raise_limits: bool,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Order {
    /// The load.
    pub scenario: Scenario,
    /// The processes under test.
    pub topology: TopologySpec,
    /// What the result is judged by.
    pub thresholds: Thresholds,
}

/// A finished measurement; its folder is complete.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Where everything about it is.
    pub folder: RunFolder,
    /// What `run.json` holds.
    pub record: RunRecord,
    /// What `summary.json` holds.
    pub summary: Summary,
    /// The verdict.
    pub gate: Gate,
    /// The report.
    pub page: PathBuf,
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
    /// Its recordings or samples.
    #[error("cannot {what}: {cause}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
}

/// Starts the processes, raises limits, drives the load, puts the limits back, stops the processes,
/// judges, and writes the run folder with its report. Blocks until all of that is done.
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
    let folder = RunFolder::create(
        &setup.results,
        &order.scenario.name,
        &order.topology.name,
        &Commit::here(),
    )?;
    measure_in(&folder, order, setup, progress, stop).map_err(|error| {
        if error.is_usage() || matches!(error, MeasureError::Topology(TopologyError::Stopped)) {
            // Nothing happened that anybody would want to look at.
            let _ = std::fs::remove_dir_all(folder.path());
            return error;
        }
        MeasureError::Broken {
            cause: Box::new(error),
            folder: folder.path().to_owned(),
        }
    })
}

fn measure_in(
    folder: &RunFolder,
    order: &Order,
    setup: &Setup,
    progress: Arc<dyn Progress>,
    stop: &StopToken,
) -> Result<Measured, MeasureError> {
    let created_at = now_utc();
    let mut topology = Topology::start(&order.topology, &places(setup, folder), stop)?;
    let facts = facts(order, setup, &topology);
    let tuning = apply_tuning(setup, &facts, &topology, &order.scenario.name)?;
    let settings = match (&tuning, topology.admin()) {
        (Some(tuning), _) => Some(tuning.during().clone()),
        (None, Some(admin)) => Some(settings_of(admin)?),
        (None, None) => None,
    };
    let mut watched = topology.watched();
    watched.push(Watched {
        name: "generator".to_owned(),
        pid: std::process::id(),
    });
    let sampler = Sampler::start(watched, SAMPLE_EVERY).map_err(failed("sample processes"))?;
    let clock = Arc::new(MeasuredClock::new(progress));
    let target = Target::local(topology.address()?).map_err(RunError::from)?;
    let outcome = drive(
        &order.scenario,
        &target,
        &setup.options,
        clock.clone(),
        stop,
    )?;
    let mut summary = outcome.summary;
    let length = Duration::from_secs_f64(summary.duration_s.max(0.0));
    let sampled = clock
        .measured_start()
        .map(|from| sampler.finish(from, length))
        .unwrap_or_default();
    summary.processes = sampled.processes;
    let ended = topology.check().err();
    let tuning = tuning.map(Tuning::put_back);
    if summary.distributions == Distributions::default() {
        let totals = outcome.recording.totals();
        summary.distributions = Distributions::of(&totals.response, &totals.service);
    }
    validity::complete(
        &mut summary,
        &order.scenario,
        setup.options.threads,
        sampled.other_cores,
        ended,
        tuning.as_ref(),
    );
    let verdict = judge::judge(&summary, &order.thresholds, lint::reach(&facts));
    let gate = judge::gate(&verdict, &summary.validity);
    let mut provenance = Provenance::collect(created_at);
    if let Some(version) = topology.proxy_version() {
        provenance
            .versions
            .insert("weir".to_owned(), version.to_owned());
    }
    let record = RunRecord {
        format: RunRecord::FORMAT,
        id: folder.name(),
        provenance,
        topology: Some(topology.record()),
        scenario: serde_json::to_value(&order.scenario).unwrap_or_default(),
        proxy_config: topology.config_text().map(str::to_owned),
        proxy_revision: settings.as_ref().map(|settings| settings.revision),
        proxy_settings: settings.map(|settings| settings.effective),
        tuning,
        thresholds: order.thresholds,
        verdict,
        gate: gate.text().to_owned(),
        findings: lint::lint(&facts),
        growth: growth::of(&summary, order.thresholds.memory_growth_per_hour),
        overhead: None,
    };
    drop(topology);
    outcome
        .recording
        .write_hlog(folder.path())
        .map_err(failed("write the interval logs"))?;
    outcome
        .recording
        .write_timeseries(folder.path())
        .map_err(failed("write timeseries.csv"))?;
    folder.save(&record, &summary)?;
    let page = write_page(folder)?;
    write_latest(&setup.results, folder)?;
    Ok(Measured {
        folder: folder.clone(),
        record,
        summary,
        gate,
        page,
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
        self.folder.save(&self.record, &self.summary)?;
        write_page(&self.folder)?;
        Ok(())
    }

    /// Whether the measurement may be believed at all.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.summary.validity.verdict == Verdict::Invalid
    }
}

/// Where the processes of a run find and leave things.
pub(crate) fn places(setup: &Setup, folder: &RunFolder) -> Places {
    Places {
        weir: setup.weir.clone(),
        proxy_config: setup.proxy_config.clone(),
        folder: folder
            .path()
            .canonicalize()
            .unwrap_or_else(|_| folder.path().to_owned()),
    }
}

fn facts(order: &Order, setup: &Setup, topology: &Topology) -> Facts {
    Facts::new(
        &order.scenario,
        order.thresholds,
        setup.options.source_addresses,
        topology.config(),
    )
}

/// Raises the limits that stand in the way of the load, if there are any.
pub(crate) fn apply_tuning(
    setup: &Setup,
    facts: &Facts,
    topology: &Topology,
    scenario: &str,
) -> Result<Option<Tuning>, TopologyError> {
    let Some(admin) = topology.admin().filter(|_| setup.raise_limits) else {
        return Ok(None);
    };
    let reason = format!("load test: {scenario}");
    raise_limits(facts)
        .map(|settings| Tuning::apply(admin, settings, &reason, OVERRIDE_TTL))
        .transpose()
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> MeasureError {
    move |cause| MeasureError::Io { what, cause }
}
