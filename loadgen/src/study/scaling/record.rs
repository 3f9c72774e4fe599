//! The result, as `scaling.json` has it.

use serde::Serialize;
use weir_lab::{host::machine::Machine, proxies::tuned::Capacity};

use super::super::{pairs::Pair, rig::ProxyKind};
use crate::stats::Fit;

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct ScalingReport {
    /// Version of this layout.
    pub format: u32,
    /// When it began, RFC 3339, UTC.
    pub at: String,
    /// How long it took, seconds.
    pub took_s: f64,
    /// Where.
    pub machine: Machine,
    /// What each stand-in replica can do by declaration.
    pub capacity: Capacity,
    /// Requests in flight while saturated.
    pub in_flight: u32,
    /// Length of a run, seconds.
    pub run_s: f64,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Each topology.
    pub topologies: Vec<TopologyResult>,
    /// Each number of replicas against one, through the same proxy.
    pub efficiency: Vec<Efficiency>,
    /// Throughput over concurrency.
    pub sweeps: Vec<Sweep>,
    /// `least_conn` against `round_robin` beside a slow replica.
    pub balance: Option<Balance>,
    /// One of two replicas fails.
    pub failing: Vec<Failing>,
    /// Changes of settings that were made for the measurement.
    pub tuning: String,
}

/// One topology, saturated.
#[derive(Debug, Clone, Serialize)]
pub struct TopologyResult {
    /// The proxy, or `direct`.
    pub proxy: ProxyKind,
    /// Replicas.
    pub replicas: usize,
    /// Requests per second of each run.
    pub throughput: Vec<f64>,
    /// Mean of the runs, requests per second.
    pub mean_rps: f64,
    /// Median of the response times in all runs, milliseconds; so below.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Share of requests that failed.
    pub error_rate: f64,
    /// What limits it.
    pub bottleneck: Bottleneck,
}

/// How busy everything was, and what was busiest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bottleneck {
    /// Share of the time in which the generator's thread ran or waited for a core.
    pub generator: f64,
    /// The same of the proxy.
    pub proxy: f64,
    /// Share of the slots' time that was used.
    pub slots: f64,
    /// Requests in flight for each slot.
    pub waiting: f64,
}

impl Bottleneck {
    /// From this share on something counts as saturated.
    pub const SATURATED: f64 = 0.9;

    /// What limits the throughput.
    #[must_use]
    pub fn text(&self) -> &'static str {
        let parts = [
            (self.slots, "replica (its slots)"),
            (self.proxy, "proxy (its CPU)"),
            (self.generator, "generator (its CPU)"),
        ];
        let busiest = parts.iter().max_by(|a, b| a.0.total_cmp(&b.0));
        match busiest {
            Some((share, name)) if *share >= Self::SATURATED => name,
            _ if self.waiting < 1.0 => "none: too few requests in flight",
            _ => "none saturated: waiting for cores or for each other",
        }
    }
}

/// So many replicas against one.
#[derive(Debug, Clone, Serialize)]
pub struct Efficiency {
    /// Through which proxy.
    pub proxy: ProxyKind,
    /// How many.
    pub replicas: usize,
    /// Throughput of one and of so many, by round.
    pub rounds: Vec<Pair>,
    /// X_n / (n · X_1).
    pub efficiency: f64,
    /// Its 95 % interval; none for fewer than three rounds.
    pub interval: Option<(f64, f64)>,
}

/// Throughput over concurrency of one topology.
#[derive(Debug, Clone, Serialize)]
pub struct Sweep {
    /// Through which proxy.
    pub proxy: ProxyKind,
    /// How many replicas.
    pub replicas: usize,
    /// Concurrency and throughput.
    pub points: Vec<crate::stats::usl::Point>,
    /// The fitted law, if there are levels enough.
    pub fit: Option<Fit>,
    /// Why not to trust it, in words.
    pub doubts: Vec<String>,
}

/// Two ways of balancing, one replica of two being slow.
#[derive(Debug, Clone, Serialize)]
pub struct Balance {
    /// What is slow, and how.
    pub slow: String,
    /// 95th percentile in milliseconds by pair: `least_conn`, then `round_robin`.
    pub p95: Vec<Pair>,
    /// Throughput by pair.
    pub throughput: Vec<Pair>,
    /// Relative change of the throughput from `round_robin` to `least_conn`.
    pub gain: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
}

/// One of two replicas closes every connection without an answer, for a while.
#[derive(Debug, Clone, Serialize)]
pub struct Failing {
    /// Through which proxy.
    pub proxy: ProxyKind,
    /// Requests of the run.
    pub requests: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Throughput before, during and after, requests per second.
    pub phases: [f64; 3],
}
