//! What one worker saw in one second.

use hdrhistogram::Histogram;

use super::FailureKind;

/// Largest latency that is told apart: one hour, in microseconds. Longer ones count as this.
pub const MAX_LATENCY_US: u64 = 3_600_000_000;
/// Significant digits of every histogram.
pub const DIGITS: u8 = 3;

/// An empty latency histogram: 1 µs to 1 h, three significant digits.
///
/// # Panics
///
/// Never: the bounds are constants that [`Histogram::new_with_bounds`] accepts.
#[allow(clippy::expect_used)]
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY_US, DIGITS).expect("constant bounds are valid")
}

/// Counts of one endpoint, or of all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Completed requests.
    pub requests: u64,
    /// Successes.
    pub ok: u64,
    /// 429 answers.
    pub limited: u64,
    /// Failures without 429.
    pub errors: u64,
}

impl Counts {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.ok += other.ok;
        self.limited += other.limited;
        self.errors += other.errors;
    }
}

/// What one worker saw of one endpoint in one second.
#[derive(Debug)]
pub(crate) struct EndpointData {
    pub(crate) counts: Counts,
    /// Response time of successes, microseconds.
    pub(crate) response: Histogram<u64>,
    /// Service time of successes, microseconds; absent where it equals the response time.
    pub(crate) service: Option<Histogram<u64>>,
}

/// What one worker saw in one second.
#[derive(Debug)]
pub(crate) struct IntervalData {
    /// Second of the measured part, from 0; negative during warm-up.
    pub(crate) index: i64,
    /// When it ended, in nanoseconds since the load began.
    pub(crate) end: u64,
    pub(crate) endpoints: Vec<EndpointData>,
    pub(crate) failures: Vec<(usize, FailureKind, u64)>,
    /// When the first and the last failure was noticed, 429 excluded, nanoseconds since the load began.
    pub(crate) errors_between: Option<(u64, u64)>,
    /// Intended to actual send, microseconds; open model only.
    pub(crate) send_lag: Option<Histogram<u64>>,
    /// Wait for a free connection of the requests that found none, microseconds.
    pub(crate) connection_wait: Option<Histogram<u64>>,
    /// In flight when the second ended.
    pub(crate) in_flight: u64,
    /// Integral of the number in flight over the second, request-nanoseconds.
    pub(crate) in_flight_area_ns: u64,
    /// Sum of the time that completed requests took, failures included, nanoseconds.
    pub(crate) busy_ns: u64,
    pub(crate) bytes_in: u64,
    pub(crate) connects: u64,
    /// Users that are there, or connections.
    pub(crate) users: u64,
}

impl IntervalData {
    pub(crate) fn new(endpoints: usize, open: bool) -> Self {
        let endpoint = || EndpointData {
            counts: Counts::default(),
            response: latency_histogram(),
            service: open.then(latency_histogram),
        };
        Self {
            index: 0,
            end: 0,
            endpoints: std::iter::repeat_with(endpoint).take(endpoints).collect(),
            failures: Vec::new(),
            errors_between: None,
            send_lag: open.then(latency_histogram),
            connection_wait: open.then(latency_histogram),
            in_flight: 0,
            in_flight_area_ns: 0,
            busy_ns: 0,
            bytes_in: 0,
            connects: 0,
            users: 0,
        }
    }

    /// Empties it for another second.
    pub(crate) fn reset(&mut self) {
        for endpoint in &mut self.endpoints {
            if endpoint.counts.requests > 0 {
                endpoint.counts = Counts::default();
                endpoint.response.reset();
                if let Some(service) = &mut endpoint.service {
                    service.reset();
                }
            }
        }
        for histogram in [&mut self.send_lag, &mut self.connection_wait]
            .into_iter()
            .flatten()
            .filter(|histogram| !histogram.is_empty())
        {
            histogram.reset();
        }
        self.failures.clear();
        self.errors_between = None;
        self.in_flight = 0;
        self.in_flight_area_ns = 0;
        self.busy_ns = 0;
        self.bytes_in = 0;
        self.connects = 0;
    }

    pub(crate) fn fail(&mut self, endpoint: usize, kind: FailureKind) {
        let known = self
            .failures
            .iter_mut()
            .find(|(at, of, _)| *at == endpoint && *of == kind);
        match known {
            Some((_, _, count)) => *count += 1,
            None => self.failures.push((endpoint, kind, 1)),
        }
    }
}
