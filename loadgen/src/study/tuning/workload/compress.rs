//! Compressible JSON as fast as it comes: what a response costs the proxy, and how large it is.

use std::time::Duration;

use super::{
    Trial,
    exchange::{Flow, flow},
    tools::quantile_ms,
};
use crate::study::rig::{
    Lab, Rig, RigError,
    client::{Asked, READ},
};

pub(super) const MEASURES: &[&str] = &[
    "proxy_cpu_us",
    "bytes_per_response",
    "proxy_busy",
    "requests_per_second",
    "requests",
    "failed",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "mean_ms",
];

pub(super) struct Shape {
    pub(super) body: u32,
    pub(super) in_flight: u32,
    pub(super) duration: Duration,
    pub(super) accept: bool,
}

pub(super) fn run(lab: &Lab, rig: &mut Rig, shape: &Shape) -> Result<Trial, RigError> {
    let asked = Asked {
        path: format!("{READ}?size={}", shape.body),
        token: rig.token().to_owned(),
        gzip: shape.accept,
    };
    let flow = flow(lab, rig, asked, shape.in_flight, shape.duration)?;
    Ok(summed_up(&flow))
}

/// The figures of a flow.
pub(super) fn summed_up(flow: &Flow) -> Trial {
    let requests = flow.times.len() as f64;
    let seconds = flow.lasted.as_secs_f64().max(f64::EPSILON);
    let busy = (flow.cpu.ran + flow.cpu.waited).as_secs_f64() / seconds;
    let mut trial = Trial::default();
    trial.put("requests", requests);
    trial.put("failed", flow.failed as f64);
    trial.put("requests_per_second", requests / seconds);
    trial.put(
        "proxy_cpu_us",
        flow.cpu.ran.as_secs_f64() * 1e6 / requests.max(1.0),
    );
    trial.put("proxy_busy", busy);
    trial.put("bytes_per_response", flow.bytes as f64 / requests.max(1.0));
    for (name, share) in [("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)] {
        trial.put(name, quantile_ms(flow.times.iter().copied(), share));
    }
    let sum: Duration = flow.times.iter().sum();
    trial.put("mean_ms", sum.as_secs_f64() * 1e3 / requests.max(1.0));
    trial.line("proxy CPU, µs a response", flow.cpu_over_time.clone());
    trial
}
