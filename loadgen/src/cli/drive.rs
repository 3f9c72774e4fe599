//! What `weir-bench run` does: one measurement, its verdict on the terminal, its exit code.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use weir_lab::{error::TopologyError, sample::SelectError, stdio};
use weir_load::{
    progress::Fan,
    run::{RunError, RunOptions},
    scenario::Scenario,
    slo::RuleList,
    stop::StopToken,
    summary::Model,
};

use crate::{
    cli::compare::{Against, Reference},
    compare::Comparison,
    exit::{Exit, Usage},
    judge::{
        Thresholds,
        bands::Bands,
        ci::{CiArgs, Judgement},
    },
    measure::{
        Keep, MeasureError, Measured, Order, Setup, Watching, as_usage, measure, print::print,
    },
    metrics::Endpoint,
    view::{self, Viewer},
};

/// Where results go, how processes are started, and what the run is judged by.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where run folders go: each run gets `<UTC time>__<scenario>__<label>__git-<commit>`.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub results: PathBuf,
    /// Write this run to exactly this folder instead of a new one under --results.
    #[arg(long, short, value_name = "FOLDER", conflicts_with = "no_save")]
    pub output: Option<PathBuf>,
    /// Write nothing; the verdict is only printed.
    #[arg(long)]
    pub no_save: bool,
    /// A word for the data set or the size, part of the folder's name [default: the topology, or
    /// the size of the load].
    #[arg(long, value_name = "WORD")]
    pub label: Option<String>,
    /// Thresholds that win over those of the scenario.
    #[arg(long, value_name = "FILE")]
    pub thresholds: Option<PathBuf>,
    /// Rules to judge by, such as "p99<200ms,errors<0.1%,login: p95<80ms"; they win over the
    /// scenario and --thresholds where they judge the same. "abort" after a rule ends the run when
    /// it is missed. May be repeated.
    #[arg(long, value_name = "RULES")]
    pub slo: Vec<RuleList>,
    /// Limits of the bands that figures are put into [default: config/bands.toml if there, else the
    /// documented bands].
    #[arg(long, value_name = "FILE")]
    pub bands: Option<PathBuf>,
    /// Compare the run with a baseline; exit code 4 on a regression.
    #[command(flatten)]
    pub against: Against,
    /// Forms for continuous integration.
    #[command(flatten)]
    pub ci: CiArgs,
    /// With `--topology`: the proxy's binary [default: beside this program].
    #[arg(long, value_name = "FILE")]
    pub weir: Option<PathBuf>,
    /// With `--topology`: the proxy configuration to derive from.
    #[arg(long, value_name = "FILE", default_value = "config/proxy.toml")]
    pub proxy: PathBuf,
    /// With `--topology`: leave rate limits as they are configured.
    #[arg(long)]
    pub keep_limits: bool,
    /// What is watched beside the load.
    #[command(flatten)]
    pub watching: Watching,
}

/// What happens with a run once it is measured.
#[derive(Debug)]
pub struct Aftermath {
    bands: Bands,
    reference: Option<Reference>,
    ci: CiArgs,
}

impl Options {
    /// What happens with the run once it is measured; every file that it needs is read now.
    ///
    /// # Errors
    ///
    /// When a file, a baseline or an option is not valid.
    pub fn aftermath(&self) -> anyhow::Result<Aftermath> {
        self.ci.check().map_err(Usage::new)?;
        Ok(Aftermath {
            bands: Bands::load(self.bands.as_deref()).map_err(Usage::new)?,
            reference: self.against.reference()?,
            ci: self.ci.clone(),
        })
    }
    /// What a scenario is judged by: its own thresholds, those of `--thresholds`, and `--slo`.
    ///
    /// # Errors
    ///
    /// When the file is not valid, or a rule names an endpoint that the scenario does not have.
    pub fn thresholds(&self, scenario: &Scenario) -> Result<Thresholds, Usage> {
        let given = Thresholds::for_scenario(scenario, self.thresholds.as_deref());
        let rules = self.slo.iter().flat_map(|list| list.0.clone()).collect();
        let thresholds = given.map_err(Usage::new)?.with_rules(rules);
        thresholds
            .check_endpoints(scenario)
            .map_err(|reason| Usage::new(format!("--slo {reason}")))?;
        Ok(thresholds)
    }

