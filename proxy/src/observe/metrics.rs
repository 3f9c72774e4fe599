//! Prometheus metrics.
//!
//! Counters on the way of a request are resolved when the settings are compiled, so that a request
//! only adds; gauges of live state are filled in when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::check_metrics::CheckMetrics;
use super::grpc_metrics::GrpcMetrics;
use super::http2_metrics::Http2Metrics;
use super::name_metrics::NameMetrics;
use super::process::ProcessMetrics;
use super::tls_metrics::TlsMetrics;
use parking_lot::Mutex;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

/// Bounds of latency histograms, in seconds: 0.5 ms to 10 s, with the documented thresholds
/// (50, 100, 200 and 500 ms) among them.
const LATENCY_BUCKETS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// All metrics of the proxy.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    response_bytes: IntCounterVec,
    attempts: IntCounterVec,
    upstream_latency: HistogramVec,
    upstream_connections: IntCounterVec,
    limited: IntCounterVec,
    limit_keys: IntGaugeVec,
    limit_evicted: IntCounterVec,
    server_up: IntGaugeVec,
    server_in_flight: IntGaugeVec,
    /// Health checks.
    pub checks: CheckMetrics,
    /// HTTP/2 from clients.
    pub http2: Http2Metrics,
    /// Look-ups of servers' names.
    pub names: NameMetrics,
    /// TLS and the PROXY protocol.
    pub tls: TlsMetrics,
    /// gRPC.
    pub grpc: GrpcMetrics,
    connections: IntGaugeVec,
    most_connections: IntGauge,
    /// Client connections refused because `connections.max` was reached.
    pub refused: IntCounter,
    /// Requests being worked on.
    pub in_flight: IntGauge,
    /// Requests that were malformed and never reached a route, by status.
    bad_requests: IntCounterVec,
    log_lost: IntCounterVec,
    /// The counter of each log, and what it follows.
    logs: Mutex<Vec<(IntCounter, Arc<AtomicU64>)>>,
    revision: IntGauge,
    overrides: IntGauge,
    process: ProcessMetrics,
}

/// Counters of one route, resolved.
#[derive(Debug)]
pub struct RouteMetrics {
    name: String,
    requests: IntCounterVec,
    by_code: Vec<OnceLock<IntCounter>>,
    duration: Histogram,
    bytes: IntCounter,
}

/// Counters of one upstream, resolved.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    /// Attempts that got an answer.
    pub answered: IntCounter,
    /// Attempts that failed.
    pub failed: IntCounter,
    /// Requests sent to another server after a failure.
    pub retried: IntCounter,
    /// Connections opened.
    pub opened: IntCounter,
    /// Requests sent on a kept connection.
    pub reused: IntCounter,
    /// From sending the request to the first byte of the answer.
    pub latency: Histogram,
}

/// Counters of a rate limit, as read from its zone.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitCounts {
    /// Passed at once.
    pub admitted: u64,
    /// Passed after a wait.
    pub delayed: u64,
    /// Refused.
    pub rejected: u64,
    /// Would have been refused or delayed.
    pub dry_run: u64,
    /// Keys thrown out because the zone was full.
    pub evicted: u64,
    /// Keys held.
    pub keys: u64,
}

