//! Key figures of runs for machines: one line or one object a run.

use serde::Serialize;
use weir_load::summary::Verdict;

use super::overlay::Run;

/// Key figures of one run. Names are those of the columns of the CSV; a later version may add some,
/// but none changes its meaning.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line {
    run: String,
    scenario: String,
    label: String,
    target: String,
    commit: String,
    started_at: String,
    duration_s: f64,
    gate: String,
    validity: Verdict,
    requests: u64,
    ok: u64,
    limited: u64,
    errors: u64,
    unsent: u64,
    error_rate: f64,
    throughput_rps: f64,
    intended_rps: Option<f64>,
    min_ms: f64,
    mean_ms: f64,
    stdev_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    service_p50_ms: f64,
    service_p99_ms: f64,
    send_lag_p99_ms: Option<f64>,
}

/// The key figures of a run.
pub(super) fn line((record, summary): &Run) -> Line {
    let latency = &summary.response;
    Line {
        run: record.id.clone(),
        scenario: summary.scenario.clone(),
        label: record.label.clone(),
        target: record.targets.join(" "),
        commit: record.provenance.commit.label(),
        started_at: summary.started_at.clone(),
        duration_s: summary.duration_s,
        gate: record.gate.clone(),
        validity: summary.validity.verdict,
        requests: summary.requests,
        ok: summary.ok,
        limited: summary.limited,
        errors: summary.errors,
        unsent: summary.unsent,
        error_rate: summary.error_rate,
        throughput_rps: summary.throughput_rps,
        intended_rps: summary.intended_rps,
        min_ms: latency.min_ms,
        mean_ms: latency.mean_ms,
        stdev_ms: latency.stdev_ms,
        p50_ms: latency.p50_ms,
        p90_ms: latency.p90_ms,
        p95_ms: latency.p95_ms,
        p99_ms: latency.p99_ms,
        p999_ms: latency.p999_ms,
        max_ms: latency.max_ms,
        service_p50_ms: summary.service.p50_ms,
        service_p99_ms: summary.service.p99_ms,
        send_lag_p99_ms: summary.send_lag.as_ref().map(|lag| lag.p99_ms),
    }
}

/// One object a run.
pub(crate) fn json(runs: &[Run]) -> serde_json::Result<String> {
    let lines: Vec<_> = runs.iter().map(line).collect();
    Ok(serde_json::to_string_pretty(&lines)? + "\n")
}

/// A header and one line a run.
pub(crate) fn csv(runs: &[Run]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for run in runs {
        writer.serialize(line(run))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
