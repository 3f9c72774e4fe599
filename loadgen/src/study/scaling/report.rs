//! The result for people: tables of at most 100 columns, and a page.

use std::fmt::Write as _;

use weir_lab::provenance::Provenance;

use super::{
    super::{
        rig::ProxyKind,
        tuning::print::{number, percent},
    },
    record::{Efficiency, ScalingReport, Sweep, TopologyResult},
};
use crate::{
    page::{
        PageError,
        chart::{Axis, Ink, Plot, Series, Shape},
        document::{Document, Part, Tone},
    },
    text::{plain_table, wrapped},
};

/// An interval of the efficiency whose ends are farther apart than this factor supports nothing.
const TOO_WIDE: f64 = 1.5;

const PASS: &str = "✓ pass";
const FAIL: &str = "✗ FAIL";
const NOT_REACHABLE: &str = "– not reachable";

/// The documented gate: metric, threshold, value, whether it is met.
fn gate(report: &ScalingReport, result: &TopologyResult) -> Vec<[String; 4]> {
    let declared = report.capacity.rps() * result.replicas as f64;
    // With so many in flight a request takes that long at the declared capacity (Little's law).
    let least_ms = f64::from(report.in_flight) / declared * 1e3;
    let below = |name: &str, value: f64, limit: f64, unit: &str| {
        let status = match value < limit {
            true => PASS,
            false if unit == " ms" && least_ms >= limit => NOT_REACHABLE,
            false => FAIL,
        };
        [
            name.to_owned(),
            format!("{}{unit}", number(value)),
            format!("< {limit}{unit}"),
            status.to_owned(),
        ]
    };
    let mut rows = vec![
        below("p50", result.p50_ms, 50.0, " ms"),
        below("p95", result.p95_ms, 100.0, " ms"),
        below("p99", result.p99_ms, 200.0, " ms"),
        below("error rate", result.error_rate * 100.0, 0.1, " %"),
    ];
    rows.push([
        "throughput".to_owned(),
        format!("{:.0}/s", result.mean_rps),
        "> 500/s".to_owned(),
        match result.mean_rps > 500.0 {
            true => PASS,
            // What the stand-ins cannot do by declaration says nothing about the proxy.
            false if declared <= 500.0 => NOT_REACHABLE,
            false => FAIL,
        }
        .to_owned(),
    ]);
    rows
}

/// What was changed for the measurement, where there is a proxy to change it at.
fn tuning<'a>(report: &'a ScalingReport, result: &TopologyResult) -> &'a str {
    match result.proxy {
        ProxyKind::Direct => "none, there is no proxy",
        _ => &report.tuning,
    }
}

fn limited_by(report: &ScalingReport, result: &TopologyResult) -> String {
    let busy = &result.bottleneck;
    format!(
        "Limited by: {} (slots {:.0} %, proxy {:.0} %, generator {:.0} % of a core). Tuning applied: {}.",
        busy.text(),
        busy.slots * 100.0,
        busy.proxy * 100.0,
        busy.generator * 100.0,
        tuning(report, result)
    )
}

fn name(result: &TopologyResult) -> String {
    match result.replicas {
        1 => format!("{}, 1 replica", result.proxy.name()),
        many => format!("{}, {many} replicas", result.proxy.name()),
    }
}

pub(super) fn replicas_text(count: usize) -> String {
    match count {
        1 => "1 replica".to_owned(),
        many => format!("{many} replicas"),
    }
}

fn efficiency_text(entry: &Efficiency) -> String {
    let interval = match entry.interval {
        Some((low, high)) if high > low * TOO_WIDE => {
            format!("95 % interval {low:.3} to {high:.3}: this machine is too noisy now to tell")
        }
        Some((low, high)) => format!("95 % interval {low:.3} to {high:.3}"),
        None => "no interval: fewer than three rounds".to_owned(),
    };
    format!(
        "{}, {} replicas: E = X{n} / ({n}·X1) = {:.3} ({interval}, {} rounds)",
        entry.proxy.name(),
        entry.replicas,
        entry.efficiency,
        entry.rounds.len(),
        n = entry.replicas
    )
}

