//! A plain summary for terminals.

use std::fmt::Write as _;

use super::Target;
use crate::{
    scenario::{Load, Scenario, Thresholds},
    summary::{Latency, Summary, Verdict},
    units::format_duration,
};

/// What is about to be done.
pub(super) fn opening(scenario: &Scenario, target: &Target) -> String {
    let load = match &scenario.load {
        Load::Closed(closed) => format!("{} users", closed.users),
        Load::Open(_) => format!(
            "{:.0} requests/s over up to {} connections",
            scenario.intended_rate().unwrap_or_default().get(),
            scenario.connections
        ),
    };
    let targets: Vec<_> = target.base_urls().iter().map(ToString::to_string).collect();
    format!(
        "{}: {load} for {} after {} of warm-up, {} engine, to {}",
        scenario.name,
        format_duration(scenario.duration),
        format_duration(scenario.warmup),
        scenario.engine.name(),
        targets.join(" and ")
    )
}

/// Key figures as text.
pub(super) fn summary(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = write_summary(&mut out, summary);
    out
}

fn write_summary(out: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(
        out,
        "{} requests in {:.1} s: {} ok, {} limited (429), {} errors ({:.3} %)",
        summary.requests,
        summary.duration_s,
        summary.ok,
        summary.limited,
        summary.errors,
        summary.error_rate * 100.0
    )?;
    write!(out, "throughput     {:10.1} ok/s", summary.throughput_rps)?;
    match summary.intended_rps {
        Some(intended) => writeln!(
            out,
            "  (intended {intended:.1}/s, {} unsent)",
            summary.unsent
        )?,
        None => writeln!(out)?,
    }
    line(out, "response time", &summary.response)?;
    line(out, "service time", &summary.service)?;
    if let Some(lag) = &summary.send_lag {
        line(out, "send lag", lag)?;
    }
    for endpoint in &summary.endpoints {
        writeln!(
            out,
            "  {:<24} {:<6} {:8} requests  {:6} errors  p50 {:8.2} ms  p99 {:8.2} ms",
            endpoint.name,
            endpoint.method,
            endpoint.requests,
            endpoint.errors,
            endpoint.response.p50_ms,
            endpoint.response.p99_ms
        )?;
    }
    for failure in &summary.failures {
        writeln!(
            out,
            "  {:<24} {:8} ({:.3} %): {}",
            failure.kind, failure.count, failure.percent, failure.likely_cause
        )?;
    }
    let verdict = match summary.validity.verdict {
        Verdict::Valid => "valid",
        Verdict::Suspect => "suspect",
        Verdict::Invalid => "INVALID",
    };
    writeln!(out, "measurement    {verdict}")?;
    for reason in &summary.validity.reasons {
        writeln!(out, "  - {reason}")?;
    }
    Ok(())
}

fn line(out: &mut String, name: &str, latency: &Latency) -> std::fmt::Result {
    writeln!(
        out,
        "{name:<14} p50 {:8.3}  p95 {:8.3}  p99 {:8.3}  p99.9 {:8.3}  max {:8.3}  mean {:8.3} ms",
        latency.p50_ms,
        latency.p95_ms,
        latency.p99_ms,
        latency.p999_ms,
        latency.max_ms,
        latency.mean_ms
    )
}

/// Thresholds that are not met, as sentences.
pub(super) fn missed(thresholds: &Thresholds, summary: &Summary) -> Vec<String> {
    let mut missed = Vec::new();
    let latencies = [
        ("p50", thresholds.p50, summary.response.p50_ms),
        ("p95", thresholds.p95, summary.response.p95_ms),
        ("p99", thresholds.p99, summary.response.p99_ms),
    ];
    for (name, threshold, ms) in latencies {
        if let Some(limit) = threshold
            && ms >= limit.as_secs_f64() * 1e3
        {
            let limit = format_duration(limit);
            missed.push(format!("{name} is {ms:.2} ms, must be below {limit}"));
        }
    }
    if let Some(limit) = thresholds.error_rate
        && summary.error_rate >= limit
    {
        missed.push(format!(
            "error rate is {:.3} %, must be below {:.3} %",
            summary.error_rate * 100.0,
            limit * 100.0
        ));
    }
    if let Some(limit) = thresholds.min_throughput
        && summary.throughput_rps <= limit.get()
    {
        missed.push(format!(
            "throughput is {:.1}/s, must be above {limit}",
            summary.throughput_rps
        ));
    }
    missed
}
