//! `weir-bench run`: drive a topology or a target that is already running, and judge it.

mod explain;
mod http;
mod series;

use std::{
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use weir_lab::{stdio, topology::TopologySpec};
use weir_load::{
    run::RunOptions,
    scenario::{self, Overrides, Scenario, ScenarioError, Setting},
    shard::{Shard, StartAt},
    stop::StopToken,
    target::Target,
    units::{Rate, parse_duration},
};

use self::{explain::Explanation, series::Series};
use crate::{
    cli::{drive::Printing, environment::Taken},
    exit::{Exit, Usage},
    measure::{Order, Subject, setup_args::EngineName},
    view,
};

/// Arguments of `weir-bench run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every flag can come from the environment, too: WEIR_BENCH_USERS=20 stands for --users=20,\nWEIR_BENCH_TIME_SCALE=0.1 for --time-scale=0.1. The file counts least, then the environment, then flags."
)]
pub struct Args {
    /// Name of a scenario in config/scenarios, or path of a scenario file. A list of scenarios,
    /// such as `all`, is run one after the other.
    #[arg(long, short)]
    scenario: String,
    /// Base URL to drive; repeat it to share the load among several.
    #[arg(
        long,
        short,
        required_unless_present_any = ["topology", "explain"],
        value_name = "URL"
    )]
    target: Vec<String>,
    /// Start this topology and drive it: direct, one, two, docker (two replicas in containers),
    /// docker-one, docker-direct, a file, or a number of replicas behind weir. Limits in the way of
    /// the load are raised for the run and put back.
    #[arg(long, conflicts_with = "target", value_name = "NAME")]
    topology: Option<String>,
    /// Where results go, and what the run is judged by.
    #[command(flatten)]
    measuring: crate::cli::drive::Options,
    /// Host that is not this machine but may be loaded: you vouch for it.
    #[arg(long, value_name = "HOST")]
    target_approved: Vec<String>,
    /// Change any value of the scenario file, such as load.users=20 or thresholds.p99=300ms; may be
    /// repeated. Flags win over it.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Setting>,
    /// Print every value in effect and where it comes from (file and line, environment, flag,
    /// default), and what the schedule comes to, without running anything.
    #[arg(long)]
    explain: bool,
    /// What the environment supplied.
    #[arg(skip)]
    pub(crate) environment: Vec<Taken>,
    /// What to change in the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Generator threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Source addresses in 127.0.0.0/8 to spread connections over.
    #[arg(long, default_value_t = 1, value_name = "N")]
    source_addresses: u32,
    /// Do only this part of the run: number and total, such as 2/8, or auto/8 to take the number
    /// from JOB_COMPLETION_INDEX. `weir-bench merge` joins the parts.
    #[arg(long, value_name = "I/N", conflicts_with = "topology")]
    shard: Option<Shard>,
    /// When the load begins: +10s, next:60s (next full minute), an RFC 3339 time, or seconds since
    /// 1970. Give all shards the same.
    #[arg(long, value_name = "TIME")]
    start_at: Option<StartAt>,
    /// Offer live metrics for Prometheus at http://ADDRESS/metrics while the run goes on; port 0
    /// takes any free one and says which.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Print the summary as JSON instead of text.
    #[arg(long)]
    json: bool,
    /// What to show while the run goes on.
    #[arg(long, value_enum, default_value_t)]
    view: view::Choice,
    /// Show nothing while the run goes on: the same as `--view none`.
    #[arg(long, short, conflicts_with = "view")]
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
    /// End after exactly so many requests of the measured part, or when its time is over.
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Longest wait for a connection, TLS handshake included.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    connect_timeout: Option<Duration>,
    /// Longest wait for a whole answer, connecting included.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// How requests travel.
    #[command(flatten)]
    http: super::run::http::HttpArgs,
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
            connect_timeout: args.connect_timeout,
            timeout: args.timeout,
            http: (&args.http).into(),
            requests: args.requests,
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
    let series = Series::load(
        &args.scenario,
        &args.set,
        &Overrides::from(&args.overrides),
        args.explain,
    )
    .map_err(|error| args.usage(&error))?;
    if args.explain {
        return explain(&args, &series);
    }
    let subject = match &args.topology {
        Some(topology) => Subject::Topology(TopologySpec::load(topology).map_err(Usage::new)?),
        None => {
            let target = Target::new(&args.target, &args.target_approved);
            Subject::Running(target.map_err(Usage::new)?)
        }
    };
    let ci = &args.measuring.ci;
    for (flag, given) in [
        ("--output", args.measuring.output.is_some()),
        ("--junit", ci.junit.is_some()),
        ("--markdown", ci.markdown.is_some()),
    ] {
        if given && series.is_list() {
            let message = format!(
                "`{flag}` names one place, and this is a list of scenarios: use --results, and `weir-bench gate` for each folder"
            );
            return Err(Usage::new(message).into());
        }
    }
    let stop = StopToken::on_signals().context("installing signal handlers")?;
    series.run(&stop, args.json, |scenario| {
        run_one(&args, scenario, subject.clone(), &stop)
    })
}

fn explain(args: &Args, series: &Series) -> anyhow::Result<ExitCode> {
    for (name, overrides) in series.names() {
        let explanation = Explanation::of(name, &args.set, overrides, &args.environment)
            .map_err(|error| args.usage(&error))?;
        if args.json {
            stdio::line(serde_json::to_string_pretty(&explanation)?)?;
        } else {
            stdio::line(explanation.text())?;
        }
    }
    Ok(Exit::Passed.into())
}

impl Args {
    /// A mistake of the user, under the name of what it came from: the flag or its variable.
    fn usage(&self, error: &ScenarioError) -> Usage {
        if let ScenarioError::Override { flag, message } = error
            && let Some(taken) = self.environment.iter().find(|taken| taken.flag == *flag)
        {
            return Usage::new(format!("`{}` ({flag}): {message}", taken.variable));
        }
        Usage::new(error)
    }
}

/// Drives one scenario and judges it.
fn run_one(
    args: &Args,
    scenario: Scenario,
    subject: Subject,
    stop: &StopToken,
) -> anyhow::Result<Exit> {
    let start_at = args
        .start_at
        .map(|start| start.resolve(SystemTime::now()))
        .transpose()
        .map_err(Usage::new)?;
    let measuring = &args.measuring;
    let thresholds = measuring.thresholds(&scenario)?;
    let aftermath = measuring.aftermath()?;
    let setup = measuring.setup(RunOptions {
        threads: args.threads,
        source_addresses: args.source_addresses,
        shard: args.shard.unwrap_or_default(),
        start_at,
        ..RunOptions::default()
    });
    let mut order = Order {
        scenario,
        subject,
        thresholds,
        label: measuring.label.clone(),
    };
    if let Some(shard) = args.shard.filter(|shard| !shard.is_whole()) {
        order.label = Some(shard.label(&order.label()));
    }
    let view = if args.quiet {
        view::Choice::None
    } else {
        args.view
    };
    let printing = Printing {
        json: args.json,
        view,
        metrics: args.metrics,
    };
    crate::cli::drive::execute(&order, &setup, &aftermath, printing, stop)
}
