//! The settings that let a load through.

use serde_json::{Map, Value, json};

use super::Facts;

/// The documented raise for a load test: 100 r/s, burst 200, no delay.
const DOCUMENTED_RAISE_RPS: f64 = 100.0;
/// A limit binds when the load comes closer to it than this.
const HEADROOM: f64 = 1.25;

/// The override that lets this load through, as it is documented: 100 r/s with burst 200 and no
/// delay when that is enough, otherwise the limit is disabled. None when no limit is in the way.
#[must_use]
pub fn raise_limits(facts: &Facts) -> Option<Value> {
    let proxy = facts.proxy.as_ref()?;
    let mut limits = Map::new();
    for limit in &proxy.limits {
        let a_key = |rps: f64| rps / f64::from(limit.buckets);
        let peak = facts.offered.peak_rps.map(a_key);
        if peak.is_some_and(|peak| peak * HEADROOM <= limit.rps) {
            continue;
        }
        let enough = peak.is_some_and(|peak| peak * HEADROOM <= DOCUMENTED_RAISE_RPS);
        let change = if enough {
            json!({ "rate": "100r/s", "burst": 200, "nodelay": true })
        } else {
            json!({ "enabled": false })
        };
        limits.insert(limit.name.clone(), change);
    }
    (!limits.is_empty()).then(|| json!({ "rate_limit": limits }))
}