    /// Where things are and how to run.
    #[must_use]
    pub fn setup(&self, options: RunOptions) -> Setup {
        Setup {
            results: self.results.clone(),
            keep: match &self.output {
                Some(folder) => Keep::Exactly(folder.clone()),
                None if self.no_save => Keep::Nothing,
                None => Keep::Named,
            },
            weir: self.weir.clone(),
            proxy_config: self.proxy.clone(),
            options,
            raise_limits: !self.keep_limits,
            watch: Vec::new(),
            watching: self.watching.clone(),
        }
    }
}

/// What goes to the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Printing {
    /// The summary as JSON instead of tables.
    pub json: bool,
    /// What shows the run while it goes on.
    pub view: view::Choice,
    /// Where live metrics are offered, if they are.
    pub metrics: Option<SocketAddr>,
}

/// Measures, prints the verdict and where the report is, and says with which code to exit.
///
/// # Errors
///
/// When the options are not valid (usage), the measurement cannot be made, the limits are not back
/// afterwards, or the user stops it; what was measured until then is printed and written before.
pub fn execute(
    order: &Order,
    setup: &Setup,
    aftermath: &Aftermath,
    printing: Printing,
    stop: &StopToken,
) -> anyhow::Result<Exit> {
    let about = order.about();
    let metrics = printing
        .metrics
        .map(|address| Endpoint::start(address, &about.scenario, &about.subject))
        .transpose()?;
    let mut listeners = Fan::default();
    if let Some(endpoint) = &metrics {
        stdio::note(format_args!(
            "metrics: http://{}/metrics",
            endpoint.address()
        ));
        listeners.add(endpoint.progress());
    }
    let viewer = Viewer::start(printing.view, about, stop);
    listeners.add(viewer.progress());
    let done = measure(order, setup, Arc::new(listeners), stop);
    // The terminal is back before anything else is printed.
    drop(viewer);
    let mut done = done.map_err(as_usage)?;
    aftermath.complete(order, &mut done)?;
    if printing.json {
        stdio::line(serde_json::to_string_pretty(&done.summary)?)?;
    } else {
        print(&done)?;
    }
    aftermath.ci.write(&judgements(&done), printing.json)?;
    if let Some(tuning) = done.record.tuning.filter(|tuning| !tuning.restored) {
        return Err(anyhow::anyhow!(
            "the raised limits are not verified as put back: {}",
            tuning.problem
        ));
    }
    if stop.is_stopped() {
        return Err(TopologyError::Stopped.into());
    }
    let compared = done.record.comparison.as_ref().map(Comparison::exit);
    Ok(Exit::from(done.gate).or(compared.unwrap_or(Exit::Passed)))
}

impl Aftermath {
    /// Puts the figures into bands, compares with the baseline, and writes the folder again.
    fn complete(&self, order: &Order, done: &mut Measured) -> Result<(), MeasureError> {
        let load = match order.scenario.model() {
            Model::Closed => f64::from(order.scenario.lanes()),
            Model::Open => {
                let in_flight = done.summary.extra.get("in_flight_mean");
                in_flight.copied().unwrap_or_default()
            }
        };
        done.record.bands = self.bands.judge(&done.summary, &done.record.growth, load);
        if let Some(reference) = &self.reference {
            let run = done.record.kept(&done.summary);
            done.record.comparison = Some(reference.compare(&[run]));
        }
        done.rewrite()
    }
}

/// The verdicts of a run for continuous integration.
fn judgements(done: &Measured) -> Vec<Judgement> {
    let (record, summary) = (&done.record, &done.summary);
    let mut gate = Judgement::of_gate(
        crate::cli::gate::title(record, summary),
        record.id.clone(),
        &record.verdict,
        summary,
        done.gate,
    );
    if let Some(reason) = &record.stopped {
        gate.stopped(reason);
    }
    let mut judgements = vec![gate];
    judgements.extend(record.comparison.iter().map(Comparison::judgement));
    judgements
}

impl MeasureError {
    /// Whether the user's input is wrong, as opposed to something that happened.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Topology(error) => error.is_usage(),
            Self::Run(error) => matches!(error, RunError::Options(_) | RunError::Target(_)),
            Self::Select(error) => !matches!(error, SelectError::Container(_)),
            Self::ProfileWhat(_) | Self::AccessLog { .. } => true,
            Self::Profile(_)
            | Self::Folder(_)
            | Self::Page(_)
            | Self::Io { .. }
            | Self::Broken { .. } => false,
        }
    }
}
