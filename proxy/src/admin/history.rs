//! The last five minutes, second by second: rates, latencies and what is in flight, for live views.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{task::spawn_blocking, time::Instant};
use weir_api::admin::Moment;

use super::AdminState;

/// Seconds that are kept.
const KEPT: usize = 300;
const EVERY: Duration = Duration::from_secs(1);

/// What is kept; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct History(Arc<Mutex<VecDeque<Moment>>>);

impl History {
    /// The last so many seconds, oldest first.
    pub(super) fn last(&self, seconds: usize) -> Vec<Moment> {
        let kept = self.0.lock();
        kept.iter()
            .skip(kept.len().saturating_sub(seconds))
            .cloned()
            .collect()
    }

    fn push(&self, moment: Moment) {
        let mut kept = self.0.lock();
        kept.push_back(moment);
        while kept.len() > KEPT {
            kept.pop_front();
        }
    }
}

/// Looks at the counters once a second. Runs until it is dropped.
pub(super) async fn keep(state: AdminState) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<(Instant, Counters)> = None;
    loop {
        tick.tick().await;
        let now = Instant::now();
        let look = Arc::clone(&state.stats);
        let Ok(counters) = spawn_blocking(move || Counters::of(&look())).await else {
            continue;
        };
        if let Some((then, old)) = &before {
            let seconds = (now - *then).as_secs_f64();
            let at = state.store.timestamp();
            state.history.push(counters.since(old, seconds, at));
        }
        before = Some((now, counters));
    }
}

/// Counters at one time, over all routes.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counters {
    /// Requests by the first digit of their status, 1 to 5.
    by_class: [f64; 6],
    limited: f64,
    /// Upper bounds in seconds, and how many requests took at most that.
    buckets: Vec<(f64, f64)>,
    in_flight: f64,
    clients: f64,
    upstream: f64,
    cpu_seconds: f64,
    memory: f64,
}

impl Counters {
    /// Reads them from the answer of `/v1/stats`.
    fn of(stats: &Value) -> Self {
        let mut counters = Self::default();
        let family = |name: &str| {
            let series = stats.pointer(&format!("/metrics/{name}"));
            series.and_then(Value::as_array).into_iter().flatten()
        };
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let gauge = |name: &str| family(name).map(|one| number(&one["value"])).sum();
        for one in family("weir_requests_total") {
            let code = one["labels"]["code"].as_str().unwrap_or_default();
            let class = code
                .bytes()
                .next()
                .map_or(0, |b| usize::from(b.wrapping_sub(b'0')));
            if let Some(slot) = counters.by_class.get_mut(class) {
                *slot += number(&one["value"]);
            }
            if code == "429" {
                counters.limited += number(&one["value"]);
            }
        }
        for one in family("weir_request_duration_seconds") {
            let buckets = one["buckets"].as_array().into_iter().flatten();
            for (n, bucket) in buckets.enumerate() {
                let (bound, count) = (number(&bucket[0]), number(&bucket[1]));
                match counters.buckets.get_mut(n) {
                    Some(known) => known.1 += count,
                    None => counters.buckets.push((bound, count)),
                }
            }
        }
        for one in family("weir_connections") {
            match one["labels"]["side"].as_str() {
                Some("client") => counters.clients = number(&one["value"]),
                Some("upstream") => counters.upstream = number(&one["value"]),
                _ => {}
            }
        }
        counters.in_flight = gauge("weir_requests_in_flight");
        counters.cpu_seconds = gauge("process_cpu_seconds_total");
        counters.memory = gauge("process_resident_memory_bytes");
        counters
    }

    /// What happened between two times.
    fn since(&self, old: &Self, seconds: f64, at: String) -> Moment {
        let rate = |new: f64, old: f64| (new - old).max(0.0) / seconds.max(1e-3);
        let class = |n: usize| {
            let of = |counters: &Self| counters.by_class.get(n).copied().unwrap_or_default();
            rate(of(self), of(old))
        };
        let limited = rate(self.limited, old.limited);
        let took: Vec<(f64, f64)> = self
            .buckets
            .iter()
            .enumerate()
            .map(|(n, (bound, count))| {
                let before = old.buckets.get(n).map_or(0.0, |known| known.1);
                (*bound, (count - before).max(0.0))
            })
            .collect();
        Moment {
            at,
            requests_per_s: (1..=5).map(class).sum(),
            ok_per_s: class(1) + class(2) + class(3),
            limited_per_s: limited,
            client_errors_per_s: (class(4) - limited).max(0.0),
            server_errors_per_s: class(5),
            p50_ms: quantile(&took, 0.5),
            p95_ms: quantile(&took, 0.95),
            p99_ms: quantile(&took, 0.99),
            in_flight: self.in_flight,
            client_connections: self.clients,
            upstream_connections: self.upstream,
            cpu_percent: rate(self.cpu_seconds, old.cpu_seconds) * 100.0,
            memory_bytes: self.memory,
        }
    }
}

/// A quantile of cumulative buckets, in milliseconds, by linear interpolation within the bucket, as
/// Prometheus' `histogram_quantile` does; none without requests.
fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let total = buckets.last().map(|last| last.1).filter(|n| *n > 0.0)?;
    let wanted = total * share;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted {
            let bound = if bound.is_finite() { *bound } else { lower };
            let inside = (count - below).max(f64::EPSILON);
            return Some((lower + (bound - lower) * (wanted - below) / inside) * 1e3);
        }
        (lower, below) = (*bound, *count);
    }
    Some(lower * 1e3)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stats(ok: u64, limited: u64, bad: u64) -> Value {
        json!({"metrics": {
            "weir_requests_total": [
                {"labels": {"code": "200"}, "value": ok},
                {"labels": {"code": "429"}, "value": limited},
                {"labels": {"code": "502"}, "value": bad},
            ],
            "weir_request_duration_seconds": [
                {"labels": {}, "buckets": [[0.01, ok], [0.1, ok + bad]]},
            ],
            "weir_requests_in_flight": [{"labels": {}, "value": 3}],
            "weir_connections": [{"labels": {"side": "client"}, "value": 7}],
        }})
    }

    #[test]
    fn a_moment_is_what_happened_between_two_looks() {
        let old = Counters::of(&stats(100, 5, 0));
        let new = Counters::of(&stats(280, 25, 20));
        let moment = new.since(&old, 2.0, "now".to_owned());
        assert_eq!((moment.ok_per_s, moment.limited_per_s), (90.0, 10.0));
        assert_eq!(
            (moment.server_errors_per_s, moment.client_errors_per_s),
            (10.0, 0.0)
        );
        assert_eq!(moment.requests_per_s, 110.0);
        assert_eq!((moment.in_flight, moment.client_connections), (3.0, 7.0));
        // 180 up to 10 ms, 20 up to 100 ms.
        assert!((moment.p50_ms.unwrap() - 5.555).abs() < 0.01);
        assert!((moment.p95_ms.unwrap() - 55.0).abs() < 0.01);
        let idle = new.since(&new, 1.0, "now".to_owned());
        assert_eq!((idle.requests_per_s, idle.p99_ms), (0.0, None));
    }

    #[test]
    fn only_so_much_is_kept() {
        let history = History::default();
        for n in 0..400 {
            history.push(Counters::default().since(&Counters::default(), 1.0, n.to_string()));
        }
        assert_eq!(history.last(1000).len(), KEPT);
        assert_eq!(history.last(2).last().unwrap().at, "399");
    }
}
