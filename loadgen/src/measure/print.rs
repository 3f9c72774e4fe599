//! A finished measurement on the terminal, at most 100 columns wide.

use std::io;

use comfy_table::{Cell, CellAlignment};
use weir_lab::{record::TuningRecord, stdio};
use weir_load::{
    summary::{Summary, Verdict},
    units::milliseconds,
};

use super::Measured;
use crate::{
    judge,
    results::{RunRecord, StageBreakdown, ceiling::share},
    text::{plain_table, wrapped},
};

/// Prints what was measured and how it was judged.
pub(crate) fn print(done: &Measured) -> io::Result<()> {
    let (record, summary) = (&done.record, &done.summary);
    stdio::line(wrapped(&heading(record, summary), "", "  "))?;
    if !record.verdict.is_empty() {
        stdio::line(judge::rows_table(&record.verdict))?;
    }
    if !record.bands.is_empty() {
        stdio::line(judge::bands::band_table(&record.bands))?;
    }
    stdio::line(wrapped(&counts(summary), "", "  "))?;
    stdio::line(latency_table(summary))?;
    if let Some(text) = connections(summary) {
        stdio::line(wrapped(&text, "", "  "))?;
    }
    stdio::line(judge::endpoint_table(&summary.endpoints))?;
    if let Some(stages) = &record.stages {
        stdio::line(stage_table(stages))?;
    }
    for failure in &summary.failures {
        let text = format!(
            "{} × {} ({:.3} %): {}",
            failure.count, failure.kind, failure.percent, failure.likely_cause
        );
        stdio::line(wrapped(&text, "  ", "    "))?;
    }
    stdio::line(share::describe(summary))?;
    match summary.validity.verdict {
        Verdict::Valid => stdio::line("measurement valid")?,
        Verdict::Suspect => stdio::line("measurement suspect:")?,
        Verdict::Invalid => stdio::line("measurement INVALID:")?,
    }
    for reason in &summary.validity.reasons {
        stdio::line(wrapped(reason, "  - ", "    "))?;
    }
    for finding in &record.findings {
        stdio::line(wrapped(&finding.title, "lint: ", "      "))?;
    }
    stdio::line(wrapped(&tuning(record.tuning.as_ref()), "tuning: ", "  "))?;
    if let Some((profile, file)) = record
        .profile
        .as_ref()
        .and_then(|profile| Some((profile, profile.file.as_ref()?)))
    {
        let text = format!(
            "flame graph of {} ({} samples): {file}",
            profile.process, profile.samples
        );
        stdio::line(text)?;
    }
    if let Some(comparison) = &record.comparison {
        crate::compare::table::print(comparison)?;
    }
    let gate = match &record.stopped {
        Some(reason) => format!("stopped {reason}; gate not judged"),
        None => format!("gate {}", record.gate),
    };
    match done.page() {
        Some(page) => stdio::line(format!("{gate}: {}", page.display())),
        None => stdio::line(format!("{gate} (nothing was saved)")),
    }
}

fn heading(record: &RunRecord, summary: &Summary) -> String {
    let subject = match &record.topology {
        Some(topology) => topology.description.clone(),
        None => record.targets.join(" and "),
    };
    format!("{}: {subject}", summary.scenario)
}

fn counts(summary: &Summary) -> String {
    let mut text = format!(
        "{} requests in {:.1} s: {} ok ({:.1}/s), {} limited (429), {} errors ({:.3} %)",
        summary.requests,
        summary.duration_s,
        summary.ok,
        summary.throughput_rps,
        summary.limited,
        summary.errors,
        summary.error_rate * 100.0
    );
    if let Some(intended) = summary.intended_rps {
        text += &match summary.requests_per_arrival() {
            Some(requests) => format!(
                "; intended {intended:.1} arrivals/s, {} unsent; an arrival is one request or a whole flow, {requests:.2} requests on average",
                summary.unsent
            ),
            None => format!("; intended {intended:.1}/s, {} unsent", summary.unsent),
        };
    }
    text
}

/// Connections: how many, and what they cost.
fn connections(summary: &Summary) -> Option<String> {
    let figure = |name: &str| summary.extra.get(name).copied();
    let total = figure("connects_total").filter(|total| *total > 0.0)?;
    let measured = figure("connects").unwrap_or(0.0);
    let mut text = format!("connections: {total:.0} opened, {measured:.0} in the measured part");
    if let (Some(p50), Some(p99)) = (figure("connect_p50_ms"), figure("connect_p99_ms")) {
        text += &format!("; ready in p50 {p50:.2} ms, p99 {p99:.2} ms");
    }
    if let (Some(p50), Some(p99)) = (
        figure("tls_handshake_p50_ms"),
        figure("tls_handshake_p99_ms"),
    ) {
        text += &format!("; TLS handshake p50 {p50:.2} ms, p99 {p99:.2} ms");
    }
    Some(text)
}

fn latency_table(summary: &Summary) -> comfy_table::Table {
    let mut table = plain_table(&[
        "latency", "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max",
    ]);
    let rows = [
        ("response time", Some(&summary.response)),
        ("service time", Some(&summary.service)),
        ("send lag", summary.send_lag.as_ref()),
    ];
    for (name, latency) in rows {
        let Some(latency) = latency.filter(|latency| latency.count > 0) else {
            continue;
        };
        let values = [
            latency.min_ms,
            latency.mean_ms,
            latency.p50_ms,
            latency.p90_ms,
            latency.p95_ms,
            latency.p99_ms,
            latency.p999_ms,
            latency.max_ms,
        ];
        let cells =
            values.map(|value| Cell::new(milliseconds(value)).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(cells));
    }
    table
}

fn stage_table(stages: &StageBreakdown) -> comfy_table::Table {
    let mut table = plain_table(&["stage", "", "share", "mean", "p50", "p95", "p99"]);
    let or_dash = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), milliseconds);
    for row in &stages.rows {
        let numbers = [
            format!("{:.1} %", row.share * 100.0),
            milliseconds(row.mean_ms),
            or_dash(row.p50_ms),
            or_dash(row.p95_ms),
            or_dash(row.p99_ms),
        ];
        let numbers = numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        let names = [&row.stage, &row.meaning].map(Cell::new);
        table.add_row(names.into_iter().chain(numbers));
    }
    table
}

fn tuning(tuning: Option<&TuningRecord>) -> String {
    match tuning {
        Some(tuning) => {
            let end = if tuning.restored {
                "put back, verified"
            } else {
                "NOT VERIFIED AS PUT BACK"
            };
            format!("{} ({end})", tuning.settings)
        }
        None => "none".to_owned(),
    }
}
