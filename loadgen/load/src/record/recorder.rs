//! The hot side of recording: one recorder a worker, no locks, one hand-over a second.

use std::sync::mpsc::{Receiver, Sender};

use super::{Connections, FailureKind, interval::IntervalData};
use crate::record::connections::Setup;

/// Nanoseconds since the load began.
pub(crate) type Nanos = u64;

const SECOND: i64 = 1_000_000_000;

/// When load is on and when it counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeline {
    pub(crate) warmup_ns: Nanos,
    pub(crate) duration_ns: Nanos,
}

impl Timeline {
    pub(crate) fn end(&self) -> Nanos {
        self.warmup_ns + self.duration_ns
    }

    /// Whether what was meant to start at `start` counts.
    pub(crate) fn counts(&self, start: Nanos) -> bool {
        start >= self.warmup_ns && start < self.end()
    }

    /// The second of the measured part, negative during warm-up; what completes after the end
    /// belongs to the last one.
    pub(crate) fn second_of(&self, at: Nanos) -> i64 {
        let offset = at as i64 - self.warmup_ns as i64;
        offset.div_euclid(SECOND).min(self.last_second())
    }

    pub(crate) fn first_second(&self) -> i64 {
        self.second_of(0)
    }

    pub(crate) fn last_second(&self) -> i64 {
        (self.duration_ns as i64 - 1).max(0).div_euclid(SECOND)
    }

    /// When a second of the measured part ends.
    pub(crate) fn end_of(&self, second: i64) -> Nanos {
        let end = self.warmup_ns as i64 + (second + 1) * SECOND;
        u64::try_from(end).unwrap_or(0).min(self.end())
    }
}

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion {
    pub(crate) endpoint: usize,
    /// When the schedule meant it to start; equals `sent` in a closed model.
    pub(crate) intended: Nanos,
    pub(crate) sent: Nanos,
    pub(crate) done: Nanos,
    pub(crate) failure: Option<FailureKind>,
    /// Bytes received.
    pub(crate) bytes: u64,
}

/// From a worker to the collector.
#[derive(Debug)]
pub(crate) enum Report {
    Interval {
        worker: usize,
        data: Box<IntervalData>,
    },
    Done {
        worker: usize,
    },
}

/// Records what one worker sees; hands a second over when it is full.
#[derive(Debug)]
pub(crate) struct Recorder {
    worker: usize,
    timeline: Timeline,
    current: Box<IntervalData>,
    current_end: Nanos,
    open: bool,
    in_flight: u64,
    users: u64,
    connections: Connections,
    /// When `in_flight` last changed.
    changed: Nanos,
    out: Sender<Report>,
    recycled: Receiver<Box<IntervalData>>,
}

