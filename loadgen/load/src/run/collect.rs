//! The cold side of recording: merges what the workers hand over, once a second.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
    time::{Duration, SystemTime},
};

use hdrhistogram::Histogram;

use crate::{
    progress::{BUCKETS_S, EndpointTick, Phase, Progress, Tick},
    record::{
        EndpointTotals, FailureKind, Recording, SecondRow, Totals, by_frequency,
        hlog::IntervalLog,
        interval::{Counts, IntervalData, latency_histogram},
        recorder::{Report, Timeline},
    },
    run::AbortWatch,
};

/// What the collector needs to know.
pub(crate) struct Collector {
    pub(crate) timeline: Timeline,
    /// Names of the endpoints, in order.
    pub(crate) endpoints: Vec<String>,
    pub(crate) open: bool,
    pub(crate) workers: usize,
    pub(crate) reports: Receiver<Report>,
    /// Ways back to the workers, for used intervals.
    pub(crate) recycle: Vec<Sender<Box<IntervalData>>>,
    pub(crate) progress: Arc<dyn Progress>,
    /// Ends the run when a threshold is missed.
    pub(crate) watch: Arc<AbortWatch>,
    pub(crate) measured_start: SystemTime,
    /// Arrivals that the schedule intends in each second of the measured part.
    pub(crate) intended: Vec<u64>,
}

impl Collector {
    /// Collects until every worker is done.
    pub(crate) fn collect(self) -> io::Result<Recording> {
        let mut queues: Vec<VecDeque<Box<IntervalData>>> = Vec::new();
        queues.resize_with(self.workers, VecDeque::new);
        let mut done = vec![false; self.workers];
        let mut merged = Merged::new(&self);
        while let Ok(report) = self.reports.recv() {
            match report {
                Report::Interval { worker, data } => {
                    if let Some(queue) = queues.get_mut(worker) {
                        queue.push_back(data);
                    }
                }
                Report::Done { worker } => {
                    if let Some(done) = done.get_mut(worker) {
                        *done = true;
                    }
                }
            }
            // A second is complete when everybody who is still at work has handed it over.
            let complete = |queues: &[VecDeque<_>], done: &[bool]| {
                queues.iter().any(|queue| !queue.is_empty())
                    && queues
                        .iter()
                        .zip(done)
                        .all(|(queue, done)| *done || !queue.is_empty())
            };
            while complete(&queues, &done) {
                let parts: Vec<_> = queues.iter_mut().map(VecDeque::pop_front).collect();
                merged.second(&self, parts.iter().flatten().map(AsRef::as_ref))?;
                for (part, back) in parts.into_iter().zip(&self.recycle) {
                    if let Some(mut data) = part {
                        data.reset();
                        let _ = back.send(data);
                    }
                }
            }
            if done.iter().all(|done| *done) {
                break;
            }
        }
        Ok(merged.into_recording(self))
    }
}

/// Everything merged so far.
struct Merged {
    totals: Totals,
    rows: Vec<SecondRow>,
    response_log: IntervalLog,
    service_log: IntervalLog,
    lag_log: IntervalLog,
    // Scratch, kept to save allocations.
    endpoint_response: Histogram<u64>,
    endpoint_service: Histogram<u64>,
    second_response: Histogram<u64>,
    second_lag: Histogram<u64>,
}

impl Merged {
    fn new(collector: &Collector) -> Self {
        let endpoints = collector
            .endpoints
            .iter()
            .map(|name| EndpointTotals {
                name: name.clone(),
                counts: Counts::default(),
                response: latency_histogram(),
                service: latency_histogram(),
                failures: BTreeMap::new(),
            })
            .collect();
        Self {
            totals: Totals {
                counts: Counts::default(),
                response: latency_histogram(),
                service: latency_histogram(),
                send_lag: collector.open.then(latency_histogram),
                connection_wait: collector.open.then(latency_histogram),
                endpoints,
                failures: BTreeMap::new(),
                in_flight_area_ns: 0,
                busy_ns: 0,
                bytes_in: 0,
                connects: 0,
            },
            rows: Vec::new(),
            response_log: IntervalLog::new(),
            service_log: IntervalLog::new(),
            lag_log: IntervalLog::new(),
            endpoint_response: latency_histogram(),
            endpoint_service: latency_histogram(),
            second_response: latency_histogram(),
            second_lag: latency_histogram(),
        }
    }

