//! `weir-bench suite`: every micro-benchmark in turn, one table, one report.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use weir_lab::{provenance::Commit, stdio, topology::TopologySpec};
use weir_load::{
    run::RunOptions,
    scenario::{Overrides, Scenario},
    stop::StopToken,
    target::Target,
};

use crate::{
    exit::{Exit, Usage},
    judge::bands::Bands,
    measure::{Setup, as_usage, side::Side},
    results::{RunFolder, write_latest},
    study::{
        recovery,
        suite::{Suite, SuiteRecord, page, run_suite},
    },
    text::{name_and_numbers, plain_table, wrapped},
    view::lines_unless,
};

/// Arguments of `weir-bench suite`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 every measurement is usable and recovery is within its bounds, 3 a recovery bound is exceeded, 5 a measurement cannot be believed, 1 nothing at all succeeded in a test."
)]
pub struct Args {
    /// Base URL of something that is running.
    #[arg(long, short, required_unless_present = "topology", value_name = "URL")]
    target: Vec<String>,
    /// Start this topology and drive it: direct, one, two, docker (in containers), a file, or a number
    /// of replicas.
    #[arg(long, conflicts_with = "target", value_name = "NAME")]
    topology: Option<String>,
    /// Host that is not this machine but may be loaded: you vouch for it.
    #[arg(long, value_name = "HOST")]
    target_approved: Vec<String>,
    /// About half a minute instead of one and a half; recovery only with --recovery.
    #[arg(long)]
    quick: bool,
    /// The suite [default: config/suite.toml, or the same built in].
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Target bands: how good throughput and response time are; they fail nothing [default:
    /// config/bands.toml, or the documented ones].
    #[arg(long, value_name = "FILE")]
    bands: Option<PathBuf>,
    /// Only tests whose name contains this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// With two replicas or more: kill one at the end, with --quick too.
    #[arg(long, requires = "topology")]
    recovery: bool,
    /// With two replicas or more: do not kill one at the end.
    #[arg(long, conflicts_with = "recovery")]
    no_recovery: bool,
    /// Generator threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Where run folders go.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    results: PathBuf,
    /// With `--topology`: the proxy's binary [default: beside this program].
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
    /// With `--topology`: the proxy configuration to derive from.
    #[arg(long, value_name = "FILE", default_value = "config/proxy.toml")]
    proxy: PathBuf,
    /// Print the record as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs `weir-bench suite`.
///
/// # Errors
///
/// [`Usage`] when the suite, the topology or the target is not acceptable; other errors when a run
/// could not be made, limits are not back afterwards, or results not be written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let mut suite = Suite::load(args.suite.as_deref(), args.quick).map_err(Usage::new)?;
    choose(&mut suite, &args.only)?;
    let bands = Bands::load(args.bands.as_deref()).map_err(Usage::new)?;
    let spec = args
        .topology
        .as_deref()
        .map(TopologySpec::load)
        .transpose()
        .map_err(Usage::new)?;
    let breakable = spec
        .clone()
        .filter(|spec| spec.proxy && spec.replicas > 1 && !spec.is_in_containers());
    if args.recovery && breakable.is_none() {
        return Err(Usage::new(
            "--recovery needs a topology of processes with the proxy and two replicas or more: otherwise nobody could take over",
        )
        .into());
    }
    let setup = Setup {
        results: args.results.clone(),
        weir: args.weir.clone(),
        proxy_config: args.proxy.clone(),
        options: RunOptions {
            threads: args.threads,
            ..RunOptions::default()
        },
        ..Setup::default()
    };
    let target = match &spec {
        Some(_) => None,
        None => Some(Target::new(&args.target, &args.target_approved).map_err(Usage::new)?),
    };
    let stop = StopToken::on_signals().context("installing signal handlers")?;
    let label = spec.as_ref().map_or("target", |spec| spec.name.as_str());
    let folder = RunFolder::create(&args.results, "suite", label, &Commit::here())?;
    let mut side = match (&spec, target) {
        (Some(spec), _) => {
            let scenarios: Vec<_> = suite
                .tests
                .iter()
                .rev()
                .map(|test| &test.scenario)
                .collect();
            Side::start(spec, &scenarios, &setup, folder.path(), &stop).map_err(as_usage)?
        }
        (None, Some(target)) => Side::running(target),
        (None, None) => return Err(Usage::new("give --target or --topology").into()),
    };
    let mut record = run_suite(
        &suite, &bands, &mut side, &setup, &folder, args.quiet, &stop,
    )
    .map_err(as_usage)?;
    if let Some(tuning) = side.put_back().filter(|tuning| !tuning.restored) {
        anyhow::bail!(
            "the raised limits are not verified as put back: {}",
            tuning.problem
        );
    }
    drop(side);
    let wanted = args.recovery || !(args.quick || args.no_recovery);
    if wanted && spec.as_ref().is_some_and(TopologySpec::is_in_containers) {
        stdio::note("no recovery test: it kills processes, not containers");
    }
    if let Some(spec) = breakable.filter(|_| wanted) {
        record.recovery = Some(break_one(&spec, &args, &setup, &folder, &stop)?);
    }
    folder.write_json("suite.json", &record)?;
    let page = folder.write("report.html", &page::render(&record)?)?;
    write_latest(&args.results, &folder)?;
    if args.json {
        stdio::line(serde_json::to_string_pretty(&record)?)?;
    } else {
        print(&record)?;
        stdio::line(format!("report: {}", page.display()))?;
    }
    exit_code(&record)
}

fn choose(suite: &mut Suite, only: &[String]) -> anyhow::Result<()> {
    if only.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = suite.tests.iter().map(|test| test.name.clone()).collect();
    suite
        .tests
        .retain(|test| only.iter().any(|text| test.name.contains(text.as_str())));
    if suite.tests.is_empty() {
        return Err(Usage::new(format!(
            "--only: no test is named like that; there are {}",
            names.join(", ")
        ))
        .into());
    }
    Ok(())
}

/// The recovery part: its load is light, so that the replicas left over carry it.
fn break_one(
    spec: &TopologySpec,
    args: &Args,
    setup: &Setup,
    folder: &RunFolder,
    stop: &StopToken,
) -> anyhow::Result<recovery::RecoveryRecord> {
    let scenario = Overrides {
        rate: "200/s".parse().ok(),
        warmup: Some(Duration::from_secs(1)),
        ..Overrides::default()
    }
    .apply(Scenario::load("rate").map_err(Usage::new)?)
    .map_err(Usage::new)?;
    let config = weir_api::config::load(&args.proxy).map_err(Usage::new)?;
    let pause = Duration::from_secs(if args.quick { 1 } else { 3 });
    let plan = recovery::Plan {
        scenario,
        topology: spec.clone(),
        kill: "replica-1".to_owned(),
        after: pause,
        restart_after: pause,
        bounds: recovery::Bounds::for_fail_timeout(recovery::fail_timeout(&config)),
    };
    let progress = lines_unless(args.quiet, "recovery");
    let logs = folder.path().join("recovery");
    let record = recovery::recover(&plan, setup, &logs, progress, stop)?;
    std::fs::write(
        logs.join("recovery.json"),
        serde_json::to_string_pretty(&record)? + "\n",
    )?;
    Ok(record)
}

fn print(record: &SuiteRecord) -> std::io::Result<()> {
    let mut table = plain_table(&page::HEADER);
    for test in &record.tests {
        table.add_row(name_and_numbers(page::cells(test)));
    }
    stdio::line(table)?;
    stdio::line("Response time of successes in milliseconds; the median is p50.")?;
    for remark in record.tests.iter().flat_map(page::beyond_target) {
        stdio::line(wrapped(&remark, "  band: ", "    "))?;
    }
    for remark in record.tests.iter().flat_map(page::remarks) {
        stdio::line(wrapped(&remark, "  ! ", "    "))?;
    }
    if let Some(recovery) = &record.recovery {
        stdio::line(format!("\nRecovery from the loss of {}:", recovery.killed))?;
        crate::cli::recovery::print(recovery)?;
    }
    Ok(())
}

fn exit_code(record: &SuiteRecord) -> anyhow::Result<ExitCode> {
    if let Some(test) = record.tests.iter().find(|test| test.ok == 0) {
        anyhow::bail!("test `{}`: not one request succeeded", test.name);
    }
    let gate = record
        .recovery
        .as_ref()
        .map(|recovery| recovery.gate.as_str());
    let exit = if record
        .tests
        .iter()
        .any(crate::study::suite::TestRecord::is_invalid)
        || gate == Some("invalid")
    {
        Exit::Invalid
    } else if gate == Some("failed") {
        Exit::GateFailed
    } else {
        Exit::Passed
    };
    Ok(exit.into())
}
