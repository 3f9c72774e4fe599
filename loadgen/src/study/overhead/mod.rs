//! What the proxy itself costs: through it against direct, in interleaved pairs, judged by bounds.
//!
//! Both topologies stand side by side and take turns (A B, B A, …), so that drift of the machine
//! cancels. The unit of evidence is a pair of runs: what is added is the difference within each
//! pair, and its mean has an interval.

pub(crate) mod page;
mod record;

use weir_lab::{error::TopologyError, provenance::Provenance, topology::TopologySpec};
use weir_load::{
    scenario::Scenario,
    stop::StopToken,
    summary::{Latency, ProcessSummary, Reasons, Summary},
};

use crate::{
    exit::Usage,
    judge::{Row, gate},
    measure::{Setup, side::Side},
    results::{RunFolder, now_utc},
    stats::estimate,
    view::lines_unless,
};
pub use record::{Added, Bounds, OverheadRecord, Pair};

/// Seed of the resampling: the same pairs give the same interval.
const SEED: u64 = 1;
/// Name of the proxy's process.
const PROXY: &str = "weir";
/// Name of a metric and how it is read.
type Metric = (&'static str, fn(&Latency) -> f64);
/// Metrics of latency that are compared.
const METRICS: [Metric; 4] = [
    ("mean", |l| l.mean_ms),
    ("p50", |l| l.p50_ms),
    ("p95", |l| l.p95_ms),
    ("p99", |l| l.p99_ms),
];

/// How the cost is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The load, of both sides.
    pub scenario: Scenario,
    /// Without the proxy.
    pub direct: TopologySpec,
    /// With it, and as many replicas.
    pub proxied: TopologySpec,
    /// Pairs of runs; an interval needs three.
    pub pairs: u32,
    /// What it may cost.
    pub bounds: Bounds,
    /// No progress.
    pub quiet: bool,
}

/// Measures what the proxy costs. Summaries of all runs go to `folder`.
///
/// # Errors
///
/// When a topology does not fit, processes cannot be started, a run cannot be made, limits are not
/// back afterwards, or the user stops it.
pub fn measure_overhead(
    plan: &Plan,
    setup: &Setup,
    folder: &RunFolder,
    stop: &StopToken,
) -> anyhow::Result<OverheadRecord> {
    let created_at = now_utc();
    let mut sides = Vec::new();
    for spec in [&plan.direct, &plan.proxied] {
        let logs = folder.path().join(&spec.name);
        let side = Side::start(spec, &[&plan.scenario], setup, &logs, stop)
            .map_err(crate::measure::as_usage)?;
        sides.push(side);
    }
    let mut pairs = Vec::new();
    let mut reasons = Reasons::default();
    for number in 1..=plan.pairs {
        let order = if number % 2 == 1 { [0, 1] } else { [1, 0] };
        let mut found: [Option<Summary>; 2] = [None, None];
        for index in order {
            let name = if index == 0 { "direct" } else { "proxied" };
            let Some(side) = sides.get_mut(index) else {
                continue;
            };
            let label = format!("[pair {number}/{}] {name:<7}", plan.pairs);
            let progress = lines_unless(plan.quiet, label);
            let summary = side.run(&plan.scenario, setup, progress, stop)?.summary;
            if stop.is_stopped() {
                return Err(TopologyError::Stopped.into());
            }
            reasons.note(&format!("pair {number}, {name}"), &summary);
            folder.write_json(&format!("pair-{number}-{name}.json"), &summary)?;
            if let Some(slot) = found.get_mut(index) {
                *slot = Some(summary);
            }
        }
        if let [Some(direct), Some(proxied)] = &found {
            pairs.push(pair(direct, proxied));
        }
    }
    let topology = sides.get(1).and_then(Side::record);
    for side in &mut sides {
        if let Some(tuning) = side.put_back().filter(|tuning| !tuning.restored) {
            anyhow::bail!(
                "the raised limits are not verified as put back: {}",
                tuning.problem
            );
        }
    }
    drop(sides);
    let rows = judge_pairs(&pairs, &plan.bounds);
    let validity = reasons.validity();
    let gate = gate(&rows, &validity);
    Ok(OverheadRecord {
        format: OverheadRecord::FORMAT,
        provenance: Provenance::collect(created_at),
        scenario: serde_json::to_value(&plan.scenario).unwrap_or_default(),
        topology,
        added: added(&pairs),
        pairs,
        bounds: plan.bounds,
        verdict: rows,
        gate: gate.text().to_owned(),
        validity,
    })
}

/// Whether the two sides can be compared at all.
///
/// # Errors
///
/// [`Usage`] with what would be right.
pub fn check(plan: &Plan) -> anyhow::Result<()> {
    if plan.pairs == 0 {
        return Err(Usage::new("--pairs must be at least 1; 3 have an interval").into());
    }
    if plan.direct.proxy || !plan.proxied.proxy {
        return Err(Usage::new(
            "the overhead is that of a topology with the proxy against one without: --direct and --topology",
        )
        .into());
    }
    if plan.proxied.replicas != 1 || plan.proxied.replica != plan.direct.replica {
        return Err(Usage::new(
            "both sides need one replica of the same capacity: otherwise capacity and proxy would change at once",
        )
        .into());
    }
    Ok(())
}

