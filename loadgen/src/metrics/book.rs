//! The figures themselves: counters and gauges, brought up to date once a second.

use parking_lot::Mutex;
use prometheus::{
    Counter, Encoder as _, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use weir_lab::sample::Meter;
use weir_load::progress::{Phase, Progress, Tick, Watched};

use super::histogram::ResponseTimes;

/// Everything that is published.
pub(super) struct Book {
    registry: Registry,
    requests: IntCounterVec,
    failures: IntCounterVec,
    response: ResponseTimes,
    quantiles: GaugeVec,
    intended: Counter,
    intended_rate: GaugeVec,
    send_lag: GaugeVec,
    in_flight: IntGauge,
    users: IntGauge,
    phase: IntGaugeVec,
    time: GaugeVec,
    cpu: GaugeVec,
    memory: IntGaugeVec,
    meter: Mutex<Option<Meter>>,
}

impl Book {
    pub(super) fn new(scenario: &str, subject: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        let info = register(
            r,
            IntGaugeVec::new(
                Opts::new("weir_bench_run_info", "The run; always 1."),
                &["scenario", "target", "version"],
            )?,
        )?;
        info.with_label_values(&[scenario, subject, env!("CARGO_PKG_VERSION")])
            .set(1);
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            register(r, GaugeVec::new(Opts::new(name, help), labels)?)
        };
        let count = |name: &str, help: &str, labels: &[&str]| {
            register(r, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let book = Self {
            requests: count(
                "weir_bench_requests_total",
                "Completed requests; outcome is ok, limited (429) or error.",
                &["endpoint", "outcome", "phase"],
            )?,
            failures: count(
                "weir_bench_failures_total",
                "Requests that did not end as the scenario expects, by kind, 429 included.",
                &["kind", "phase"],
            )?,
            response: register(r, ResponseTimes::new()?)?,
            quantiles: gauge(
                "weir_bench_response_quantile_seconds",
                "Response time of the last second's successes.",
                &["quantile"],
            )?,
            intended: register(
                r,
                Counter::new(
                    "weir_bench_intended_requests_total",
                    "Arrivals that the schedule intended in the measured part (open model).",
                )?,
            )?,
            intended_rate: gauge(
                "weir_bench_intended_rate",
                "Arrivals that the schedule intended in the last second (open model).",
                &[],
            )?,
            send_lag: gauge(
                "weir_bench_send_lag_p99_seconds",
                "99th percentile of intended to actual send in the last second (open model).",
                &[],
            )?,
            in_flight: register(
                r,
                IntGauge::new("weir_bench_in_flight", "Requests in flight.")?,
            )?,
            users: register(
                r,
                IntGauge::new("weir_bench_users", "Users or connections started so far.")?,
            )?,
            phase: register(
                r,
                IntGaugeVec::new(
                    Opts::new("weir_bench_phase", "1 for the phase that the run is in."),
                    &["phase"],
                )?,
            )?,
            time: gauge(
                "weir_bench_phase_seconds",
                "Time since the phase began, and its planned length.",
                &["time"],
            )?,
            cpu: gauge(
                "weir_bench_process_cpu_percent",
                "CPU of a watched process since the scrape before, percent of one core.",
                &["process"],
            )?,
            memory: register(
                r,
                IntGaugeVec::new(
                    Opts::new(
                        "weir_bench_process_resident_bytes",
                        "Resident memory of a watched process.",
                    ),
                    &["process"],
                )?,
            )?,
            meter: Mutex::default(),
            registry: registry.clone(),
        };
        Ok(book)
    }

    /// Everything in the text format of Prometheus.
    pub(super) fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        if let Some(meter) = self.meter.lock().as_mut() {
            for usage in meter.read() {
                let name = [usage.name.as_str()];
                self.cpu
                    .with_label_values(&name)
                    .set(usage.cpu_percent.unwrap_or(0.0));
                let rss = i64::try_from(usage.rss.unwrap_or(0)).unwrap_or(i64::MAX);
                self.memory.with_label_values(&name).set(rss);
            }
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Progress for Book {
    fn tick(&self, tick: &Tick) {
        let phase = name_of(tick.phase);
        for endpoint in &tick.endpoints {
            let counts = endpoint.counts;
            for (outcome, count) in [
                ("ok", counts.ok),
                ("limited", counts.limited),
                ("error", counts.errors),
            ] {
                self.requests
                    .with_label_values(&[endpoint.name.as_str(), outcome, phase])
                    .inc_by(count);
            }
            self.response.add(phase, endpoint);
        }
        for (kind, count) in &tick.failures {
            self.failures
                .with_label_values(&[kind.name().as_ref(), phase])
                .inc_by(*count);
        }
        for (quantile, value) in [("0.5", tick.p50), ("0.95", tick.p95), ("0.99", tick.p99)] {
            self.quantiles
                .with_label_values(&[quantile])
                .set(value.as_secs_f64());
        }
        self.intended.inc_by(tick.intended as f64);
        let none: [&str; 0] = [];
        self.intended_rate
            .with_label_values(&none)
            .set(tick.intended as f64);
        self.send_lag
            .with_label_values(&none)
            .set(tick.send_lag_p99.as_secs_f64());
        self.in_flight
            .set(i64::try_from(tick.in_flight).unwrap_or(i64::MAX));
        self.users
            .set(i64::try_from(tick.users).unwrap_or(i64::MAX));
        for other in [Phase::WarmUp, Phase::Measured] {
            self.phase
                .with_label_values(&[name_of(other)])
                .set(i64::from(other == tick.phase));
        }
        for (name, value) in [("elapsed", tick.elapsed), ("planned", tick.planned)] {
            self.time
                .with_label_values(&[name])
                .set(value.as_secs_f64());
        }
    }

    fn begins(&self, watched: &[Watched]) {
        *self.meter.lock() = Some(Meter::new(watched.to_vec()));
    }
}

fn name_of(phase: Phase) -> &'static str {
    match phase {
        Phase::WarmUp => "warm-up",
        Phase::Measured => "measured",
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use weir_load::{
        progress::EndpointTick,
        record::{Counts, FailureKind},
    };

    use super::*;

    #[test]
    fn what_is_told_is_published() {
        let book = Book::new("rate", "two").unwrap();
        let mut buckets = vec![0; 16];
        // Nine up to 10 ms, one above everything.
        (buckets[4], buckets[15]) = (9, 1);
        let tick = Tick {
            phase: Phase::Measured,
            elapsed: Duration::from_secs(3),
            planned: Duration::from_secs(60),
            intended: 14,
            in_flight: 2,
            users: 5,
            p99: Duration::from_millis(250),
            endpoints: vec![EndpointTick {
                name: "root \"x\"".into(),
                counts: Counts {
                    requests: 14,
                    ok: 10,
                    limited: 1,
                    errors: 3,
                },
                buckets,
                sum_s: 40.08,
                ..EndpointTick::default()
            }],
            failures: vec![(FailureKind::Reset, 3), (FailureKind::LIMITED, 1)],
            ..Tick::default()
        };
        book.tick(&tick);
        book.tick(&tick);
        let text = String::from_utf8(book.text().unwrap()).unwrap();
        for line in [
            "weir_bench_run_info{scenario=\"rate\",target=\"two\"",
            "weir_bench_requests_total{endpoint=\"root \\\"x\\\"\",outcome=\"ok\",phase=\"measured\"} 20",
            "outcome=\"limited\",phase=\"measured\"} 2",
            "weir_bench_failures_total{kind=\"reset\",phase=\"measured\"} 6",
            "weir_bench_failures_total{kind=\"status_429\",phase=\"measured\"} 2",
            "phase=\"measured\",le=\"0.005\"} 0",
            "phase=\"measured\",le=\"0.01\"} 18",
            "phase=\"measured\",le=\"30\"} 18",
            "phase=\"measured\",le=\"+Inf\"} 20",
            "weir_bench_response_seconds_count{endpoint=\"root \\\"x\\\"\",phase=\"measured\"} 20",
            "weir_bench_response_seconds_sum{endpoint=\"root \\\"x\\\"\",phase=\"measured\"} 80.16",
            "weir_bench_response_quantile_seconds{quantile=\"0.99\"} 0.25",
            "weir_bench_intended_requests_total 28",
            "weir_bench_intended_rate 14",
            "weir_bench_in_flight 2",
            "weir_bench_users 5",
            "weir_bench_phase{phase=\"measured\"} 1",
            "weir_bench_phase{phase=\"warm-up\"} 0",
            "weir_bench_phase_seconds{time=\"planned\"} 60",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
    }
}
