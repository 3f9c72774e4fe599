//! `weir-bench merge`: join the shards of a run.

use std::{path::PathBuf, process::ExitCode};

use weir_lab::provenance::Commit;
use weir_load::summary::Verdict;

use crate::{
    exit::{Exit, Usage},
    judge,
    merge::{MergeError, Merged, merge},
    results::{RunFolder, RunRecord, write_latest},
    text::{plain_table, wrapped},
};

/// Arguments of `weir-bench merge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run folders of all shards of one run, in any order.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write the joined run to exactly this folder instead of a new one under --results.
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Where run folders go.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    results: PathBuf,
    /// Print the summary as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Joins the shards, prints the verdict of the whole, and exits as a run would.
///
/// # Errors
///
/// [`Usage`] when the folders are not all the shards of one run; other errors when a file cannot
/// be read or written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let make = |record: &RunRecord| -> Result<RunFolder, MergeError> {
        Ok(match &args.output {
            Some(path) => RunFolder::at(path)?,
            None => {
                let scenario = record.scenario.get("name").and_then(|name| name.as_str());
                let scenario = scenario.unwrap_or("merged");
                RunFolder::create(&args.results, scenario, &record.label, &Commit::here())?
            }
        })
    };
    let merged = merge(&args.runs, make).map_err(|error| {
        if error.is_usage() {
            anyhow::Error::from(Usage::new(error))
        } else {
            error.into()
        }
    })?;
    if args.output.is_none() {
        write_latest(&args.results, &merged.folder)?;
    }
    if args.json {
        weir_lab::stdio::line(serde_json::to_string_pretty(&merged.summary)?)?;
    } else {
        weir_lab::stdio::line(text(&merged))?;
    }
    Ok(Exit::from(merged.gate).into())
}

/// The verdict of the whole, and what it was joined from.
fn text(merged: &Merged) -> String {
    let mut table = plain_table(&[
        "shard",
        "machine",
        "began",
        "requests",
        "requests/s",
        "measurement",
    ]);
    for shard in &merged.shards.shards {
        table.add_row([
            format!("{}/{}", shard.number, merged.shards.shards.len()),
            shard.host.clone(),
            shard.started_at.clone(),
            shard.requests.to_string(),
            format!("{:.1}", shard.throughput_rps),
            word(shard.verdict).to_owned(),
        ]);
    }
    let summary = &merged.summary;
    let reasons = summary.validity.reasons.join("; ");
    let validity = if reasons.is_empty() {
        format!("measurement {}", word(summary.validity.verdict))
    } else {
        format!("measurement {}: {reasons}", word(summary.validity.verdict))
    };
    format!(
        "{table}\n{} requests, {} successes, {} errors, {} times 429; starts {:.0} ms apart, {:.1} % of the time in common\n{}\n{}\n{}\ngate {}: {}",
        summary.requests,
        summary.ok,
        summary.errors,
        summary.limited,
        merged.shards.skew_s * 1e3,
        merged.shards.overlap * 100.0,
        judge::rows_table(&merged.record.verdict),
        judge::endpoint_table(&summary.endpoints),
        wrapped(&validity, "", "  "),
        merged.gate.text(),
        merged.folder.path().display(),
    )
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Suspect => "suspect",
        Verdict::Invalid => "INVALID",
    }
}