/// The registry refused a metric: two have the same name.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// [`MetricsError`] if two metrics have one name.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let r = &registry;
        let latency = |name: &str, help: &str| {
            HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec())
        };
        let metrics = Self {
            requests: counters(
                r,
                "weir_requests_total",
                "Requests, by route and status code.",
                &["route", "code"],
            )?,
            duration: register(
                r,
                HistogramVec::new(
                    latency(
                        "weir_request_duration_seconds",
                        "First byte of the request to last byte of the answer.",
                    ),
                    &["route"],
                )?,
            )?,
            response_bytes: counters(
                r,
                "weir_response_body_bytes_total",
                "Body bytes sent to clients.",
                &["route"],
            )?,
            attempts: counters(
                r,
                "weir_upstream_attempts_total",
                "Attempts at servers: answered, failed, retried.",
                &["upstream", "outcome"],
            )?,
            upstream_latency: register(
                r,
                HistogramVec::new(
                    latency(
                        "weir_upstream_first_byte_seconds",
                        "Request sent to first byte of the server's answer.",
                    ),
                    &["upstream"],
                )?,
            )?,
            upstream_connections: counters(
                r,
                "weir_upstream_connections_total",
                "Connections used for requests: opened anew or reused.",
                &["upstream", "kind"],
            )?,
            limited: counters(
                r,
                "weir_rate_limit_decisions_total",
                "Decisions of rate limits.",
                &["limit", "decision"],
            )?,
            limit_keys: gauges(
                r,
                "weir_rate_limit_keys",
                "Keys held by a rate limit.",
                &["limit"],
            )?,
            limit_evicted: counters(
                r,
                "weir_rate_limit_evicted_keys_total",
                "Keys thrown out because the zone was full.",
                &["limit"],
            )?,
            server_up: gauges(
                r,
                "weir_server_up",
                "1 if the server takes requests.",
                &["upstream", "server"],
            )?,
            server_in_flight: gauges(
                r,
                "weir_server_in_flight",
                "Requests in flight at the server.",
                &["upstream", "server"],
            )?,
            checks: CheckMetrics::new(r)?,
            http2: Http2Metrics::new(r)?,
            names: NameMetrics::new(r)?,
            tls: TlsMetrics::new(r)?,
            grpc: GrpcMetrics::new(r)?,
            connections: gauges(
                r,
                "weir_connections",
                "Open connections: client, upstream, upstream_idle (part of upstream).",
                &["side"],
            )?,
            most_connections: register(
                r,
                IntGauge::new(
                    "weir_connections_max",
                    "Most connections held: connections.max, or what the limit on file descriptors leaves room for.",
                )?,
            )?,
            refused: register(
                r,
                IntCounter::new(
                    "weir_connections_refused_total",
                    "Client connections refused because connections.max was reached.",
                )?,
            )?,
            in_flight: register(
                r,
                IntGauge::new("weir_requests_in_flight", "Requests being worked on.")?,
            )?,
            bad_requests: counters(
                r,
                "weir_bad_requests_total",
                "Requests refused before routing, by status code.",
                &["code"],
            )?,
            log_lost: counters(
                r,
                "weir_log_lines_lost_total",
                "Lines of the logs access, audit and error that could not be written, or not fast enough.",
                &["log"],
            )?,
            logs: Mutex::default(),
            revision: register(
                r,
                IntGauge::new(
                    "weir_settings_revision",
                    "Revision of the settings in force.",
                )?,
            )?,
            overrides: register(
                r,
                IntGauge::new("weir_settings_overrides", "Temporary overrides in force.")?,
            )?,
            process: ProcessMetrics::new(r)?,
            registry,
        };
        gauges(
            &metrics.registry,
            "weir_build_info",
            "The program that runs; always 1.",
            &["version"],
        )?
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
        Ok(metrics)
    }

    /// The counters of route `name`.
    #[must_use]
    pub fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics {
            name: name.to_owned(),
            requests: self.requests.clone(),
            by_code: (100..600).map(|_| OnceLock::new()).collect(),
            duration: self.duration.with_label_values(&[name]),
            bytes: self.response_bytes.with_label_values(&[name]),
        }
    }

    /// The counters of upstream `name`.
    #[must_use]
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            answered: self.attempts.with_label_values(&[name, "answered"]),
            failed: self.attempts.with_label_values(&[name, "failed"]),
            retried: self.attempts.with_label_values(&[name, "retried"]),
            opened: self
                .upstream_connections
                .with_label_values(&[name, "opened"]),
            reused: self
                .upstream_connections
                .with_label_values(&[name, "reused"]),
            latency: self.upstream_latency.with_label_values(&[name]),
        }
    }

    /// Counts a request that never reached a route.
    pub fn bad_request(&self, status: u16) {
        self.bad_requests
            .with_label_values(&[&status.to_string()])
            .inc();
    }

    /// Takes over the counters of a rate limit.
    pub fn set_limit(&self, name: &str, counts: &LimitCounts) {
        for (decision, value) in [
            ("admitted", counts.admitted),
            ("delayed", counts.delayed),
            ("rejected", counts.rejected),
            ("dry_run", counts.dry_run),
        ] {
            raise_to(&self.limited.with_label_values(&[name, decision]), value);
        }
        raise_to(
            &self.limit_evicted.with_label_values(&[name]),
            counts.evicted,
        );
        set(&self.limit_keys.with_label_values(&[name]), counts.keys);
    }

    /// Forgets the servers told of so far, before the present ones are told.
    pub fn clear_servers(&self) {
        self.server_up.reset();
        self.server_in_flight.reset();
    }

    /// Tells the state of a server.
    pub fn set_server(&self, upstream: &str, server: &str, up: bool, in_flight: u64) {
        set(
            &self.server_up.with_label_values(&[upstream, server]),
            u64::from(up),
        );
        set(
            &self.server_in_flight.with_label_values(&[upstream, server]),
            in_flight,
        );
    }

    /// Tells the open connections.
    pub fn set_connections(&self, client: u64, upstream: u64, upstream_idle: u64) {
        set(&self.connections.with_label_values(&["client"]), client);
        set(&self.connections.with_label_values(&["upstream"]), upstream);
        set(
            &self.connections.with_label_values(&["upstream_idle"]),
            upstream_idle,
        );
    }

    /// Tells how many connections are held at most.
    pub fn set_most_connections(&self, most: u32) {
        self.most_connections.set(i64::from(most));
    }

    /// Tells the settings in force.
    pub fn set_settings(&self, revision: u64, overrides: u64) {
        set(&self.revision, revision);
        set(&self.overrides, overrides);
    }

    /// Tells who counts the lost lines of a log.
    pub fn watch_log(&self, name: &str, losses: Arc<AtomicU64>) {
        let counter = self.log_lost.with_label_values(&[name]);
        self.logs.lock().push((counter, losses));
    }

    /// Every metric as it stands.
    #[must_use]
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.process.update();
        for (counter, lost) in self.logs.lock().iter() {
            raise_to(counter, lost.load(Ordering::Relaxed));
        }
        self.registry.gather()
    }

    /// Everything in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = Vec::new();
        // Encoding into memory fails only for a family without metrics, which gather leaves out.
        if let Err(e) = TextEncoder::new().encode(&self.gather(), &mut out) {
            tracing::error!(error = %e, "cannot encode metrics");
        }
        String::from_utf8(out).unwrap_or_default()
    }
}

