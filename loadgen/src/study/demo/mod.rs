//! The demonstration: no proxy, one replica, two replicas, under the documented profile and under
//! a rate that can meet the documented thresholds; what the second replica adds, what the proxy
//! costs, and proof that the limits raised for it are back.

mod print;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use weir_lab::{
    error::TopologyError,
    provenance::{Commit, Provenance},
    stdio,
    topology::TopologySpec,
};
use weir_load::{
    scenario::{Overrides, Scenario},
    stop::StopToken,
};

use crate::{
    exit::Usage,
    judge::{Gate, Thresholds},
    lint::{Facts, Finding, lint},
    measure::{Measured, Order, Setup, Subject, as_usage, measure, overhead},
    page::{
        ComparisonRecord, RunCard, RunTuning, ScalingRecord, ScenarioOverhead, write_comparison,
    },
    results::{RunFolder, now_utc, write_latest},
    study::scaling::{ScalingPlan, measure_scaling},
    view::LiveProgress,
};

/// The documented profile, and the one that can reach the documented rate.
const SCENARIOS: [&str; 2] = ["documented", "rate"];
/// The demonstration takes no longer than this because of repeated runs.
const BUDGET: Duration = Duration::from_secs(115);
/// Efficiency of the second replica that the demonstration asks for.
pub const LEAST_EFFICIENCY: f64 = 0.95;

/// What the demonstration runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// Processes of this machine.
    #[default]
    Processes,
    /// Containers of the shipped Compose files, on this machine's Docker engine.
    Docker,
}

impl Platform {
    /// Names of topologies, in order; the first is what the others are compared with.
    fn topologies(self) -> [&'static str; 3] {
        match self {
            Self::Processes => ["direct", "one", "two"],
            Self::Docker => ["docker-direct", "docker-one", "docker"],
        }
    }

    /// What topologies run as, in words.
    fn text(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Docker => "containers",
        }
    }

    /// About how long it takes to start and stop a topology.
    fn around_a_run(self) -> Duration {
        match self {
            Self::Processes => Duration::from_secs(1),
            Self::Docker => Duration::from_secs(10),
        }
    }
}

/// How long each part lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Warm-up of a run, not counted.
    pub warmup: Duration,
    /// Measured part, by scenario: the documented profile is slow, and a p99 wants 1,000 samples.
    pub measured: [Duration; SCENARIOS.len()],
    /// The scaling measurement.
    pub scaling: ScalingPlan,
}

impl Lengths {
    /// About a minute and a half in all.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            warmup: Duration::from_millis(1500),
            measured: [Duration::from_secs(13), Duration::from_secs(8)],
            scaling: ScalingPlan::usual(),
        }
    }

    /// About half a minute in all, for a first look.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            warmup: Duration::from_secs(1),
            measured: [Duration::from_secs(3); 2],
            scaling: ScalingPlan::quick(),
        }
    }

    fn total(&self) -> Duration {
        let runs: Duration = self
            .measured
            .iter()
            .map(|measured| self.warmup + *measured)
            .sum();
        runs * 3 + self.scaling.total()
    }
}

/// What the demonstration found.
#[derive(Debug)]
pub struct Demonstration {
    /// The runs, by scenario and topology.
    pub runs: Vec<Measured>,
    /// One replica against two.
    pub scaling: ScalingRecord,
    /// The verdict over everything.
    pub gate: Gate,
    /// The report over everything.
    pub page: PathBuf,
}