    fn second<'a>(
        &mut self,
        collector: &Collector,
        parts: impl Iterator<Item = &'a IntervalData> + Clone,
    ) -> io::Result<()> {
        let Some(index) = parts.clone().map(|part| part.index).min() else {
            return Ok(());
        };
        let mut row = SecondRow::default();
        for part in parts.clone() {
            row.in_flight += part.in_flight;
            row.users += part.users;
            for endpoint in &part.endpoints {
                row.counts.add(endpoint.counts);
            }
        }
        self.second_response.reset();
        self.second_lag.reset();
        let endpoints = self.endpoint_ticks(collector, parts.clone());
        let failures = failures(parts.clone());
        if index >= 0 {
            self.measured_second(collector, index, parts, &mut row)?;
        } else {
            for endpoint in parts.flat_map(|part| &part.endpoints) {
                add(&mut self.second_response, &endpoint.response);
            }
        }
        self.tell(collector, index, &row, endpoints, failures);
        Ok(())
    }

    fn measured_second<'a>(
        &mut self,
        collector: &Collector,
        index: i64,
        parts: impl Iterator<Item = &'a IntervalData> + Clone,
        row: &mut SecondRow,
    ) -> io::Result<()> {
        let start = Duration::from_secs(index.unsigned_abs());
        let end = parts.clone().map(|part| part.end).max().unwrap_or(0);
        let end = end.saturating_sub(collector.timeline.warmup_ns);
        let length = Duration::from_nanos(end).saturating_sub(start);
        row.t_s = start.as_secs_f64();
        row.length_s = length.as_secs_f64();
        row.intended = usize::try_from(index)
            .ok()
            .and_then(|index| collector.intended.get(index))
            .copied()
            .unwrap_or(0);

        for (at, name) in collector.endpoints.iter().enumerate() {
            self.endpoint_response.reset();
            self.endpoint_service.reset();
            let mut counts = Counts::default();
            for endpoint in parts.clone().filter_map(|part| part.endpoints.get(at)) {
                if endpoint.counts.requests == 0 {
                    continue;
                }
                counts.add(endpoint.counts);
                add(&mut self.endpoint_response, &endpoint.response);
                let service = endpoint.service.as_ref().unwrap_or(&endpoint.response);
                add(&mut self.endpoint_service, service);
            }
            if counts.requests == 0 {
                continue;
            }
            self.response_log
                .append(&self.endpoint_response, start, length, Some(name))?;
            self.service_log
                .append(&self.endpoint_service, start, length, Some(name))?;
            add(&mut self.second_response, &self.endpoint_response);
            add(&mut self.totals.service, &self.endpoint_service);
            if let Some(totals) = self.totals.endpoints.get_mut(at) {
                totals.counts.add(counts);
                add(&mut totals.response, &self.endpoint_response);
                add(&mut totals.service, &self.endpoint_service);
            }
        }
        add(&mut self.totals.response, &self.second_response);
        self.totals.counts.add(row.counts);

        for part in parts {
            self.totals.in_flight_area_ns += u128::from(part.in_flight_area_ns);
            self.totals.busy_ns += u128::from(part.busy_ns);
            self.totals.bytes_in += part.bytes_in;
            self.totals.connects += part.connects;
            row.bytes_in += part.bytes_in;
            row.connects += part.connects;
            if let Some(lag) = &part.send_lag {
                add(&mut self.second_lag, lag);
            }
            if let (Some(total), Some(wait)) =
                (&mut self.totals.connection_wait, &part.connection_wait)
            {
                add(total, wait);
            }
            if let Some((first, last)) = part.errors_between {
                let since = |ns: u64| ns.saturating_sub(collector.timeline.warmup_ns) as f64 / 1e9;
                let (first, last) = (since(first), since(last));
                let known = row.errors_between_s.unwrap_or((first, last));
                row.errors_between_s = Some((known.0.min(first), known.1.max(last)));
            }
            for (at, kind, count) in &part.failures {
                *row.failures.entry(*kind).or_default() += count;
                *self.totals.failures.entry(*kind).or_default() += count;
                if let Some(endpoint) = self.totals.endpoints.get_mut(*at) {
                    *endpoint.failures.entry(*kind).or_default() += count;
                }
            }
        }
        if let Some(total) = &mut self.totals.send_lag {
            add(total, &self.second_lag);
            self.lag_log.append(&self.second_lag, start, length, None)?;
        }
        row.p50_us = self.second_response.value_at_quantile(0.50);
        row.p95_us = self.second_response.value_at_quantile(0.95);
        row.p99_us = self.second_response.value_at_quantile(0.99);
        row.max_us = self.second_response.max();
        row.lag_p99_us = self.second_lag.value_at_quantile(0.99);
        self.rows.push(row.clone());
        collector
            .watch
            .look(&self.totals, Duration::from_nanos(end));
        Ok(())
    }

    /// Each endpoint in this second, for those who watch.
    fn endpoint_ticks<'a>(
        &mut self,
        collector: &Collector,
        parts: impl Iterator<Item = &'a IntervalData> + Clone,
    ) -> Vec<EndpointTick> {
        let mut ticks = Vec::with_capacity(collector.endpoints.len());
        for (at, name) in collector.endpoints.iter().enumerate() {
            self.endpoint_response.reset();
            let mut counts = Counts::default();
            for endpoint in parts.clone().filter_map(|part| part.endpoints.get(at)) {
                counts.add(endpoint.counts);
                add(&mut self.endpoint_response, &endpoint.response);
            }
            ticks.push(endpoint_tick(name, counts, &self.endpoint_response));
        }
        ticks
    }

    fn tell(
        &self,
        collector: &Collector,
        index: i64,
        row: &SecondRow,
        endpoints: Vec<EndpointTick>,
        failures: Vec<(FailureKind, u64)>,
    ) {
        let timeline = collector.timeline;
        let end = timeline.end_of(index);
        let (phase, elapsed, planned) = if index < 0 {
            (Phase::WarmUp, end, timeline.warmup_ns)
        } else {
            let elapsed = end - timeline.warmup_ns;
            (Phase::Measured, elapsed, timeline.duration_ns)
        };
        let micros =
            |quantile: f64| Duration::from_micros(self.second_response.value_at_quantile(quantile));
        collector.progress.tick(&Tick {
            phase,
            elapsed: Duration::from_nanos(elapsed),
            planned: Duration::from_nanos(planned),
            intended: row.intended,
            requests: row.counts.requests,
            ok: row.counts.ok,
            limited: row.counts.limited,
            errors: row.counts.errors,
            p50: micros(0.50),
            p95: micros(0.95),
            p99: micros(0.99),
            max: Duration::from_micros(self.second_response.max()),
            send_lag_p99: Duration::from_micros(row.lag_p99_us),
            in_flight: row.in_flight,
            users: row.users,
            endpoints,
            failures,
        });
    }

    fn into_recording(self, collector: Collector) -> Recording {
        Recording::new(
            self.totals,
            self.rows,
            collector.measured_start,
            self.response_log,
            self.service_log,
            collector.open.then_some(self.lag_log),
        )
    }
}

