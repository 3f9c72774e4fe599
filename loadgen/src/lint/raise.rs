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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        judge::Thresholds,
        lint::{LimitFacts, Offered, ProxyFacts},
    };

    fn facts(peak_rps: Option<f64>, limit_rps: f64) -> Facts {
        Facts {
            scenario: "s".into(),
            offered: Offered {
                max_rps: peak_rps,
                peak_rps,
                closed: None,
                requests_per_arrival: None,
            },
            duration_s: 60.0,
            requests_total: None,
            weights: Vec::new(),
            thresholds: Thresholds::default(),
            client_timeout_s: 30.0,
            source_addresses: 1,
            connections: 100,
            proxy: Some(ProxyFacts {
                limits: vec![LimitFacts {
                    name: "api_limit".into(),
                    rps: limit_rps,
                    burst: 20,
                    delayed_beyond: None,
                    buckets: 1,
                }],
                connections_max: 1024,
                keepalive: Vec::new(),
                connect_timeout_s: 30.0,
            }),
        }
    }

    #[test]
    fn limits_are_raised_as_documented_and_no_further_than_needed() {
        let documented = json!({"rate": "100r/s", "burst": 200, "nodelay": true});
        let raise = |peak, limit| raise_limits(&facts(peak, limit));
        assert_eq!(
            raise(Some(80.0), 10.0).unwrap()["rate_limit"]["api_limit"],
            documented
        );
        assert_eq!(
            raise(Some(600.0), 10.0).unwrap()["rate_limit"]["api_limit"],
            json!({"enabled": false})
        );
        assert_eq!(
            raise(None, 10.0).unwrap()["rate_limit"]["api_limit"],
            json!({"enabled": false})
        );
        assert_eq!(raise(Some(80.0), 100.0), None, "in the way of nothing");
    }
}
