//! What happened: histograms, intervals, failures.
//!
//! Each worker has a recorder of its own, without locks; once a second it hands its histograms to
//! the collecting thread, which merges them, writes the interval logs and sends the emptied ones
//! back. Percentiles are only ever read from merged histograms, never averaged.

pub(crate) mod connections;
pub(crate) mod failure;
pub(crate) mod hlog;
pub(crate) mod interval;
mod intervals;
pub(crate) mod recorder;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hdrhistogram::Histogram;

pub use self::hlog::IntervalLog;
pub(crate) use self::{
    connections::Connections,
    failure::by_frequency,
    recorder::{Completion, Nanos, Recorder, Timeline},
};
pub use self::{
    failure::FailureKind,
    interval::{Counts, DIGITS, MAX_LATENCY_US, latency_histogram},
    intervals::{LogError, LoggedInterval, read_log, sum_log},
};

/// Sums over the measured part.
#[derive(Debug, Clone)]
pub struct Totals {
    /// All requests.
    pub counts: Counts,
    /// Response time of successes, microseconds.
    pub response: Histogram<u64>,
    /// Service time of successes, microseconds.
    pub service: Histogram<u64>,
    /// Lateness of the generator itself, microseconds; open model only.
    pub send_lag: Option<Histogram<u64>>,
    /// Wait for a free connection of the requests that found none, microseconds; open model only.
    pub connection_wait: Option<Histogram<u64>>,
    /// One entry an endpoint, in scenario order; the login comes last, if there is one.
    pub endpoints: Vec<EndpointTotals>,
    /// Failures by kind, 429 included.
    pub failures: BTreeMap<FailureKind, u64>,
    /// Integral of the number in flight, request-nanoseconds.
    pub in_flight_area_ns: u128,
    /// Sum of the service times of all completed requests, nanoseconds.
    pub busy_ns: u128,
    /// Bytes received.
    pub bytes_in: u64,
    /// Connections opened.
    pub connects: u64,
}

/// Sums of one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointTotals {
    /// Name in the scenario.
    pub name: String,
    /// Its requests.
    pub counts: Counts,
    /// Response time of its successes, microseconds.
    pub response: Histogram<u64>,
    /// Service time of its successes, microseconds.
    pub service: Histogram<u64>,
    /// Failures by kind, 429 included.
    pub failures: BTreeMap<FailureKind, u64>,
}

/// One second of the measured part.
#[derive(Debug, Clone, Default)]
pub struct SecondRow {
    /// Seconds since the measured part began.
    pub t_s: f64,
    /// Length in seconds; the last one may be shorter than 1.
    pub length_s: f64,
    /// Arrivals that the schedule intended.
    pub intended: u64,
    /// What completed.
    pub counts: Counts,
    /// Failures by kind, 429 included.
    pub failures: BTreeMap<FailureKind, u64>,
    /// When the first and the last failure was noticed, 429 excluded, seconds since the measured
    /// part began.
    pub errors_between_s: Option<(f64, f64)>,
    /// In flight when the second ended.
    pub in_flight: u64,
    /// Users that are there, or connections.
    pub users: u64,
    /// Median response time of the second's successes, microseconds.
    pub p50_us: u64,
    /// 95th percentile, microseconds.
    pub p95_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
    /// Largest, microseconds.
    pub max_us: u64,
    /// 99th percentile of the send lag, microseconds.
    pub lag_p99_us: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Connections opened.
    pub connects: u64,
}

/// Raw data of a run: totals, the time series, and interval logs.
#[derive(Debug)]
pub struct Recording {
    totals: Totals,
    rows: Vec<SecondRow>,
    measured_start: SystemTime,
    logs: Mutex<Logs>,
}

#[derive(Debug)]
struct Logs {
    response: IntervalLog,
    service: IntervalLog,
    send_lag: Option<IntervalLog>,
}

impl Recording {
    pub(crate) fn new(
        totals: Totals,
        rows: Vec<SecondRow>,
        measured_start: SystemTime,
        response: IntervalLog,
        service: IntervalLog,
        send_lag: Option<IntervalLog>,
    ) -> Self {
        Self {
            totals,
            rows,
            measured_start,
            logs: Mutex::new(Logs {
                response,
                service,
                send_lag,
            }),
        }
    }

    /// Sums over the measured part.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The time series, one row a second of the measured part.
    pub fn seconds(&self) -> &[SecondRow] {
        &self.rows
    }

    /// When the measured part began.
    pub fn measured_start(&self) -> SystemTime {
        self.measured_start
    }

    /// Writes `response.hlog` and `service.hlog` (and `send_lag.hlog` for an open model):
    /// HdrHistogram V2 interval logs, values in microseconds, one line per second and endpoint,
    /// tagged with the endpoint's name. When requests had to wait for a connection, how long is in
    /// `connection_wait.hlog`, one line for the whole run.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write_hlog(&self, folder: &Path) -> io::Result<()> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let start = self.measured_start;
        logs.response.save(
            &folder.join("response.hlog"),
            "Response time: intended start to last byte",
            start,
        )?;
        logs.service.save(
            &folder.join("service.hlog"),
            "Service time: sent to last byte",
            start,
        )?;
        if let Some(lag) = &mut logs.send_lag {
            lag.save(
                &folder.join("send_lag.hlog"),
                "Send lag: intended to actual send",
                start,
            )?;
        }
        let wait = self.totals.connection_wait.as_ref();
        if let Some(wait) = wait.filter(|wait| !wait.is_empty()) {
            let length: f64 = self.rows.iter().map(|row| row.length_s).sum();
            let mut log = IntervalLog::new();
            log.append(wait, Duration::ZERO, Duration::from_secs_f64(length), None)?;
            log.save(
                &folder.join("connection_wait.hlog"),
                "Wait for a free connection, of the requests that found none",
                start,
            )?;
        }
        Ok(())
    }

    /// Writes `timeseries.csv`: one line a second of the measured part, latencies in milliseconds.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_timeseries(&self, folder: &Path) -> io::Result<()> {
        let mut csv = csv::Writer::from_path(folder.join("timeseries.csv"))?;
        csv.write_record([
            "t_s",
            "length_s",
            "intended",
            "requests",
            "ok",
            "limited",
            "errors",
            "in_flight",
            "users",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "max_ms",
            "send_lag_p99_ms",
            "bytes_in",
            "connects",
        ])?;
        let ms = |us: u64| format!("{:.3}", us as f64 / 1000.0);
        for row in &self.rows {
            csv.write_record([
                format!("{}", row.t_s),
                format!("{:.3}", row.length_s),
                row.intended.to_string(),
                row.counts.requests.to_string(),
                row.counts.ok.to_string(),
                row.counts.limited.to_string(),
                row.counts.errors.to_string(),
                row.in_flight.to_string(),
                row.users.to_string(),
                ms(row.p50_us),
                ms(row.p95_us),
                ms(row.p99_us),
                ms(row.max_us),
                ms(row.lag_p99_us),
                row.bytes_in.to_string(),
                row.connects.to_string(),
            ])?;
        }
        csv.flush()
    }
}