fn sweep_text(sweep: &Sweep) -> String {
    let fitted = match &sweep.fit {
        None => "no fit".to_owned(),
        Some(fit) => {
            let peak = match (fit.peak, fit.limit) {
                (Some(peak), _) => format!(
                    "peak {:.0}/s at {:.0} in flight",
                    peak.throughput, peak.concurrency
                ),
                (None, Some(limit)) => format!("no peak; limit {limit:.0}/s"),
                (None, None) => "no peak".to_owned(),
            };
            format!(
                "σ {:.4}, κ {:.6}, {peak}, residuals {:.1} %",
                fit.sigma,
                fit.kappa,
                fit.residual * 100.0
            )
        }
    };
    let trust = if sweep.doubts.is_empty() {
        "nothing speaks against the fit".to_owned()
    } else {
        format!("not to be trusted: {}", sweep.doubts.join("; "))
    };
    format!("{}: {fitted}; {trust}", replicas_text(sweep.replicas))
}

/// Everything as text.
pub(crate) fn text(report: &ScalingReport) -> String {
    let mut out = String::new();
    let head = format!(
        "{}, {} cores · replicas of {} slots × {} ms, {:.0}/s each by declaration · {} rounds of {} s, {} in flight",
        report.machine.cpu,
        report.machine.cores,
        report.capacity.slots,
        report.capacity.service_time.as_millis(),
        report.capacity.rps(),
        report.rounds,
        report.run_s,
        report.in_flight
    );
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", wrapped(&head, "", ""));
    for result in &report.topologies {
        let mut table = plain_table(&["metric", "value", "threshold", "status"]);
        for row in gate(report, result) {
            table.add_row(row);
        }
        let limit = limited_by(report, result);
        let _ = writeln!(
            out,
            "\n{}\n{table}\n{}",
            name(result),
            wrapped(&limit, "  ", "  ")
        );
    }
    let mut list = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = writeln!(out, "\n{title}:");
            for line in lines {
                let _ = writeln!(out, "{}", wrapped(&line, "  - ", "    "));
            }
        }
    };
    list(
        "Efficiency",
        report.efficiency.iter().map(efficiency_text).collect(),
    );
    list(
        "Universal Scalability Law, through weir",
        report.sweeps.iter().map(sweep_text).collect(),
    );
    list(
        "One slow replica",
        balance_text(report).into_iter().collect(),
    );
    list("One failing replica", failing_text(report));
    out
}

fn balance_text(report: &ScalingReport) -> Option<String> {
    let balance = report.balance.as_ref()?;
    let count = balance.p95.len().max(1) as f64;
    let mean = |side: fn(&super::super::pairs::Pair) -> f64| {
        balance.p95.iter().map(side).sum::<f64>() / count
    };
    let gain = match (balance.gain, balance.interval) {
        (Some(gain), Some((low, high))) => {
            format!("{} ({} to {})", percent(gain), percent(low), percent(high))
        }
        _ => "–".to_owned(),
    };
    Some(format!(
        "{}: throughput of least_conn against round_robin {gain}; p95 {} ms instead of {} ms",
        balance.slow,
        number(mean(|pair| pair.b)),
        number(mean(|pair| pair.a)),
    ))
}

fn failing_text(report: &ScalingReport) -> Vec<String> {
    report
        .failing
        .iter()
        .map(|case| {
            let [before, during, after] = case.phases;
            format!(
                "{}: {} of {} requests failed; {before:.0}/s before, {during:.0}/s while it fails, {after:.0}/s after",
                case.proxy.name(),
                case.failed,
                case.requests
            )
        })
        .collect()
}