impl RouteMetrics {
    /// The route's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a request.
    pub fn count(&self, code: u16, duration: Duration, bytes: u64) {
        let slot = usize::from(code.saturating_sub(100));
        match self.by_code.get(slot) {
            Some(cell) => cell
                .get_or_init(|| {
                    self.requests
                        .with_label_values(&[&self.name, &code.to_string()])
                })
                .inc(),
            None => self
                .requests
                .with_label_values(&[&self.name, &code.to_string()])
                .inc(),
        }
        self.duration.observe(duration.as_secs_f64());
        self.bytes.inc_by(bytes);
    }
}

pub(super) fn register<C: Collector + Clone + 'static>(
    r: &Registry,
    c: C,
) -> Result<C, prometheus::Error> {
    r.register(Box::new(c.clone()))?;
    Ok(c)
}

fn counters(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(r, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    register(r, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

pub(super) fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Counters kept elsewhere only grow; a zone that was started anew simply does not add until it
/// has caught up.
fn raise_to(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_show_up_by_route_and_code() {
        let metrics = Metrics::new().unwrap();
        let route = metrics.route("/");
        route.count(200, Duration::from_millis(3), 256);
        route.count(200, Duration::from_millis(3), 256);
        route.count(999, Duration::from_millis(3), 0);
        metrics.set_limit(
            "api",
            &LimitCounts {
                admitted: 5,
                ..LimitCounts::default()
            },
        );
        metrics.set_limit(
            "api",
            &LimitCounts {
                admitted: 7,
                ..LimitCounts::default()
            },
        );
        let text = metrics.render();
        assert!(
            text.contains("weir_requests_total{code=\"200\",route=\"/\"} 2"),
            "{text}"
        );
        assert!(
            text.contains("weir_response_body_bytes_total{route=\"/\"} 512"),
            "{text}"
        );
        assert!(
            text.contains("weir_rate_limit_decisions_total{decision=\"admitted\",limit=\"api\"} 7"),
            "{text}"
        );
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }
}