/// One endpoint in one second.
fn endpoint_tick(name: &str, counts: Counts, response: &Histogram<u64>) -> EndpointTick {
    let mut tick = EndpointTick {
        name: name.to_owned(),
        counts,
        ..EndpointTick::default()
    };
    if response.is_empty() {
        return tick;
    }
    tick.p50 = Duration::from_micros(response.value_at_quantile(0.50));
    tick.p99 = Duration::from_micros(response.value_at_quantile(0.99));
    tick.buckets = vec![0; BUCKETS_S.len() + 1];
    for value in response.iter_recorded() {
        let seconds = value.value_iterated_to() as f64 / 1e6;
        let count = value.count_at_value();
        let bucket = BUCKETS_S.partition_point(|edge| *edge < seconds);
        if let Some(bucket) = tick.buckets.get_mut(bucket) {
            *bucket += count;
        }
        tick.sum_s += seconds * count as f64;
    }
    tick
}

/// Failures of one second by kind.
fn failures<'a>(parts: impl Iterator<Item = &'a IntervalData>) -> Vec<(FailureKind, u64)> {
    let mut kinds = BTreeMap::new();
    for (_, kind, count) in parts.flat_map(|part| &part.failures) {
        *kinds.entry(*kind).or_default() += count;
    }
    by_frequency(&kinds)
}

/// Adds one histogram to another of the same bounds.
fn add(total: &mut Histogram<u64>, part: &Histogram<u64>) {
    if !part.is_empty() {
        // Bounds are the same everywhere, so that this cannot fail.
        let _ = total.add(part);
    }
}
