//! `weir-bench run`: drive a target that is already running.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum;

use super::{Outcome, Phase, Progress, RunError, RunOptions, StopToken, Target, Tick, drive, text};
use crate::{
    exit::{Exit, Usage},
    scenario::{self, Overrides, Scenario},
    units::{Rate, parse_duration},
};

/// Arguments of `weir-bench run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of a scenario in config/scenarios, or path of a scenario file.
    #[arg(long, short)]
    scenario: String,
    /// Base URL to drive; repeat it to share the load among several.
    #[arg(long, short, required_unless_present = "topology", value_name = "URL")]
    target: Vec<String>,
    /// Start this topology and drive it: direct, one, two, a file, or a number of replicas behind
    /// weir. The run gets a folder with a report, and limits are raised for it and put back.
    #[arg(long, conflicts_with_all = ["target", "output"], value_name = "NAME")]
    topology: Option<String>,
    /// How the topology is started and judged.
    #[command(flatten)]
    measuring: crate::measure::command::Options,
    /// Host that is not this machine but may be loaded: you vouch for it.
    #[arg(long, value_name = "HOST")]
    target_approved: Vec<String>,
    /// What to change in the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Generator threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Source addresses in 127.0.0.0/8 to spread connections over.
    #[arg(long, default_value_t = 1, value_name = "N")]
    source_addresses: u32,
    /// Folder for summary.json, timeseries.csv and the interval logs.
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Print the summary as JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Do not print a line a second.
    #[arg(long, short)]
    quiet: bool,
}

/// Arguments that change a scenario; other subcommands can use them too.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OverrideArgs {
    /// Multiply durations; 0.1 makes the run ten times shorter. Think times and rates stay.
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// Length of the measured part.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    duration: Option<Duration>,
    /// Load before the measured part.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    warmup: Option<Duration>,
    /// Users of a closed model.
    #[arg(long, value_name = "N")]
    users: Option<u32>,
    /// Rate of an open model; of several stages, the highest.
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Most requests in flight of an open model.
    #[arg(long, value_name = "N")]
    connections: Option<u32>,
    /// Client engine.
    #[arg(long, value_enum)]
    engine: Option<EngineName>,
    /// Seed of everything random.
    #[arg(long)]
    seed: Option<u64>,
}

/// Client engine by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum EngineName {
    /// Cookies, a pool of connections per user.
    Session,
    /// Raw connections, least cost per request.
    Wire,
}

impl From<&OverrideArgs> for Overrides {
    fn from(args: &OverrideArgs) -> Self {
        Self {
            time_scale: args.time_scale,
            duration: args.duration,
            warmup: args.warmup,
            users: args.users,
            rate: args.rate,
            connections: args.connections,
            engine: args.engine.map(|name| match name {
                EngineName::Session => scenario::Engine::Session,
                EngineName::Wire => scenario::Engine::Wire,
            }),
            seed: args.seed,
        }
    }
}

/// Runs `weir-bench run`.
///
/// # Errors
///
/// [`Usage`] when the scenario, an override or the target is not acceptable; other errors when
/// the run could not be made.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::load(&args.scenario).map_err(Usage::new)?;
    let scenario = Overrides::from(&args.overrides)
        .apply(scenario)
        .map_err(Usage::new)?;
    if let Some(topology) = &args.topology {
        let options = RunOptions {
            threads: args.threads,
            source_addresses: args.source_addresses,
            ..RunOptions::default()
        };
        let stop = StopToken::on_signals().context("installing signal handlers")?;
        let printing = crate::measure::command::Printing {
            json: args.json,
            quiet: args.quiet,
        };
        return crate::measure::command::execute(
            scenario,
            topology,
            &args.measuring,
            options,
            printing,
            &stop,
        );
    }
    let target = Target::new(&args.target, &args.target_approved).map_err(Usage::new)?;
    let options = RunOptions {
        threads: args.threads,
        source_addresses: args.source_addresses,
        ..RunOptions::default()
    };
    let stop = StopToken::on_signals().context("installing signal handlers")?;
    if !args.quiet {
        eprintln!("{}", text::opening(&scenario, &target));
    }
    let progress = Arc::new(Lines { quiet: args.quiet });
    let outcome = match drive(&scenario, &target, &options, progress, &stop) {
        Ok(outcome) => outcome,
        Err(error @ (RunError::Options(_) | RunError::Target(_))) => {
            return Err(Usage::new(error).into());
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(folder) = &args.output {
        save(&outcome, folder)
            .with_context(|| format!("writing results to {}", folder.display()))?;
    }
    let summary = &outcome.summary;
    if args.json {
        println!("{}", serde_json::to_string_pretty(summary)?);
    } else {
        print!("{}", text::summary(summary));
    }
    let missed = text::missed(&scenario.thresholds, summary);
    for line in &missed {
        eprintln!("missed: {line}");
    }
    Ok(
        if summary.validity.verdict == crate::summary::Verdict::Invalid {
            Exit::Invalid
        } else if missed.is_empty() {
            Exit::Passed
        } else {
            Exit::GateFailed
        }
        .into(),
    )
}

fn save(outcome: &Outcome, folder: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let summary = serde_json::to_string_pretty(&outcome.summary)?;
    std::fs::write(folder.join("summary.json"), summary)?;
    outcome.recording.write_hlog(folder)?;
    outcome.recording.write_timeseries(folder)?;
    Ok(())
}

/// One line a second on standard error.
struct Lines {
    quiet: bool,
}

impl Progress for Lines {
    fn tick(&self, tick: &Tick) {
        if self.quiet {
            return;
        }
        let phase = match tick.phase {
            Phase::WarmUp => "warm-up",
            Phase::Measured => "run",
        };
        eprintln!(
            "{phase:>8} {:4.0}/{:.0} s  {:6} req/s  p50 {:8.2} ms  p99 {:8.2} ms  errors {:5}  429 {:5}  users {:4}  in flight {:4}",
            tick.elapsed.as_secs_f64(),
            tick.planned.as_secs_f64(),
            tick.requests,
            tick.p50.as_secs_f64() * 1e3,
            tick.p99.as_secs_f64() * 1e3,
            tick.errors,
            tick.limited,
            tick.users,
            tick.in_flight,
        );
    }
}
