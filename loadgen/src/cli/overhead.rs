//! `weir-bench overhead`: what the proxy costs against direct, in interleaved pairs.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use weir_lab::{provenance::Commit, stdio, topology::TopologySpec};
use weir_load::{
    scenario::{Overrides, Scenario},
    stop::StopToken,
    units::parse_duration,
};

use crate::{
    cli::run::OverrideArgs,
    exit::Usage,
    judge::{Gate, doubts, rows_table},
    measure::SetupArgs,
    results::{RunFolder, write_latest},
    study::overhead::{Bounds, Plan, check, measure_overhead, page},
    text::{name_and_numbers, plain_table, wrapped},
};

/// Arguments of `weir-bench overhead`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 within the bounds, 3 a bound is exceeded or cannot be judged, 5 the measurement cannot be believed."
)]
pub struct Args {
    /// The load of both sides: a name in config/scenarios, or a file.
    #[arg(long, short, default_value = "rate")]
    scenario: String,
    /// The side without the proxy.
    #[arg(long, default_value = "direct", value_name = "NAME")]
    direct: String,
    /// The side with the proxy; one replica of the same capacity.
    #[arg(long, default_value = "one", value_name = "NAME")]
    topology: String,
    /// Pairs of runs; three have an interval, more a narrower one.
    #[arg(long, default_value_t = 6)]
    pairs: u32,
    /// Added mean latency that is allowed.
    #[arg(long, value_parser = parse_duration, default_value = "5ms", value_name = "DURATION")]
    max_mean: Duration,
    /// Added 95th percentile that is allowed.
    #[arg(long, value_parser = parse_duration, default_value = "10ms", value_name = "DURATION")]
    max_p95: Duration,
    /// CPU of the proxy that is allowed, percent of all cores together.
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    max_cpu: f64,
    /// Growth of the proxy's memory that is allowed, percent, first run to last.
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT")]
    max_memory_growth: f64,
    /// What to change in the scenario [default: 1s of warm-up, 5s measured].
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Where things are, and what is printed.
    #[command(flatten)]
    setup: SetupArgs,
}

/// Runs `weir-bench overhead`.
///
/// # Errors
///
/// [`Usage`] when the scenario, a topology or an option is not acceptable; other errors when a run
/// could not be made or its results not be written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::load(&args.scenario).map_err(Usage::new)?;
    let overrides = Overrides::from(&args.overrides);
    let overrides = Overrides {
        warmup: overrides.warmup.or(Some(Duration::from_secs(1))),
        duration: overrides.duration.or(Some(Duration::from_secs(5))),
        ..overrides
    };
    let plan = Plan {
        scenario: overrides.apply(scenario).map_err(Usage::new)?,
        direct: TopologySpec::load(&args.direct).map_err(Usage::new)?,
        proxied: TopologySpec::load(&args.topology).map_err(Usage::new)?,
        pairs: args.pairs,
        bounds: Bounds {
            mean_ms: args.max_mean.as_secs_f64() * 1e3,
            p95_ms: args.max_p95.as_secs_f64() * 1e3,
            machine_share: args.max_cpu / 100.0,
            memory_growth: args.max_memory_growth / 100.0,
        },
        quiet: args.setup.quiet,
    };
    check(&plan)?;
    let setup = args.setup.setup();
    let stop = StopToken::on_signals().context("installing signal handlers")?;
    let folder = RunFolder::create(
        &args.setup.results,
        "overhead",
        &plan.proxied.name,
        &Commit::here(),
    )?;
    let record = measure_overhead(&plan, &setup, &folder, &stop)?;
    folder.write_json("overhead.json", &record)?;
    let page = folder.write("report.html", &page::render(&record)?)?;
    write_latest(&args.setup.results, &folder)?;
    if args.setup.json {
        stdio::line(serde_json::to_string_pretty(&record)?)?;
    } else {
        let mut table = plain_table(&page::LATENCY_HEADER);
        for row in page::latency_rows(&record) {
            table.add_row(name_and_numbers(row));
        }
        stdio::line(table)?;
        stdio::line(wrapped(&page::cpu_line(&record), "", "  "))?;
        stdio::line(rows_table(&record.verdict))?;
        for doubt in doubts(&record.validity) {
            stdio::line(doubt)?;
        }
        stdio::line(format!("gate {}: {}", record.gate, page.display()))?;
    }
    Ok(Gate::named(&record.gate).exit().into())
}
