//! What the proxy costs: the same load through it and direct to a replica.

use weir_load::summary::Latency;

use super::Measured;
use crate::results::{Overhead, OverheadRow};

/// Microseconds in a second.
const US: f64 = 1e6;

/// Compares a run through the proxy with a direct one.
#[must_use]
pub fn overhead(direct: &Measured, proxied: &Measured) -> Overhead {
    let (a, b) = (&direct.summary.response, &proxied.summary.response);
    let row = |metric: &str, value: fn(&Latency) -> f64| OverheadRow {
        metric: metric.to_owned(),
        direct_ms: value(a),
        proxy_ms: value(b),
        added_ms: value(b) - value(a),
    };
    let proxy = proxied
        .summary
        .processes
        .iter()
        .find(|process| process.name == "weir");
    Overhead {
        against: direct.record.id.clone(),
        rows: vec![
            row("mean", |latency| latency.mean_ms),
            row("p50", |latency| latency.p50_ms),
            row("p95", |latency| latency.p95_ms),
            row("p99", |latency| latency.p99_ms),
        ],
        proxy_cpu_us_per_request: proxy.map_or(0.0, |process| {
            process.cpu_s * US / (proxied.summary.requests.max(1) as f64)
        }),
        proxy_cpu_percent: proxy.map_or(0.0, |process| process.cpu_percent),
    }
}