/// Runs the demonstration, printing as it goes.
///
/// # Errors
///
/// When a run cannot be made, or the user stops it.
pub fn demonstrate(
    setup: &Setup,
    platform: Platform,
    lengths: Lengths,
    thresholds: Option<&std::path::Path>,
    stop: &StopToken,
) -> anyhow::Result<Demonstration> {
    let topologies = platform
        .topologies()
        .iter()
        .map(|name| TopologySpec::load(name))
        .collect::<Result<Vec<_>, _>>()
        .map_err(usage)?;
    let scenarios = SCENARIOS
        .iter()
        .zip(lengths.measured)
        .map(|(name, measured)| shortened(name, lengths.warmup, measured, thresholds))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let findings = documented_findings(setup, thresholds)?;
    // Six runs, and two topologies that stand side by side.
    let total = lengths.total() + platform.around_a_run() * 8;
    print::opening(total, platform, &topologies, &findings)?;

    let mut orders = Vec::new();
    // Scenario by scenario, so that runs that are compared lie close in time.
    for (scenario, thresholds) in &scenarios {
        for topology in &topologies {
            orders.push(Order {
                scenario: scenario.clone(),
                subject: Subject::Topology(topology.clone()),
                thresholds: thresholds.clone(),
                label: None,
            });
        }
    }
    let runs = run_all(&orders, setup, platform, lengths, stop)?;
    let folder = RunFolder::create(&setup.results, "demo", "all", &Commit::here())?;
    let [_, one, two] = &topologies[..] else {
        anyhow::bail!("the demonstration has three topologies");
    };
    let scaling = measure_scaling([one, two], setup, lengths.scaling, &folder, stop)?;
    stop_requested(stop)?;

    let gate = overall(&runs, &scaling);
    let comparison = compare(&runs, platform, scaling.clone(), gate, findings);
    let parts: Vec<_> = runs
        .iter()
        .map(|run| (run.record.clone(), run.summary.clone()))
        .collect();
    let page = write_comparison(&folder, &comparison, &parts)?;
    write_latest(&setup.results, &folder)?;
    let done = Demonstration {
        runs,
        scaling,
        gate,
        page,
    };
    print::results(&topologies, &done, &comparison.overheads)?;
    Ok(done)
}

/// Makes the runs. One that is invalid, say because other programs kept the generator from sending
/// in time, says nothing about the target: it is made once more as long as the time budget allows.
fn run_all(
    orders: &[Order],
    setup: &Setup,
    platform: Platform,
    lengths: Lengths,
    stop: &StopToken,
) -> anyhow::Result<Vec<Measured>> {
    let begun = Instant::now();
    let mut runs: Vec<Measured> = Vec::new();
    for (index, order) in orders.iter().enumerate() {
        let label = format!(
            "[{}/{}] {:<10} {:<13}",
            index + 1,
            orders.len(),
            order.scenario.name,
            order.label()
        );
        let once = || {
            let run = measure(
                order,
                setup,
                Arc::new(LiveProgress::new(label.clone())),
                stop,
            );
            let run = run.map_err(as_usage)?;
            stop_requested(stop)?;
            anyhow::Ok(run)
        };
        let mut run = once()?;
        let length_of = |order: &Order| {
            order.scenario.warmup + order.scenario.duration + platform.around_a_run()
        };
        let rest: Duration = orders.iter().skip(index).map(length_of).sum();
        let budget = BUDGET + (platform.around_a_run() - Duration::from_secs(1)) * 8;
        if run.is_invalid() && begun.elapsed() + rest + lengths.scaling.total() < budget {
            stdio::note(format_args!(
                "{label} again: {}",
                run.summary.validity.reasons.join("; ")
            ));
            run = once()?;
        }
        let same_load = |other: &&Measured| other.summary.scenario == run.summary.scenario;
        if has_proxy(order)
            && let Some(direct) = runs.iter().find(same_load)
        {
            run.compare_with_direct(direct)?;
        }
        runs.push(run);
    }
    Ok(runs)
}

fn has_proxy(order: &Order) -> bool {
    matches!(&order.subject, Subject::Topology(topology) if topology.proxy)
}

