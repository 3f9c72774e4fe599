//! From a recording to key figures, and what can be said against them.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::worker::Ended;
use crate::{
    record::{Connections, Recording, Timeline, Totals, failure::by_frequency},
    scenario::{Load, Scenario},
    summary::{
        Distributions, EndpointSummary, Failure, Interval, Latency, Summary, Validity, Verdict,
    },
};

/// Above this, the load was not what the schedule says.
const MAX_SEND_LAG_P99_MS: f64 = 1.0;
/// A percentile needs about this many samples beyond it to mean something.
const SAMPLES_FOR_P99: u64 = 1_000;
/// How far N = X·R may be off before something is wrong with the books.
const LITTLES_LAW_TOLERANCE: f64 = 0.05;
/// A generator thread that is busier than this may have been the bottleneck.
const BUSY_THREAD: f64 = 0.9;
/// Share of arrivals that could not be sent before it is worth a remark; they are always counted.
const UNSENT: f64 = 0.001;
/// Share of arrivals that had to wait for a free connection before it is worth a remark.
const WAITED: f64 = 0.01;

pub(super) fn summarise(
    scenario: &Scenario,
    lanes: u64,
    wanted: Option<u64>,
    timeline: Timeline,
    recording: &Recording,
    ended: &[Ended],
) -> Summary {
    let totals = recording.totals();
    let end = ended.iter().map(|ended| ended.at).max().unwrap_or(0);
    let duration_s = end.saturating_sub(timeline.warmup_ns) as f64 / 1e9;
    let per_second = |count: f64| {
        if duration_s > 0.0 {
            count / duration_s
        } else {
            0.0
        }
    };
    let open = matches!(scenario.load, Load::Open(_));
    let intended: u64 = ended.iter().map(|ended| ended.intended).sum();
    let unsent: u64 = ended.iter().map(|ended| ended.unsent).sum();
    let counts = totals.counts;

    let mut extra = extra_figures(scenario, totals, duration_s, ended);
    let send_lag = totals.send_lag.as_ref().map(latency);
    let validity = judge(&Evidence {
        scenario,
        lanes,
        wanted,
        totals,
        duration_s,
        unsent,
        intended,
        send_lag: send_lag.as_ref(),
        extra: &extra,
    });
    extra.retain(|_, value| value.is_finite());

    Summary {
        scenario: scenario.name.clone(),
        model: scenario.model(),
        engine: scenario.engine.name().to_owned(),
        started_at: humantime::format_rfc3339_millis(recording.measured_start()).to_string(),
        duration_s,
        warmup_s: scenario.warmup.as_secs_f64(),
        requests: counts.requests,
        ok: counts.ok,
        limited: counts.limited,
        errors: counts.errors,
        error_rate: share(counts.errors, counts.requests),
        throughput_rps: per_second(counts.ok as f64),
        intended_rps: open.then(|| per_second(intended as f64)),
        unsent,
        response: latency(&totals.response),
        service: latency(&totals.service),
        send_lag,
        endpoints: endpoints(scenario, totals),
        failures: by_frequency(&totals.failures)
            .into_iter()
            .map(|(kind, count)| Failure {
                kind: kind.name().into_owned(),
                count,
                percent: share(count, counts.requests) * 100.0,
                likely_cause: kind.likely_cause().to_owned(),
            })
            .collect(),
        intervals: intervals(recording),
        processes: Vec::new(),
        validity,
        aborted: None,
        distributions: Distributions::of(&totals.response, &totals.service),
        extra,
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Percentiles of a histogram of microseconds, in milliseconds.
pub fn latency(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    let quantile = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Latency {
        count: histogram.len(),
        min_ms: histogram.min() as f64 / 1e3,
        mean_ms: histogram.mean() / 1e3,
        stdev_ms: histogram.stdev() / 1e3,
        p50_ms: quantile(0.50),
        p90_ms: quantile(0.90),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
        p999_ms: quantile(0.999),
        max_ms: histogram.max() as f64 / 1e3,
    }
}

fn endpoints(scenario: &Scenario, totals: &Totals) -> Vec<EndpointSummary> {
    let described = scenario
        .sent()
        .map(|request| (request.method.as_str(), request.path.source()))
        .chain(
            scenario
                .login
                .iter()
                .map(|login| (login.method.as_str(), login.path.source())),
        );
    let scheduled = scenario.sent().count();
    totals
        .endpoints
        .iter()
        .zip(described)
        .enumerate()
        // Logins usually happen before anything counts: then they are not worth a line.
        .filter(|(index, (totals, _))| *index < scheduled || totals.counts.requests > 0)
        .map(|(_, (totals, (method, path)))| EndpointSummary {
            name: totals.name.clone(),
            method: method.to_owned(),
            path: path.to_owned(),
            requests: totals.counts.requests,
            ok: totals.counts.ok,
            limited: totals.counts.limited,
            errors: totals.counts.errors,
            response: latency(&totals.response),
            failures: totals
                .failures
                .iter()
                .map(|(kind, count)| (kind.name().into_owned(), *count))
                .collect(),
        })
        .collect()
}

fn intervals(recording: &Recording) -> Vec<Interval> {
    let ms = |us: u64| us as f64 / 1e3;
    let open = recording.totals().send_lag.is_some();
    recording
        .seconds()
        .iter()
        .map(|second| Interval {
            t_s: second.t_s,
            intended: second.intended,
            requests: second.counts.requests,
            ok: second.counts.ok,
            limited: second.counts.limited,
            errors: second.counts.errors,
            in_flight: second.in_flight,
            p50_ms: ms(second.p50_us),
            p95_ms: ms(second.p95_us),
            p99_ms: ms(second.p99_us),
            max_ms: ms(second.max_us),
            send_lag_p99_ms: open.then(|| ms(second.lag_p99_us)),
        })
        .collect()
}

fn extra_figures(
    scenario: &Scenario,
    totals: &Totals,
    duration_s: f64,
    ended: &[Ended],
) -> BTreeMap<String, f64> {
    let mut extra = BTreeMap::new();
    let mut put = |name: &str, value: f64| {
        extra.insert(name.to_owned(), value);
    };
    if duration_s <= 0.0 {
        return extra;
    }
    let duration_ns = duration_s * 1e9;
    // N as it was counted, and N as X·R says; they come from different books.
    put(
        "in_flight_mean",
        totals.in_flight_area_ns as f64 / duration_ns,
    );
    put("littles_law_n", totals.busy_ns as f64 / duration_ns);
    if let Load::Closed(closed) = &scenario.load
        && closed.pacing.is_none()
        && scenario.flows.is_empty()
    {
        // The interactive form of the law: users = X·(R + Z).
        let thinking = totals.counts.requests as f64 * closed.think_time.mean().as_secs_f64();
        let busy = totals.busy_ns as f64 / 1e9;
        put("littles_law_users", (busy + thinking) / duration_s);
    }
    if matches!(scenario.load, Load::Open(_)) && !scenario.flows.is_empty() {
        put(Summary::REQUESTS_PER_ARRIVAL, scenario.requests_per_start());
    }
    put("bytes_in_per_s", totals.bytes_in as f64 / duration_s);
    put("connects", totals.connects as f64);
    let mut connections = Connections::default();
    for ended in ended {
        connections.add(&ended.connections);
    }
    for (name, value) in connections.figures() {
        put(name, value);
    }
    if let Some(wait) = &totals.connection_wait {
        put("waited_for_connection", wait.len() as f64);
        if !wait.is_empty() {
            put(
                "connection_wait_p99_ms",
                wait.value_at_quantile(0.99) as f64 / 1e3,
            );
        }
    }
    let mut cpu = 0.0;
    let mut busiest: f64 = 0.0;
    for ended in ended {
        let percent = ended.cpu.as_secs_f64() / duration_s * 100.0;
        cpu += percent;
        busiest = busiest.max(percent);
    }
    put("generator_threads", ended.len() as f64);
    put(
        "generator_nice",
        ended.iter().map(|e| e.nice).max().unwrap_or(0).into(),
    );
    put("generator_cpu_percent", cpu);
    put("generator_busiest_thread_cpu_percent", busiest);
    let requests = totals.counts.requests as f64;
    if requests > 0.0 {
        put(
            "generator_cpu_us_per_request",
            cpu / 100.0 * duration_s * 1e6 / requests,
        );
    }
    extra
}

struct Evidence<'a> {
    scenario: &'a Scenario,
    /// Users or connections of this process.
    lanes: u64,
    /// Requests that this process should start, if their number is fixed.
    wanted: Option<u64>,
    totals: &'a Totals,
    duration_s: f64,
    unsent: u64,
    intended: u64,
    send_lag: Option<&'a Latency>,
    extra: &'a BTreeMap<String, f64>,
}

/// A run with a fixed number of requests.
#[derive(Clone, Copy)]
struct Counted {
    /// Requests that this process should start.
    wanted: u64,
    /// Those that it started, or that its schedule intended; logins do not count.
    started: u64,
}

impl Counted {
    fn of(evidence: &Evidence<'_>) -> Option<Self> {
        let wanted = evidence.wanted?;
        let scheduled = evidence.scenario.requests.len();
        let endpoints = evidence.totals.endpoints.iter().take(scheduled);
        let sent: u64 = endpoints.map(|endpoint| endpoint.counts.requests).sum();
        Some(Self {
            wanted,
            started: sent + evidence.unsent,
        })
    }

    fn is_reached(self) -> bool {
        self.started >= self.wanted
    }
}

/// What can be said against the figures by somebody who knows only the generator.
fn judge(evidence: &Evidence<'_>) -> Validity {
    let mut verdict = Verdict::Valid;
    let mut reasons = Vec::new();
    let mut against = |level: Verdict, reason: String| {
        verdict = verdict.max(level);
        reasons.push(reason);
    };
    let figure = |name: &str| evidence.extra.get(name).copied().unwrap_or(0.0);
    let counts = evidence.totals.counts;

    if counts.requests == 0 {
        against(
            Verdict::Invalid,
            "no request was completed in the measured part".into(),
        );
        return Validity { verdict, reasons };
    }
    let planned = evidence.scenario.duration.as_secs_f64();
    let counted = Counted::of(evidence);
    if let Some(Counted { wanted, started }) = counted.filter(|counted| !counted.is_reached()) {
        against(
            Verdict::Suspect,
            format!(
                "{started} of {wanted} requests were started within {:.1} s, which bounds the run; lengthen `duration`",
                evidence.duration_s
            ),
        );
    }
    let reached = counted.is_some_and(|counted| counted.is_reached());
    if evidence.duration_s < planned * 0.99 && !reached {
        against(
            Verdict::Suspect,
            format!(
                "ended early: {:.1} s of {planned:.1} s were measured",
                evidence.duration_s
            ),
        );
    }
    if let Some(lag) = evidence.send_lag
        && lag.p99_ms > MAX_SEND_LAG_P99_MS
    {
        against(
            Verdict::Invalid,
            format!(
                "the generator was late: p99 send lag {:.2} ms, at most {MAX_SEND_LAG_P99_MS} ms is allowed; use more threads, the wire engine, or a machine with free cores",
                lag.p99_ms
            ),
        );
    }
    if share(evidence.unsent, evidence.intended) > UNSENT {
        against(
            Verdict::Suspect,
            format!(
                "{} of {} intended requests could not be sent: all {} connections were busy; the target did not keep up, or `connections` is too small",
                evidence.unsent, evidence.intended, evidence.lanes
            ),
        );
    } else {
        let waited = figure("waited_for_connection") / evidence.intended.max(1) as f64;
        if waited > WAITED {
            against(
                Verdict::Suspect,
                format!(
                    "{:.1} % of the requests waited for one of {} connections, which their response time includes: the target did not keep up, or `connections` is too small",
                    waited * 100.0,
                    evidence.lanes
                ),
            );
        }
    }
    let (counted, by_law) = (figure("in_flight_mean"), figure("littles_law_n"));
    // Requests across the edges of the window are in one book only: allow for them.
    let mean_s = by_law * evidence.duration_s / counts.requests as f64;
    let edges = 2.0 * (evidence.lanes as f64).min(counted.max(by_law) * 3.0 + 1.0);
    let tolerance = LITTLES_LAW_TOLERANCE * counted.max(by_law)
        + edges * mean_s / evidence.duration_s.max(1e-9);
    if (counted - by_law).abs() > tolerance {
        against(
            Verdict::Suspect,
            format!(
                "Little's law does not hold: {counted:.2} in flight on average, but throughput times latency is {by_law:.2}"
            ),
        );
    }
    if counts.ok < SAMPLES_FOR_P99 {
        against(
            Verdict::Suspect,
            format!(
                "p99 rests on {} samples; at least {SAMPLES_FOR_P99} successes are needed",
                counts.ok
            ),
        );
    }
    let busiest = figure("generator_busiest_thread_cpu_percent");
    if busiest > BUSY_THREAD * 100.0 {
        against(
            Verdict::Suspect,
            format!(
                "a generator thread was busy for {busiest:.0} % of the time: it may have been the bottleneck"
            ),
        );
    }
    Validity { verdict, reasons }
}
