//! `weir-bench recovery`: kill a replica under load, start it again, and see how the rest copes.

use std::{path::PathBuf, process::ExitCode, time::Duration};

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
    study::recovery::{Bounds, Plan, RecoveryRecord, page, recover},
    text::wrapped,
    view::lines_unless,
};

/// Arguments of `weir-bench recovery`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 within the bounds, 3 a bound is exceeded, 5 the measurement cannot be believed.\n\nThe load goes on until the replica serves again and 3 s longer; --duration does not change that."
)]
pub struct Args {
    /// The processes: two replicas or more behind the proxy, or nobody is left to serve. Not in
    /// containers.
    #[arg(long, default_value = "two", value_name = "NAME")]
    topology: String,
    /// The load: a name in config/scenarios, or a file. An open model shows failures best.
    #[arg(long, short, default_value = "rate")]
    scenario: String,
    /// The replica that is killed (SIGKILL).
    #[arg(long, default_value = "replica-1", value_name = "NAME")]
    kill: String,
    /// Load before the kill.
    #[arg(long, value_parser = parse_duration, default_value = "5s", value_name = "DURATION")]
    after: Duration,
    /// Time from the kill until it is started again, on the same address.
    #[arg(long, value_parser = parse_duration, default_value = "5s", value_name = "DURATION")]
    restart_after: Duration,
    /// Longest time from the kill to the last failure.
    #[arg(long, value_parser = parse_duration, default_value = "10s", value_name = "DURATION")]
    max_errors_for: Duration,
    /// Longest time from the restart until the replica serves again [default: the proxy's
    /// fail_timeout and 5s].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    max_serving_again: Option<Duration>,
    /// Largest share of failed requests, percent.
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    max_failed: f64,
    /// What to change in the scenario [default: 1s of warm-up].
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Where things are, and what is printed.
    #[command(flatten)]
    setup: SetupArgs,
}

/// Runs `weir-bench recovery`.
///
/// # Errors
///
/// [`Usage`] when the scenario, the topology or an option is not acceptable; other errors when the
/// run could not be made or its results not be written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::load(&args.scenario).map_err(Usage::new)?;
    let overrides = Overrides::from(&args.overrides);
    let overrides = Overrides {
        warmup: overrides.warmup.or(Some(Duration::from_secs(1))),
        ..overrides
    };
    let config = weir_api::config::load(&args.setup.proxy).map_err(Usage::new)?;
    let usual = Bounds::for_fail_timeout(crate::study::recovery::fail_timeout(&config));
    let plan = Plan {
        scenario: overrides.apply(scenario).map_err(Usage::new)?,
        topology: TopologySpec::load(&args.topology).map_err(Usage::new)?,
        kill: args.kill,
        after: args.after,
        restart_after: args.restart_after,
        bounds: Bounds {
            error_free_within_s: args.max_errors_for.as_secs_f64(),
            served_within_s: args
                .max_serving_again
                .map_or(usual.served_within_s, |within| within.as_secs_f64()),
            failed: args.max_failed / 100.0,
        },
    };
    plan.check()?;
    let setup = args.setup.setup();
    let stop = StopToken::on_signals().context("installing signal handlers")?;
    let folder = RunFolder::create(
        &args.setup.results,
        "recovery",
        &plan.topology.name,
        &Commit::here(),
    )?;
    let progress = lines_unless(args.setup.quiet, format!("recovery {}", plan.topology.name));
    let record = recover(&plan, &setup, folder.path(), progress, &stop)?;
    let page = save(&record, &folder)?;
    write_latest(&args.setup.results, &folder)?;
    if args.setup.json {
        stdio::line(serde_json::to_string_pretty(&record)?)?;
    } else {
        print(&record)?;
        stdio::line(format!("gate {}: {}", record.gate, page.display()))?;
    }
    Ok(Gate::named(&record.gate).exit().into())
}

/// Writes `recovery.json` and `report.html`.
pub(crate) fn save(record: &RecoveryRecord, folder: &RunFolder) -> anyhow::Result<PathBuf> {
    folder.write_json("recovery.json", record)?;
    Ok(folder.write("report.html", &page::render(record)?)?)
}

/// What happened, for a terminal.
pub(crate) fn print(record: &RecoveryRecord) -> std::io::Result<()> {
    for (what, when) in page::timeline(record) {
        stdio::line(format!("  {what:<28} {when:>10}"))?;
    }
    for failure in &record.failures {
        let text = format!(
            "{} × {} ({:.3} %): {}",
            failure.count, failure.kind, failure.percent, failure.likely_cause
        );
        stdio::line(wrapped(&text, "  ", "    "))?;
    }
    for second in record.seconds.iter().filter(|second| second.errors > 0) {
        let kinds: Vec<_> = second
            .kinds
            .iter()
            .map(|(kind, count)| format!("{count} × {kind}"))
            .collect();
        stdio::line(format!(
            "  second {:>3.0}: {}",
            second.t_s,
            kinds.join(", ")
        ))?;
    }
    stdio::line(rows_table(&record.verdict))?;
    stdio::line(wrapped(&page::explanation(record), "", "  "))?;
    for doubt in doubts(&record.validity) {
        stdio::line(doubt)?;
    }
    Ok(())
}