/// A scenario with the lengths of the demonstration; users appear as much faster as it is shorter.
fn shortened(
    name: &str,
    warmup: Duration,
    measured: Duration,
    thresholds: Option<&std::path::Path>,
) -> anyhow::Result<(Scenario, Thresholds)> {
    let scenario = Scenario::load(name).map_err(Usage::new)?;
    let overrides = Overrides {
        time_scale: Some(measured.as_secs_f64() / scenario.duration.as_secs_f64()),
        duration: Some(measured),
        warmup: Some(warmup),
        ..Overrides::default()
    };
    let thresholds = Thresholds::for_scenario(&scenario, thresholds).map_err(Usage::new)?;
    Ok((overrides.apply(scenario).map_err(Usage::new)?, thresholds))
}

/// Contradictions of the documented profile as it is documented: unshortened, limits as configured.
fn documented_findings(
    setup: &Setup,
    thresholds: Option<&std::path::Path>,
) -> anyhow::Result<Vec<Finding>> {
    let scenario = Scenario::load(SCENARIOS[0]).map_err(Usage::new)?;
    let thresholds = Thresholds::for_scenario(&scenario, thresholds).map_err(Usage::new)?;
    let config = weir_api::config::load(&setup.proxy_config).map_err(Usage::new)?;
    let addresses = setup.options.source_addresses;
    Ok(lint(&Facts::new(
        &scenario,
        thresholds,
        addresses,
        Some(&config),
    )))
}

/// The worst verdict: an invalid run first, then a missed threshold or too little scaling.
fn overall(runs: &[Measured], scaling: &ScalingRecord) -> Gate {
    let worst = runs
        .iter()
        .map(|run| run.gate)
        .max()
        .unwrap_or(Gate::Invalid);
    let grows = scaling.efficiency >= LEAST_EFFICIENCY;
    let scaling = match scaling.validity.verdict {
        weir_load::summary::Verdict::Invalid => Gate::Invalid,
        _ if grows => Gate::Passed,
        _ => Gate::Failed,
    };
    worst.max(scaling)
}

fn compare(
    runs: &[Measured],
    platform: Platform,
    scaling: ScalingRecord,
    gate: Gate,
    findings: Vec<Finding>,
) -> ComparisonRecord {
    let topology = |run: &Measured| {
        run.record
            .topology
            .as_ref()
            .map(|t| t.name.clone())
            .unwrap_or_default()
    };
    let [no_proxy, one, _] = platform.topologies();
    let direct = |run: &Measured| {
        let same = |other: &&Measured| {
            other.summary.scenario == run.summary.scenario && topology(other) == no_proxy
        };
        runs.iter().find(same)
    };
    // One replica on both sides: with two, capacity and proxy would change at once.
    let overheads = runs
        .iter()
        .filter(|run| topology(run) == one)
        .filter_map(|run| {
            Some(ScenarioOverhead {
                scenario: run.summary.scenario.clone(),
                overhead: overhead(direct(run)?, run),
            })
        });
    let tuning = runs.iter().filter_map(|run| {
        let tuning = run.record.tuning.clone()?;
        Some(RunTuning {
            scenario: run.summary.scenario.clone(),
            topology: topology(run),
            tuning,
        })
    });
    ComparisonRecord {
        format: ComparisonRecord::FORMAT,
        title: "No proxy, one replica, two replicas".to_owned(),
        description: format!(
            "The documented profile, shortened, and the rate profile on three topologies of {} on this machine; then one replica against two at saturation. One run each; stand-in replicas with declared capacity.",
            platform.text()
        ),
        gate: gate.text().to_owned(),
        provenance: Provenance::collect(now_utc()),
        runs: runs
            .iter()
            .map(|run| RunCard::of(&run.record, &run.summary))
            .collect(),
        scaling: Some(scaling),
        overheads: overheads.collect(),
        tuning: tuning.collect(),
        findings,
    }
}

fn stop_requested(stop: &StopToken) -> Result<(), TopologyError> {
    if stop.is_stopped() {
        Err(TopologyError::Stopped)
    } else {
        Ok(())
    }
}

fn usage(error: TopologyError) -> anyhow::Error {
    if error.is_usage() {
        Usage::new(error).into()
    } else {
        error.into()
    }
}