impl Recorder {
    pub(crate) fn new(
        worker: usize,
        timeline: Timeline,
        endpoints: usize,
        open: bool,
        out: Sender<Report>,
        recycled: Receiver<Box<IntervalData>>,
    ) -> Self {
        let mut current = Box::new(IntervalData::new(endpoints, open));
        current.index = timeline.first_second();
        Self {
            worker,
            timeline,
            current_end: timeline.end_of(current.index),
            current,
            open,
            in_flight: 0,
            users: 0,
            connections: Connections::default(),
            changed: 0,
            out,
            recycled,
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(crate) fn user_started(&mut self) {
        self.users += 1;
    }

    /// A user has gone before the end.
    pub(crate) fn user_left(&mut self) {
        self.users = self.users.saturating_sub(1);
    }

    /// A connection was opened; `counts` puts it into the current second, too.
    pub(crate) fn connected(&mut self, setup: &Setup, counts: bool) {
        self.connections.opened(setup);
        self.current.connects += u64::from(counts);
    }

    /// Every connection that was opened so far.
    pub(crate) fn take_connections(&mut self) -> Connections {
        std::mem::take(&mut self.connections)
    }

    /// A request is being sent.
    pub(crate) fn sent(&mut self, now: Nanos) {
        self.advance(now);
        self.in_flight += 1;
    }

    /// How late the generator itself was.
    pub(crate) fn send_lag(&mut self, intended: Nanos, lag: Nanos) {
        if self.timeline.counts(intended)
            && let Some(histogram) = &mut self.current.send_lag
        {
            histogram.saturating_record(to_us(lag));
        }
    }

    /// How long a request waited because every connection was busy.
    pub(crate) fn connection_wait(&mut self, intended: Nanos, wait: Nanos) {
        if self.timeline.counts(intended)
            && let Some(histogram) = &mut self.current.connection_wait
        {
            histogram.saturating_record(to_us(wait));
        }
    }

    /// A request is over, one way or another.
    pub(crate) fn completed(&mut self, completion: &Completion) {
        self.advance(completion.done);
        self.in_flight = self.in_flight.saturating_sub(1);
        // During warm-up everything is kept, for progress only; afterwards what began in it is not.
        if self.current.index >= 0 && !self.timeline.counts(completion.intended) {
            return;
        }
        let service = completion.done.saturating_sub(completion.sent);
        self.current.busy_ns += service;
        self.current.bytes_in += completion.bytes;
        if let Some(kind) = completion.failure {
            self.current.fail(completion.endpoint, kind);
        }
        let Some(endpoint) = self.current.endpoints.get_mut(completion.endpoint) else {
            return;
        };
        endpoint.counts.requests += 1;
        match completion.failure {
            None => {
                endpoint.counts.ok += 1;
                let response = completion.done.saturating_sub(completion.intended);
                endpoint.response.saturating_record(to_us(response));
                if let Some(histogram) = &mut endpoint.service {
                    histogram.saturating_record(to_us(service));
                }
            }
            Some(kind) if kind.is_limited() => endpoint.counts.limited += 1,
            Some(_) => {
                endpoint.counts.errors += 1;
                let first = self
                    .current
                    .errors_between
                    .map_or(completion.done, |(first, _)| first);
                self.current.errors_between = Some((first, completion.done));
            }
        }
    }

    /// Takes note of the time: hands over the seconds that are full.
    pub(crate) fn advance(&mut self, now: Nanos) {
        while now >= self.current_end && self.current.index < self.timeline.last_second() {
            self.account(self.current_end);
            self.hand_over();
        }
        self.account(now);
    }

    /// Adds to the integral of the number in flight; what happens after the end is not in it.
    fn account(&mut self, now: Nanos) {
        let now = now.min(self.timeline.end());
        if now > self.changed {
            self.current.in_flight_area_ns += self.in_flight * (now - self.changed);
            self.changed = now;
        }
    }

    fn hand_over(&mut self) {
        self.current.end = self.current_end;
        self.current.in_flight = self.in_flight;
        self.current.users = self.users;
        let index = self.current.index;
        let mut next = self.recycled.try_recv().unwrap_or_else(|_| {
            Box::new(IntervalData::new(self.current.endpoints.len(), self.open))
        });
        next.index = index + 1;
        self.current_end = self.timeline.end_of(next.index);
        let data = std::mem::replace(&mut self.current, next);
        // The collector outlives the workers; if it is gone, so is whoever wanted the data.
        let _ = self.out.send(Report::Interval {
            worker: self.worker,
            data,
        });
    }

    /// The measured part ends here instead of where it was planned to.
    pub(crate) fn end_at(&mut self, at: Nanos) {
        self.advance(at);
        self.timeline.duration_ns = at.saturating_sub(self.timeline.warmup_ns);
        self.current_end = self.timeline.end_of(self.current.index);
    }

    /// Hands over what is left.
    pub(crate) fn finish(&mut self, now: Nanos) {
        self.advance(now);
        self.hand_over();
        let _ = self.out.send(Report::Done {
            worker: self.worker,
        });
    }
}

/// Microseconds, rounded to nearest: histograms count microseconds.
fn to_us(nanos: Nanos) -> u64 {
    (nanos + 500) / 1000
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const MS: u64 = 1_000_000;
    const TIMELINE: Timeline = Timeline {
        warmup_ns: 1_500 * MS,
        duration_ns: 2_500 * MS,
    };

    fn completion(intended: u64, done: u64) -> Completion {
        Completion {
            endpoint: 0,
            intended,
            sent: intended,
            done,
            failure: None,
            bytes: 100,
        }
    }

    fn record(events: &[(u64, u64)]) -> Vec<IntervalData> {
        let (out, reports) = mpsc::channel();
        let (_back, recycled) = mpsc::channel();
        let mut recorder = Recorder::new(0, TIMELINE, 1, true, out, recycled);
        for (intended, done) in events {
            recorder.sent(*intended);
            recorder.completed(&completion(*intended, *done));
        }
        recorder.finish(4_000 * MS);
        drop(recorder);
        reports
            .iter()
            .filter_map(|report| match report {
                Report::Interval { data, .. } => Some(*data),
                Report::Done { .. } => None,
            })
            .collect()
    }

    #[test]
    fn seconds_are_counted_from_the_measured_part() {
        assert_eq!(TIMELINE.first_second(), -2);
        assert_eq!(TIMELINE.second_of(1_499 * MS), -1);
        assert_eq!(TIMELINE.second_of(1_500 * MS), 0);
        assert_eq!(TIMELINE.last_second(), 2);
        assert_eq!(TIMELINE.second_of(9_999 * MS), 2);
        assert_eq!(TIMELINE.end_of(-2), 500 * MS);
        assert_eq!(TIMELINE.end_of(2), 4_000 * MS);
    }

    #[test]
    fn every_second_is_handed_over_once_and_in_order() {
        let indices: Vec<_> = record(&[(0, MS)]).iter().map(|data| data.index).collect();
        assert_eq!(indices, [-2, -1, 0, 1, 2]);
    }

    #[test]
    fn what_began_in_warm_up_does_not_count() {
        let data = record(&[(1_490 * MS, 1_510 * MS), (1_510 * MS, 1_520 * MS)]);
        let requests: Vec<_> = data
            .iter()
            .map(|data| data.endpoints[0].counts.requests)
            .collect();
        assert_eq!(requests, [0, 0, 1, 0, 0]);
    }

    #[test]
    fn stragglers_belong_to_the_last_second() {
        let data = record(&[(3_900 * MS, 7_000 * MS)]);
        assert_eq!(data[4].endpoints[0].counts.requests, 1);
        let response = &data[4].endpoints[0].response;
        assert!(response.equivalent(response.max(), 3_100_000));
    }

    #[test]
    fn the_integral_of_the_number_in_flight_is_exact() {
        // One request in flight for 800 ms across a boundary, then none.
        let data = record(&[(2_000 * MS, 2_800 * MS)]);
        let area: Vec<_> = data.iter().map(|data| data.in_flight_area_ns).collect();
        assert_eq!(area, [0, 0, 500 * MS, 300 * MS, 0]);
        assert_eq!(data[2].in_flight, 1);
    }

    #[test]
    fn response_counts_from_the_intended_start() {
        let (out, reports) = mpsc::channel();
        let (_back, recycled) = mpsc::channel();
        let mut recorder = Recorder::new(0, TIMELINE, 1, true, out, recycled);
        recorder.sent(1_700 * MS);
        recorder.completed(&Completion {
            sent: 1_700 * MS,
            ..completion(1_600 * MS, 1_710 * MS)
        });
        recorder.finish(4_000 * MS);
        drop(recorder);
        let data: Vec<_> = reports.iter().collect();
        let Report::Interval { data, .. } = &data[2] else {
            panic!("an interval");
        };
        let endpoint = &data.endpoints[0];
        assert!(
            endpoint
                .response
                .equivalent(endpoint.response.max(), 110_000)
        );
        let service = endpoint.service.as_ref().unwrap();
        assert!(service.equivalent(service.max(), 10_000));
    }
}
