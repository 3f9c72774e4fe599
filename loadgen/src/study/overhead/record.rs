//! What `overhead.json` holds, and how a cost is held against its bound.

use serde::{Deserialize, Serialize};
use weir_lab::{provenance::Provenance, record::TopologyRecord};
use weir_load::summary::Validity;

use crate::judge::{Row, Status};

/// What the proxy may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Added mean latency must be below, milliseconds.
    pub mean_ms: f64,
    /// Added 95th percentile must be below, milliseconds.
    pub p95_ms: f64,
    /// CPU of the proxy must be below this share of all cores, 0 to 1.
    pub machine_share: f64,
    /// Growth of the proxy's resident memory from the first run to the last must be below, 0 to 1.
    pub memory_growth: f64,
}

impl Bounds {
    /// The documented ones: < 5 ms on average, < 10 ms at p95, CPU < 5 %, memory growth < 10 %.
    #[must_use]
    pub fn documented() -> Self {
        Self {
            mean_ms: 5.0,
            p95_ms: 10.0,
            machine_share: 0.05,
            memory_growth: 0.10,
        }
    }
}

/// What `overhead.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverheadRecord {
    /// Version of this shape.
    pub format: u32,
    /// Where and with what.
    pub provenance: Provenance,
    /// The load, of both sides.
    pub scenario: serde_json::Value,
    /// The side with the proxy.
    pub topology: Option<TopologyRecord>,
    /// One entry a metric.
    pub added: Vec<Added>,
    /// One entry a pair.
    pub pairs: Vec<Pair>,
    /// What it may cost.
    pub bounds: Bounds,
    /// The cost held against its bounds.
    pub verdict: Vec<Row>,
    /// `passed`, `failed` or `invalid`.
    pub gate: String,
    /// Whether the measurement may be believed.
    pub validity: Validity,
}

impl OverheadRecord {
    /// Version of the shape that this program writes.
    pub const FORMAT: u32 = 1;
}

/// One pair of runs. Latencies are mean, p50, p95 and p99 of the response time, milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pair {
    /// Direct to the replica.
    pub direct_ms: Vec<f64>,
    /// Through the proxy.
    pub proxied_ms: Vec<f64>,
    /// Successes per second, direct.
    pub direct_rps: f64,
    /// Successes per second through the proxy.
    pub proxied_rps: f64,
    /// CPU of the proxy, percent of one core.
    pub proxy_cpu_percent: f64,
    /// The same as share of all cores of the machine, 0 to 1.
    pub machine_share: f64,
    /// CPU of the proxy per request, microseconds.
    pub proxy_us_per_request: f64,
    /// Resident memory of the proxy at the start of its run, bytes.
    pub proxy_rss_start: u64,
    /// At its end.
    pub proxy_rss_end: u64,
}

/// One metric over all pairs, milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Added {
    /// `mean`, `p50`, `p95`, `p99`.
    pub metric: String,
    /// Mean over the direct runs.
    pub direct_ms: f64,
    /// Mean over the runs through the proxy.
    pub proxied_ms: f64,
    /// Mean of what each pair shows as added.
    pub added_ms: f64,
    /// Its 95 % interval; none with fewer than three pairs.
    pub interval_ms: Option<(f64, f64)>,
}

/// Passes when the whole interval lies below the bound, fails when it lies above; in between, the
/// pairs cannot tell. Without an interval the value alone decides, which the note says.
pub(super) fn row(
    metric: &str,
    unit: &str,
    value: f64,
    interval: Option<(f64, f64)>,
    limit: f64,
) -> Row {
    let (status, note) = match interval {
        _ if !value.is_finite() => (Status::NotMeasured, "not sampled".to_owned()),
        Some((_, high)) if high < limit => (Status::Pass, String::new()),
        Some((low, _)) if low >= limit => (Status::Fail, String::new()),
        Some(_) => (
            Status::NotMeasured,
            "the interval holds the bound: more pairs, or a quieter machine".to_owned(),
        ),
        None if value < limit => (Status::Pass, String::new()),
        None => (Status::Fail, String::new()),
    };
    let interval = interval.map_or_else(String::new, |(low, high)| {
        format!(" ({low:.2} … {high:.2})")
    });
    Row {
        metric: metric.to_owned(),
        value: if value.is_finite() {
            format!("{value:+.2} {unit}{interval}")
        } else {
            "–".to_owned()
        },
        threshold: format!("< {limit} {unit}"),
        status,
        note,
    }
}