/// The page.
pub(crate) fn page(report: &ScalingReport) -> Result<String, PageError> {
    let provenance = Provenance::collect(report.at.clone());
    let mut document = Document::new("What further replicas buy".into(), &provenance).lead(format!(
        "Stand-in replicas with {} slots × {} ms: {:.0} requests/s each by declaration. {} interleaved rounds of {} s with {} requests in flight.",
        report.capacity.slots,
        report.capacity.service_time.as_millis(),
        report.capacity.rps(),
        report.rounds,
        report.run_s,
        report.in_flight
    ));
    for entry in &report.efficiency {
        let tone = if entry.efficiency >= 0.95 {
            Tone::Good
        } else {
            Tone::Warn
        };
        let text = format!(
            "{} × {}: E = {:.2}",
            entry.proxy.name(),
            entry.replicas,
            entry.efficiency
        );
        document = document.badge(text, tone);
    }
    let text = |title: &str, paragraphs: Vec<String>| Part::Text {
        title: title.to_owned(),
        paragraphs,
    };
    document = document.part(overview(report)).part(text(
        "Efficiency",
        report.efficiency.iter().map(efficiency_text).collect(),
    ));
    if !report.sweeps.is_empty() {
        document = document
            .part(Part::Charts(vec![sweep_plot(report)]))
            .part(text(
                "Universal Scalability Law",
                report.sweeps.iter().map(sweep_text).collect(),
            ));
    }
    let mut rest: Vec<String> = balance_text(report).into_iter().collect();
    rest.extend(failing_text(report));
    if !rest.is_empty() {
        document = document.part(text("A slow and a failing replica", rest));
    }
    for result in &report.topologies {
        document = document.part(Part::Table {
            title: name(result),
            header: ["metric", "value", "threshold", "status"]
                .map(str::to_owned)
                .to_vec(),
            rows: gate(report, result)
                .into_iter()
                .map(|row| row.to_vec())
                .collect(),
            note: limited_by(report, result),
        });
    }
    document.render()
}

/// All topologies side by side.
fn overview(report: &ScalingReport) -> Part {
    let header = [
        "topology",
        "requests/s",
        "p50",
        "p95",
        "p99",
        "errors",
        "limited by",
    ];
    let row = |result: &TopologyResult| {
        let ms = |value: f64| format!("{} ms", number(value));
        vec![
            name(result),
            format!("{:.0}", result.mean_rps),
            ms(result.p50_ms),
            ms(result.p95_ms),
            ms(result.p99_ms),
            format!("{} %", number(result.error_rate * 100.0)),
            result.bottleneck.text().to_owned(),
        ]
    };
    Part::Table {
        title: "Saturated".into(),
        header: header.map(str::to_owned).to_vec(),
        rows: report.topologies.iter().map(row).collect(),
        note: "Side by side, in turns. The same number of requests is in flight everywhere, so fewer replicas mean longer waits.".into(),
    }
}

/// Mean throughput at each level, which was measured on the way up and on the way down.
fn levels(sweep: &Sweep) -> Vec<(f64, Option<f64>)> {
    let mut sums: Vec<(f64, f64, f64)> = Vec::new();
    for point in &sweep.points {
        match sums.iter_mut().find(|sum| sum.0 == point.concurrency) {
            Some(sum) => *sum = (sum.0, sum.1 + point.throughput, sum.2 + 1.0),
            None => sums.push((point.concurrency, point.throughput, 1.0)),
        }
    }
    sums.sort_by(|a, b| a.0.total_cmp(&b.0));
    sums.into_iter()
        .map(|(at, sum, count)| (at, Some(sum / count)))
        .collect()
}

/// Measured points and fitted curves.
fn sweep_plot(report: &ScalingReport) -> Plot {
    let mut series = Vec::new();
    for (index, sweep) in report.sweeps.iter().enumerate() {
        let points = levels(sweep);
        let fitted = sweep.fit.as_ref().map(|fit| {
            points
                .iter()
                .map(|(n, _)| (*n, Some(fit.at(*n))))
                .collect::<Vec<_>>()
        });
        series.push(Series {
            name: replicas_text(sweep.replicas),
            ink: Ink::ranked(index),
            shape: Shape::Line,
            points,
        });
        if let Some(points) = fitted {
            series.push(Series {
                name: format!("{}, fitted law", replicas_text(sweep.replicas)),
                ink: Ink::ranked(index),
                shape: Shape::Dashed,
                points,
            });
        }
    }
    let all = || series.iter().flat_map(|s| s.points.iter());
    let right = all().map(|(x, _)| *x).fold(1.0, f64::max);
    let top = all().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    Plot {
        id: "sweep".into(),
        title: "Throughput over concurrency".into(),
        hint: "Requests in flight, and answers per second; dashed: the fitted law.".into(),
        x: Axis::from_zero(right, ""),
        y: Axis::from_zero(top, "/s"),
        series,
    }
}
