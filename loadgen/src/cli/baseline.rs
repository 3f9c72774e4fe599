//! `weir-bench baseline`: save runs under a name, list, show and remove them.

use std::{path::PathBuf, process::ExitCode};

use comfy_table::{Cell, CellAlignment};
use weir_lab::stdio;
use weir_load::{
    summary::Verdict,
    units::{milliseconds, percent},
};

use crate::{
    cli::folders::{as_usage, read_runs},
    compare::kept::KeptRun,
    exit::{Exit, Usage},
    results::baseline::{FOLDER, Store, Taken},
    text::plain_table,
};

/// Arguments of `weir-bench baseline`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// Folder of the baselines.
    #[arg(long, global = true, value_name = "FOLDER", default_value = FOLDER)]
    baselines: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Save runs under a name such as main or release/1.2; several runs make statistics possible.
    Save {
        /// The name.
        name: String,
        /// Run folders.
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<PathBuf>,
        /// Put these runs in the place of those that are there.
        #[arg(long, conflicts_with = "add")]
        replace: bool,
        /// Add these runs to those that are there.
        #[arg(long)]
        add: bool,
    },
    /// Print the names, with how many runs each has and where they were made.
    List {
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Print a baseline: provenance and key figures of each run.
    Show {
        /// The name.
        name: String,
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Remove a baseline; the run folders stay.
    Rm {
        /// The name.
        name: String,
    },
}

/// Runs `weir-bench baseline`.
///
/// # Errors
///
/// When a name or a folder is not valid (usage), or something cannot be read or written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&args.baselines);
    match args.command {
        Command::Save {
            name,
            runs,
            replace,
            add,
        } => {
            let taken = match (replace, add) {
                (true, _) => Taken::Replace,
                (_, true) => Taken::Add,
                _ => Taken::Refuse,
            };
            save(&store, &name, &runs, taken)
        }
        Command::List { json } => list(&store, json),
        Command::Show { name, json } => show(&store, &name, json),
        Command::Rm { name } => {
            store.remove(&name).map_err(as_usage)?;
            stdio::line(format!("removed {name}"))?;
            Ok(Exit::Passed.into())
        }
    }
}

fn save(store: &Store, name: &str, paths: &[PathBuf], taken: Taken) -> anyhow::Result<ExitCode> {
    let runs = read_runs(paths)?;
    for run in &runs {
        if run.summary.validity.verdict == Verdict::Invalid {
            stdio::note(format!(
                "not saved: {} is invalid and cannot be a baseline: {}",
                run.id,
                run.summary.validity.reasons.join("; ")
            ));
            return Ok(Exit::Invalid.into());
        }
    }
    if taken == Taken::Add && store.names().iter().any(|known| known == name) {
        let before = store.load(name).map_err(as_usage)?;
        same_load(before.runs.iter().chain(&runs)).map_err(Usage::new)?;
    } else {
        same_load(runs.iter()).map_err(Usage::new)?;
    }
    let saved = store.save(name, runs, taken).map_err(as_usage)?;
    stdio::line(format!(
        "saved {name}: {} of {}",
        count(saved.runs.len()),
        saved
            .runs
            .first()
            .map_or("", |run| run.summary.scenario.as_str())
    ))?;
    if saved.runs.len() < crate::stats::estimate::FEWEST {
        stdio::line(format!(
            "note: with {} or more runs a comparison can tell a change from noise (--add)",
            crate::stats::estimate::FEWEST
        ))?;
    }
    Ok(Exit::Passed.into())
}

/// Runs of different loads have no common mean.
fn same_load<'a>(mut runs: impl Iterator<Item = &'a KeptRun>) -> Result<(), String> {
    let Some(first) = runs.next() else {
        return Ok(());
    };
    let of = |run: &KeptRun| format!("{} on {}", run.summary.scenario, run.subject);
    match runs.find(|run| of(run) != of(first)) {
        Some(other) => Err(format!(
            "the runs of a baseline must be of one load: {} is {}, {} is {}",
            first.id,
            of(first),
            other.id,
            of(other)
        )),
        None => Ok(()),
    }
}

fn count(runs: usize) -> String {
    if runs == 1 {
        "1 run".to_owned()
    } else {
        format!("{runs} runs")
    }
}

fn list(store: &Store, json: bool) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for name in store.names() {
        all.push(store.load(&name).map_err(as_usage)?);
    }
    if json {
        let entries: Vec<_> = all
            .iter()
            .map(|baseline| {
                serde_json::json!({
                    "name": baseline.name,
                    "saved_at": baseline.saved_at,
                    "runs": baseline.runs.iter().map(|run| &run.id).collect::<Vec<_>>(),
                })
            })
            .collect();
        stdio::line(serde_json::to_string_pretty(&entries)?)?;
        return Ok(Exit::Passed.into());
    }
    if all.is_empty() {
        stdio::line("no baselines; save one with `weir-bench baseline save NAME RUN…`")?;
        return Ok(Exit::Passed.into());
    }
    let mut table = plain_table(&["name", "runs", "load", "commit", "host", "saved"]);
    for baseline in &all {
        let first = baseline.runs.first();
        let fact = |of: fn(&KeptRun) -> String| first.map(of).unwrap_or_default();
        table.add_row(vec![
            Cell::new(&baseline.name),
            Cell::new(baseline.runs.len()).set_alignment(CellAlignment::Right),
            Cell::new(fact(|run| {
                format!("{} on {}", run.summary.scenario, run.subject)
            })),
            Cell::new(fact(|run| run.provenance.commit.label())),
            Cell::new(fact(|run| run.provenance.host.name.clone())),
            Cell::new(&baseline.saved_at),
        ]);
    }
    stdio::line(table)?;
    Ok(Exit::Passed.into())
}

fn show(store: &Store, name: &str, json: bool) -> anyhow::Result<ExitCode> {
    let baseline = store.load(name).map_err(as_usage)?;
    if json {
        stdio::line(serde_json::to_string_pretty(&baseline)?)?;
        return Ok(Exit::Passed.into());
    }
    stdio::line(format!(
        "{}: {}, saved {}",
        baseline.name,
        count(baseline.runs.len()),
        baseline.saved_at
    ))?;
    let mut table = plain_table(&["run", "throughput", "errors", "p50", "p95", "p99", "gate"]);
    for run in &baseline.runs {
        let summary = &run.summary;
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row(vec![
            Cell::new(&run.id),
            right(format!("{:.1}/s", summary.throughput_rps)),
            right(percent(summary.error_rate)),
            right(milliseconds(summary.response.p50_ms)),
            right(milliseconds(summary.response.p95_ms)),
            right(milliseconds(summary.response.p99_ms)),
            Cell::new(&run.gate),
        ]);
    }
    stdio::line(table)?;
    for run in &baseline.runs {
        let provenance = &run.provenance;
        stdio::line(format!(
            "{}: {} on {} ({}, {} cores, {})",
            provenance.created_at,
            provenance.commit.label(),
            provenance.host.name,
            provenance.host.cpu,
            provenance.host.cores,
            provenance.host.kernel
        ))?;
    }
    Ok(Exit::Passed.into())
}