/// What one pair shows.
fn pair(direct: &Summary, proxied: &Summary) -> Pair {
    let values = |summary: &Summary| METRICS.map(|(_, value)| value(&summary.response)).to_vec();
    let proxy = proxied
        .processes
        .iter()
        .find(|process| process.name == PROXY);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let of = |value: fn(&ProcessSummary) -> f64| proxy.map_or(0.0, value);
    Pair {
        direct_ms: values(direct),
        proxied_ms: values(proxied),
        direct_rps: direct.throughput_rps,
        proxied_rps: proxied.throughput_rps,
        proxy_cpu_percent: of(|process| process.cpu_percent),
        machine_share: of(|process| process.cpu_percent) / 100.0 / cores,
        proxy_us_per_request: of(|process| process.cpu_s) * 1e6 / proxied.requests.max(1) as f64,
        proxy_rss_start: proxy.map_or(0, |process| process.rss_start),
        proxy_rss_end: proxy.map_or(0, |process| process.rss_end),
    }
}

/// The mean of each metric over all pairs, and of what was added, with its interval.
#[must_use]
pub fn added(pairs: &[Pair]) -> Vec<Added> {
    let count = pairs.len().max(1) as f64;
    METRICS
        .iter()
        .enumerate()
        .map(|(at, (metric, _))| {
            let of = |values: &[f64]| values.get(at).copied().unwrap_or_default();
            let mean = |value: fn(&Pair) -> &[f64]| {
                pairs.iter().map(|pair| of(value(pair))).sum::<f64>() / count
            };
            let (direct_ms, proxied_ms) = (mean(|p| &p.direct_ms), mean(|p| &p.proxied_ms));
            let differences: Vec<_> = pairs
                .iter()
                .map(|pair| of(&pair.proxied_ms) - of(&pair.direct_ms))
                .collect();
            Added {
                metric: (*metric).to_owned(),
                direct_ms,
                proxied_ms,
                added_ms: proxied_ms - direct_ms,
                interval_ms: estimate(&differences, SEED).map(|e| (e.low, e.high)),
            }
        })
        .collect()
}

/// Holds the cost against its bounds.
#[must_use]
pub fn judge_pairs(pairs: &[Pair], bounds: &Bounds) -> Vec<Row> {
    let mut rows = Vec::new();
    let limits = [("mean", bounds.mean_ms), ("p95", bounds.p95_ms)];
    for added in added(pairs) {
        let Some((_, limit)) = limits.iter().find(|(metric, _)| *metric == added.metric) else {
            continue;
        };
        let name = format!("added latency, {}", added.metric);
        rows.push(record::row(
            &name,
            "ms",
            added.added_ms,
            added.interval_ms,
            *limit,
        ));
    }
    let shares: Vec<_> = pairs
        .iter()
        .map(|pair| pair.machine_share * 100.0)
        .collect();
    let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    let interval = estimate(&shares, SEED).map(|e| (e.low, e.high));
    rows.push(record::row(
        "proxy CPU, share of the machine",
        "%",
        mean,
        interval,
        bounds.machine_share * 100.0,
    ));
    let (first, last) = (pairs.first(), pairs.last());
    let growth = match (
        first.map(|p| p.proxy_rss_end),
        last.map(|p| p.proxy_rss_end),
    ) {
        (Some(before), Some(after)) if before > 0 => {
            (after as f64 - before as f64) * 100.0 / before as f64
        }
        _ => f64::NAN,
    };
    rows.push(record::row(
        "proxy memory, first run to last",
        "%",
        growth,
        None,
        bounds.memory_growth * 100.0,
    ));
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::judge::Status;

    fn pairs(added: &[f64]) -> Vec<Pair> {
        let one = |added: &f64| Pair {
            direct_ms: vec![10.0, 10.0, 11.0, 12.0],
            proxied_ms: vec![10.0 + added, 10.0 + added, 11.0 + added, 12.0 + added],
            direct_rps: 600.0,
            proxied_rps: 600.0,
            proxy_cpu_percent: 6.0,
            machine_share: 0.03,
            proxy_us_per_request: 100.0,
            proxy_rss_start: 10_000_000,
            proxy_rss_end: 10_200_000,
        };
        added.iter().map(one).collect()
    }

    fn status(added: &[f64]) -> Vec<Status> {
        let rows = judge_pairs(&pairs(added), &Bounds::documented());
        rows.iter().map(|row| row.status).collect()
    }

    #[test]
    fn a_small_cost_passes_and_has_an_interval() {
        let all = pairs(&[0.2, 0.3, 0.25, 0.28]);
        let mean = &added(&all)[0];
        let (low, high) = mean.interval_ms.unwrap();
        assert!(
            low < mean.added_ms && mean.added_ms < high && high < 1.0,
            "{mean:?}"
        );
        assert_eq!(status(&[0.2, 0.3, 0.25, 0.28]), [Status::Pass; 4]);
    }

    #[test]
    fn a_large_cost_fails_and_a_scattered_one_is_not_known() {
        assert_eq!(status(&[7.0, 7.1, 7.2, 6.9])[0], Status::Fail);
        let scattered = status(&[0.0, 9.0, 1.0, 8.0]);
        assert_eq!(
            scattered[0],
            Status::NotMeasured,
            "the interval holds the bound"
        );
        // Without an interval only the mean is left.
        assert_eq!(status(&[0.2])[0], Status::Pass);
    }
}
