//! `weir-bench gate`: judge run folders again, without a new run.

use std::{path::PathBuf, process::ExitCode};

use weir_lab::stdio;
use weir_load::{
    slo::{Metric, RuleList},
    summary::{Model, Summary, Verdict},
};

use crate::{
    cli::{compare::Against, folders::open_run},
    compare::table::print as print_comparison,
    exit::{Exit, Usage},
    judge::{
        Gate, LoggedHistograms, Reach, Status, Thresholds,
        ci::{CiArgs, Judgement},
        gate, judge, judge_exactly, rows_table,
    },
    results::RunRecord,
    text::wrapped,
};

/// Arguments of `weir-bench gate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run folders, such as results/latest.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Judge by this file instead of the thresholds that the run was judged by.
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// Judge by these rules, such as "p99<200ms,errors<0.1%"; with --thresholds they win over the
    /// file where they judge the same, else they stand alone. May be repeated.
    #[arg(long, value_name = "RULES")]
    slo: Vec<RuleList>,
    /// Compare the runs with a baseline too; exit code 4 on a regression.
    #[command(flatten)]
    against: Against,
    /// Forms for continuous integration.
    #[command(flatten)]
    ci: CiArgs,
}

/// Judges each folder and prints the tables. Nothing in the folders is changed.
///
/// # Errors
///
/// When a folder, a file or a rule is not valid (usage), or something cannot be read or written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    args.ci.check().map_err(Usage::new)?;
    let given = given(&args)?;
    let mut worst = Gate::Passed;
    let mut judgements = Vec::new();
    let mut kept = Vec::new();
    for path in &args.runs {
        let folder = open_run(path)?;
        let (record, summary) = folder.load()?;
        let thresholds = given.as_ref().unwrap_or(&record.thresholds);
        known_endpoints(thresholds, &summary, &record).map_err(Usage::new)?;
        let reach = reach(&record, &summary);
        let mut rules = thresholds.rules.iter();
        // Reading the logs of a long run takes a while; counts need none.
        let needs_logs = rules.any(|rule| matches!(rule.metric, Metric::Latency { .. }));
        let rows = if !needs_logs {
            judge(&summary, thresholds, reach)
        } else {
            let histograms = LoggedHistograms::read(folder.path())?;
            judge_exactly(&summary, &histograms, thresholds, reach)
        };
        if rows.is_empty() {
            return Err(Usage::new(format!(
                "{} was made without thresholds: say what to judge by, with --slo or --thresholds",
                path.display()
            ))
            .into());
        }
        let outcome = gate(&rows, &summary.validity);
        stdio::line(&record.id)?;
        stdio::line(rows_table(&rows))?;
        if summary.validity.verdict != Verdict::Valid {
            let reasons = summary.validity.reasons.join("; ");
            let word = match summary.validity.verdict {
                Verdict::Invalid => "measurement INVALID: ",
                _ => "measurement suspect: ",
            };
            stdio::line(wrapped(&reasons, word, "  "))?;
        }
        stdio::line(format!("gate {}", outcome.text()))?;
        judgements.push(Judgement::of_gate(
            title(&record, &summary),
            record.id.clone(),
            &rows,
            &summary,
            outcome,
        ));
        kept.push(record.kept(&summary));
        worst = worst.max(outcome);
    }
    let comparison = args.against.compare(&kept)?;
    if let Some(comparison) = &comparison {
        print_comparison(comparison)?;
        judgements.push(comparison.judgement());
    }
    args.ci.write(&judgements, false)?;
    let compared = comparison.map_or(Exit::Passed, |comparison| comparison.result.exit());
    Ok(Exit::from(worst).or(compared).into())
}

/// Heading of a run in reports for continuous integration.
#[must_use]
pub fn title(record: &RunRecord, summary: &Summary) -> String {
    let subject = record
        .topology
        .as_ref()
        .map_or(record.label.as_str(), |topology| topology.name.as_str());
    if subject.is_empty() {
        summary.scenario.clone()
    } else {
        format!("{} on {subject}", summary.scenario)
    }
}

fn given(args: &Args) -> Result<Option<Thresholds>, Usage> {
    let rules: Vec<_> = args.slo.iter().flat_map(|list| list.0.clone()).collect();
    let file = args.thresholds.as_deref().map(Thresholds::load);
    let file = file.transpose().map_err(Usage::new)?;
    if file.is_none() && rules.is_empty() {
        return Ok(None);
    }
    Ok(Some(file.unwrap_or_default().with_rules(rules)))
}

/// An endpoint that never was is a mistake in the rule; one without a request was not measured.
fn known_endpoints(
    thresholds: &Thresholds,
    summary: &Summary,
    record: &RunRecord,
) -> Result<(), String> {
    let planned = record.scenario["requests"].as_array();
    let planned = planned
        .into_iter()
        .flatten()
        .filter_map(|request| request["name"].as_str());
    let seen = summary.endpoints.iter().map(|of| of.name.as_str());
    let mut names: Vec<&str> = planned.chain(seen).collect();
    if !record.scenario["login"].is_null() {
        names.push(weir_load::scenario::LOGIN);
    }
    names.dedup();
    let mut unique: Vec<&str> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    for rule in &thresholds.rules {
        rule.check_endpoint(unique.iter().copied())
            .map_err(|reason| format!("`{rule}`: {reason}"))?;
    }
    Ok(())
}

/// What the load of a finished run could have reached: a throughput row of the run itself said so.
fn reach(record: &RunRecord, summary: &Summary) -> Option<Reach> {
    if summary.model == Model::Open {
        let requests = summary.requests_per_arrival().unwrap_or(1.0);
        return summary.intended_rps.map(|rps| Reach {
            rps: rps * requests,
        });
    }
    let unreachable = record
        .verdict
        .iter()
        .find(|row| row.status == Status::NotReachable)?;
    let figure = unreachable.note.split("at most ").nth(1)?;
    let rps = figure.split("/s").next()?.parse().ok()?;
    Some(Reach { rps })
}
