//! The figures of a run that are compared.

use weir_load::{
    slo::{Metric, Statistic, Time, Unit},
    summary::{Latency, Summary},
};

/// One figure of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Its name, as rules write it: `p95`, `login: p95`, `memory of weir`.
    pub name: String,
    /// Its value, in its unit.
    pub value: f64,
    /// Unit of the value.
    pub unit: FigureUnit,
    /// Whether a greater value is a better one.
    pub more_is_better: bool,
}

/// Unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureUnit {
    /// A unit of a metric.
    Metric(Unit),
    /// Bytes.
    Bytes,
    /// Microseconds.
    Microseconds,
}

/// The generator is the instrument, and not under test.
const GENERATOR: &str = "generator";

/// Every figure that is compared, in the order of a report.
#[must_use]
pub fn figures(summary: &Summary) -> Vec<Figure> {
    let mut list = Vec::new();
    if summary.requests == 0 {
        return list;
    }
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    list.push(of(None, Metric::Throughput, summary.throughput_rps));
    list.push(of(None, Metric::Errors, summary.error_rate));
    list.push(of(
        None,
        Metric::Limited,
        share(summary.limited, summary.requests),
    ));
    latencies(&mut list, None, Time::Response, &summary.response);
    latencies(&mut list, None, Time::Service, &summary.service);
    for endpoint in summary.endpoints.iter().filter(|of| of.requests > 0) {
        let name = Some(endpoint.name.as_str());
        list.push(of(
            name,
            Metric::Errors,
            share(endpoint.errors, endpoint.requests),
        ));
        latencies(&mut list, name, Time::Response, &endpoint.response);
    }
    for process in summary.processes.iter().filter(|of| of.name != GENERATOR) {
        list.push(Figure {
            name: format!("memory of {}", process.name),
            value: process.rss_max as f64,
            unit: FigureUnit::Bytes,
            more_is_better: false,
        });
        list.push(Figure {
            name: format!("CPU per request of {}", process.name),
            value: process.cpu_s * 1e6 / summary.requests as f64,
            unit: FigureUnit::Microseconds,
            more_is_better: false,
        });
    }
    list
}

fn latencies(list: &mut Vec<Figure>, endpoint: Option<&str>, time: Time, latency: &Latency) {
    if latency.count == 0 {
        return;
    }
    for (statistic, value) in [
        (Statistic::Mean, latency.mean_ms),
        (Statistic::Percentile(50.0), latency.p50_ms),
        (Statistic::Percentile(95.0), latency.p95_ms),
        (Statistic::Percentile(99.0), latency.p99_ms),
        (Statistic::Percentile(99.9), latency.p999_ms),
    ] {
        // The far tail of a single endpoint, or of the second latency, is more noise than news.
        let far = statistic == Statistic::Percentile(99.9);
        if !(far && (endpoint.is_some() || time == Time::Service)) {
            list.push(of(endpoint, Metric::Latency { time, statistic }, value));
        }
    }
}

fn of(endpoint: Option<&str>, metric: Metric, value: f64) -> Figure {
    Figure {
        name: figure_name(endpoint, &metric),
        value,
        unit: FigureUnit::Metric(metric.unit()),
        more_is_better: metric.more_is_better(),
    }
}

/// The name of a metric, with the endpoint that it is about.
pub(super) fn figure_name(endpoint: Option<&str>, metric: &Metric) -> String {
    match endpoint {
        Some(endpoint) => format!("{endpoint}: {metric}"),
        None => metric.to_string(),
    }
}
