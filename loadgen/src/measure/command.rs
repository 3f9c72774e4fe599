//! What `weir-bench run --topology` does: one measurement, its verdict on the terminal, its exit code.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use super::{LiveProgress, MeasureError, Measured, Order, Setup, measure};
use crate::{
    exit::{Exit, Usage},
    judge::{self, Thresholds},
    run::{NoProgress, Progress, RunError, RunOptions, StopToken},
    scenario::Scenario,
    summary::Verdict,
    topology::{TopologyError, TopologySpec},
};

/// Options of a run that starts its own processes.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// With `--topology`: where run folders go.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub results: PathBuf,
    /// With `--topology`: the proxy's binary [default: beside this program].
    #[arg(long, value_name = "FILE")]
    pub weir: Option<PathBuf>,
    /// With `--topology`: the proxy configuration to derive from.
    #[arg(long, value_name = "FILE", default_value = "config/proxy.toml")]
    pub proxy: PathBuf,
    /// With `--topology`: thresholds that win over those of the scenario.
    #[arg(long, value_name = "FILE")]
    pub thresholds: Option<PathBuf>,
    /// With `--topology`: leave rate limits as they are configured.
    #[arg(long)]
    pub keep_limits: bool,
}

/// What goes to the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Printing {
    /// The summary as JSON instead of tables.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
}

/// Measures a scenario on a topology (a name, a file, or a number of replicas), prints the verdict
/// and where the report is.
///
/// # Errors
///
/// When the topology, the thresholds or the options are not valid (usage), the measurement cannot
/// be made, the limits are not back afterwards, or the user stops it.
pub fn execute(
    scenario: Scenario,
    topology: &str,
    options: &Options,
    run: RunOptions,
    printing: Printing,
    stop: &StopToken,
) -> anyhow::Result<ExitCode> {
    let topology = TopologySpec::load(topology).map_err(Usage::new)?;
    let thresholds =
        Thresholds::for_scenario(&scenario, options.thresholds.as_deref()).map_err(Usage::new)?;
    let setup = Setup {
        results: options.results.clone(),
        weir: options.weir.clone(),
        proxy_config: options.proxy.clone(),
        options: run,
        raise_limits: !options.keep_limits,
    };
    let progress: Arc<dyn Progress> = if printing.quiet {
        Arc::new(NoProgress)
    } else {
        Arc::new(LiveProgress::new(format!(
            "{} {}",
            scenario.name, topology.name
        )))
    };
    let order = Order {
        scenario,
        topology,
        thresholds,
    };
    let done = measure(&order, &setup, progress, stop).map_err(as_usage)?;
    if printing.json {
        println!("{}", serde_json::to_string_pretty(&done.summary)?);
    } else {
        print(&done);
    }
    if stop.is_stopped() {
        return Err(TopologyError::Stopped.into());
    }
    match done.record.tuning.filter(|tuning| !tuning.restored) {
        Some(tuning) => Err(anyhow::anyhow!(
            "the raised limits are not verified as put back: {}",
            tuning.problem
        )),
        None => Ok(Exit::from(done.gate).into()),
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

impl MeasureError {
    /// Whether the user's input is wrong, as opposed to something that happened.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Topology(error) => error.is_usage(),
            Self::Run(error) => matches!(error, RunError::Options(_) | RunError::Target(_)),
            Self::Folder(_) | Self::Page(_) | Self::Io { .. } | Self::Broken { .. } => false,
        }
    }
}

fn print(done: &Measured) {
    let summary = &done.summary;
    let topology = done
        .record
        .topology
        .as_ref()
        .map_or("", |topology| topology.description.as_str());
    println!("{}: {topology}", summary.scenario);
    println!("{}", judge::rows_table(&done.record.verdict));
    println!("{}", judge::endpoint_table(&summary.endpoints));
    for failure in &summary.failures {
        println!(
            "{:>8} × {} ({:.2} %): {}",
            failure.count, failure.kind, failure.percent, failure.likely_cause
        );
    }
    let reasons = summary.validity.reasons.join("; ");
    match summary.validity.verdict {
        Verdict::Valid => println!("measurement valid"),
        Verdict::Suspect => println!("measurement suspect: {reasons}"),
        Verdict::Invalid => println!("measurement INVALID: {reasons}"),
    }
    for finding in &done.record.findings {
        println!("lint: {}", finding.title);
    }
    match &done.record.tuning {
        Some(tuning) => {
            let end = if tuning.restored {
                "put back, verified"
            } else {
                "NOT VERIFIED AS PUT BACK"
            };
            println!("tuning: {} ({end})", tuning.settings);
        }
        None => println!("tuning: none"),
    }
    println!("gate {}: {}", done.gate.text(), done.page.display());
}
