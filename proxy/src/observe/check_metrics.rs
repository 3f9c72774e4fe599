//! Metrics of health checks.

use std::time::Duration;

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::metrics::register;
use crate::upstream::health::CheckResult;

/// Metrics of health checks, by upstream and server. A server that is not checked has none.
pub struct CheckMetrics {
    up: IntGaugeVec,
    duration: GaugeVec,
    ended: IntCounterVec,
}

impl CheckMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let labels = &["upstream", "server"];
        Ok(Self {
            up: register(
                r,
                IntGaugeVec::new(
                    Opts::new(
                        "weir_upstream_server_check_up",
                        "0 if health checks have taken the server out.",
                    ),
                    labels,
                )?,
            )?,
            duration: register(
                r,
                GaugeVec::new(
                    Opts::new(
                        "weir_upstream_server_check_duration_seconds",
                        "How long the last health check took.",
                    ),
                    labels,
                )?,
            )?,
            ended: register(
                r,
                IntCounterVec::new(
                    Opts::new(
                        "weir_upstream_server_checks_total",
                        "Health checks by how they ended.",
                    ),
                    &["upstream", "server", "result"],
                )?,
            )?,
        })
    }

    /// A server is checked from now on.
    pub fn begin(&self, upstream: &str, server: &str) {
        self.up.with_label_values(&[upstream, server]).set(1);
        for kind in CheckResult::KINDS {
            self.ended.with_label_values(&[upstream, server, kind]);
        }
    }

    /// A check has ended; `up`: the server takes requests.
    pub fn ended(&self, upstream: &str, server: &str, kind: &str, took: Duration, up: bool) {
        let labels = &[upstream, server];
        self.up.with_label_values(labels).set(i64::from(up));
        self.duration
            .with_label_values(labels)
            .set(took.as_secs_f64());
        let counter = self.ended.with_label_values(&[upstream, server, kind]);
        counter.inc();
    }

    /// A server is not checked any more.
    pub fn forget(&self, upstream: &str, server: &str) {
        let labels = &[upstream, server];
        // What there is none of need not be removed.
        let _ = self.up.remove_label_values(labels);
        let _ = self.duration.remove_label_values(labels);
        for kind in CheckResult::KINDS {
            let _ = self.ended.remove_label_values(&[upstream, server, kind]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut out = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&registry.gather(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_server_has_metrics_as_long_as_it_is_checked() {
        let registry = Registry::new();
        let metrics = CheckMetrics::new(&registry).unwrap();
        metrics.begin("api", "a:1");
        let took = Duration::from_millis(1500);
        metrics.ended("api", "a:1", "timeout", took, false);
        let shown = text(&registry);
        for line in [
            "weir_upstream_server_check_up{server=\"a:1\",upstream=\"api\"} 0",
            "weir_upstream_server_check_duration_seconds{server=\"a:1\",upstream=\"api\"} 1.5",
            "weir_upstream_server_checks_total{result=\"timeout\",server=\"a:1\",upstream=\"api\"} 1",
            "weir_upstream_server_checks_total{result=\"passed\",server=\"a:1\",upstream=\"api\"} 0",
        ] {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
        metrics.forget("api", "a:1");
        assert!(!text(&registry).contains("a:1"));
    }
}
