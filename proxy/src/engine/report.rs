//! Live state for the admin listener: metrics, upstreams, limits.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Engine;
use crate::limit::{describe_key, monotonic_ms};
use crate::observe::{metrics::LimitCounts, stats};
use crate::upstream::Condition;

/// Busiest keys shown for a limit.
const TOP_KEYS: usize = 10;

impl Engine {
    /// Metrics in the Prometheus text format. `overrides`: how many are in force.
    #[must_use]
    pub fn metrics_text(&self, overrides: u64) -> String {
        self.fill_gauges(overrides);
        self.shared.metrics.render()
    }

    /// The same as JSON, for `GET /v1/stats`.
    #[must_use]
    pub fn stats_json(&self, overrides: u64) -> Value {
        self.fill_gauges(overrides);
        let revision = self.shared.snapshot.load().revision;
        json!({ "revision": revision, "metrics": stats::to_json(&self.shared.metrics.gather()) })
    }

    /// Gauges of live state are filled in when somebody asks.
    fn fill_gauges(&self, overrides: u64) {
        let snapshot = self.shared.snapshot.load();
        let metrics = &self.shared.metrics;
        for limit in &snapshot.limits {
            let stats = limit.zone.stats();
            metrics.set_limit(
                &limit.name,
                &LimitCounts {
                    admitted: stats.admitted,
                    delayed: stats.delayed,
                    rejected: stats.rejected,
                    dry_run: stats.dry_run_delayed + stats.dry_run_rejected,
                    evicted: stats.evicted,
                    keys: stats.keys,
                },
            );
        }
        metrics.names.set(self.shared.compiler.names().stats());
        metrics.clear_servers();
        let mut idle = 0;
        for upstream in &snapshot.upstreams {
            idle += upstream.pool.len() as u64;
            let view = upstream.state.view(monotonic_ms());
            for server in &view.servers {
                let address = server.address.to_string();
                metrics.set_server(
                    &view.name,
                    &address,
                    server.state == Condition::Up,
                    u64::from(server.in_flight),
                );
            }
        }
        let slots = &self.shared.slots;
        metrics.set_connections(
            u64::from(slots.clients()),
            u64::from(slots.upstream()),
            idle,
        );
        metrics.set_most_connections(slots.effective(snapshot.settings.connections.max));
        metrics.set_settings(snapshot.revision, overrides);
    }

    /// Every upstream with its servers, for `GET /v1/upstreams`.
    #[must_use]
    pub fn upstreams_json(&self) -> Value {
        let snapshot = self.shared.snapshot.load();
        let upstreams: Vec<Value> = snapshot
            .upstreams
            .iter()
            .map(|upstream| {
                for (address, server) in upstream.state.servers() {
                    let idle = u32::try_from(upstream.pool.len_to(address)).unwrap_or(u32::MAX);
                    server.connections.idle.store(idle, Ordering::Relaxed);
                }
                let view = upstream.state.view(monotonic_ms());
                let mut value = serde_json::to_value(view).unwrap_or_default();
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("idle_connections".into(), json!(upstream.pool.len()));
                    fields.insert("keepalive".into(), json!(upstream.keepalive));
                }
                value
            })
            .collect();
        json!({ "revision": snapshot.revision, "upstreams": upstreams })
    }

    /// Every rate limit with its counters and busiest keys, for `GET /v1/limits`.
    #[must_use]
    pub fn limits_json(&self) -> Value {
        let snapshot = self.shared.snapshot.load();
        let limits: Vec<Value> = snapshot
            .limits
            .iter()
            .map(|limit| {
                let top: Vec<Value> = limit
                    .zone
                    .top(TOP_KEYS, &limit.policy, monotonic_ms())
                    .into_iter()
                    .map(|key| json!({ "key": describe_key(&limit.key, &key.key), "excess": key.excess as f64 / 1000.0 }))
                    .collect();
                json!({ "name": limit.name, "enabled": limit.enabled, "counts": limit.zone.stats(), "top": top })
            })
            .collect();
        json!({ "revision": snapshot.revision, "limits": limits })
    }
}
