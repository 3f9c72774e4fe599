//! One summary from those of the shards.
//!
//! Counts are added. Every latency is read from joined histograms. What is neither (CPU of
//! processes, verdicts) is carried along under the number of its shard. The struct is written out
//! in full, so that a figure that is new to [`Summary`] cannot be forgotten here.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use weir_load::{
    run::latency,
    summary::{
        Distributions, EndpointSummary, Failure, Interval, Latency, ProcessSummary, Summary,
        Validity, Verdict,
    },
};

use super::{logs::JoinedLog, part::Part};

/// Start of the reason that a shard gives when its own samples are few; together they may be enough.
const FEW_SAMPLES: &str = "p99 rests on";
/// Successes that a p99 needs, as in a run that is not split.
const SAMPLES_FOR_P99: u64 = 1_000;

/// The joined histograms of a run.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) response: JoinedLog,
    pub(super) service: JoinedLog,
    pub(super) send_lag: Option<JoinedLog>,
    pub(super) connection_wait: Option<JoinedLog>,
}

/// Joins the summaries; none when there is nothing to join.
pub(super) fn join(parts: &[Part], logs: &Logs) -> Option<Summary> {
    let first = &parts.first()?.summary;
    let each = || parts.iter().map(|part| &part.summary);
    let sum = |value: fn(&Summary) -> u64| each().map(value).sum::<u64>();
    let duration_s = each().map(|part| part.duration_s).fold(0.0, f64::max);
    let requests = sum(|part| part.requests);
    let errors = sum(|part| part.errors);
    let response = logs.response.total();
    let service = logs.service.total();
    let lag = logs.send_lag.as_ref().map(JoinedLog::total);
    let intended: f64 = each()
        .filter_map(|part| Some((part.intended_rps? * part.duration_s).round()))
        .sum();
    Some(Summary {
        scenario: first.scenario.clone(),
        model: first.model,
        engine: first.engine.clone(),
        started_at: each().map(|part| part.started_at.clone()).min()?,
        duration_s,
        warmup_s: each().map(|part| part.warmup_s).fold(0.0, f64::max),
        requests,
        ok: sum(|part| part.ok),
        limited: sum(|part| part.limited),
        errors,
        error_rate: share(errors, requests),
        throughput_rps: per_second(sum(|part| part.ok) as f64, duration_s),
        intended_rps: first.intended_rps.map(|_| per_second(intended, duration_s)),
        unsent: sum(|part| part.unsent),
        response: latency(&response),
        service: latency(&service),
        send_lag: lag.as_ref().map(latency),
        endpoints: endpoints(parts, &logs.response),
        failures: failures(parts, requests),
        intervals: intervals(parts, &logs.response, logs.send_lag.as_ref()),
        processes: processes(parts),
        validity: validity(parts),
        aborted: each().find_map(|part| part.aborted.clone()),
        distributions: Distributions::of(&response, &service),
        extra: extra(parts, logs, duration_s, requests),
    })
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

fn endpoints(parts: &[Part], response: &JoinedLog) -> Vec<EndpointSummary> {
    let mut joined: Vec<EndpointSummary> = Vec::new();
    for endpoint in parts.iter().flat_map(|part| &part.summary.endpoints) {
        match joined.iter_mut().find(|known| known.name == endpoint.name) {
            Some(known) => {
                known.requests += endpoint.requests;
                known.ok += endpoint.ok;
                known.limited += endpoint.limited;
                known.errors += endpoint.errors;
            }
            None => joined.push(endpoint.clone()),
        }
    }
    for endpoint in &mut joined {
        endpoint.response = latency(&response.of_tag(&endpoint.name));
    }
    joined
}

fn failures(parts: &[Part], requests: u64) -> Vec<Failure> {
    let mut joined: Vec<Failure> = Vec::new();
    for failure in parts.iter().flat_map(|part| &part.summary.failures) {
        match joined.iter_mut().find(|known| known.kind == failure.kind) {
            Some(known) => known.count += failure.count,
            None => joined.push(failure.clone()),
        }
    }
    for failure in &mut joined {
        failure.percent = share(failure.count, requests) * 100.0;
    }
    joined.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
    joined
}

fn intervals(parts: &[Part], response: &JoinedLog, lag: Option<&JoinedLog>) -> Vec<Interval> {
    let mut joined: BTreeMap<i64, Interval> = BTreeMap::new();
    for interval in parts.iter().flat_map(|part| &part.summary.intervals) {
        let second = (interval.t_s * 1000.0).round() as i64;
        match joined.get_mut(&second) {
            Some(known) => {
                known.intended += interval.intended;
                known.requests += interval.requests;
                known.ok += interval.ok;
                known.limited += interval.limited;
                known.errors += interval.errors;
                known.in_flight += interval.in_flight;
            }
            None => {
                joined.insert(second, interval.clone());
            }
        }
    }
    let with_latency = |mut interval: Interval| {
        let Latency {
            p50_ms,
            p95_ms,
            p99_ms,
            max_ms,
            ..
        } = latency(&response.of_second(interval.t_s));
        interval.p50_ms = p50_ms;
        interval.p95_ms = p95_ms;
        interval.p99_ms = p99_ms;
        interval.max_ms = max_ms;
        interval.send_lag_p99_ms = lag.map(|lag| latency(&lag.of_second(interval.t_s)).p99_ms);
        interval
    };
    joined.into_values().map(with_latency).collect()
}

fn processes(parts: &[Part]) -> Vec<ProcessSummary> {
    let named = |part: &Part| {
        let number = part.shard.number;
        let rename = move |process: &ProcessSummary| ProcessSummary {
            name: format!("{} (shard {number})", process.name),
            ..process.clone()
        };
        part.summary
            .processes
            .iter()
            .map(rename)
            .collect::<Vec<_>>()
    };
    parts.iter().flat_map(named).collect()
}

/// The worst verdict of all shards, with every reason. What was said only because a single shard
/// has few samples is not held against all of them together.
fn validity(parts: &[Part]) -> Validity {
    let ok: u64 = parts.iter().map(|part| part.summary.ok).sum();
    let holds = |reason: &&String| ok < SAMPLES_FOR_P99 || !reason.starts_with(FEW_SAMPLES);
    let mut validity = Validity {
        verdict: Verdict::Valid,
        reasons: Vec::new(),
    };
    for part in parts {
        let own = &part.summary.validity;
        let reasons: Vec<_> = own.reasons.iter().filter(holds).collect();
        let nothing_left = reasons.is_empty() && !own.reasons.is_empty();
        if own.verdict == Verdict::Invalid || !nothing_left {
            validity.verdict = validity.verdict.max(own.verdict);
        }
        let number = part.shard.number;
        let named = reasons
            .iter()
            .map(|reason| format!("shard {number}: {reason}"));
        validity.reasons.extend(named);
    }
    validity
}

/// Figures that have no name of their own in a summary.
fn extra(parts: &[Part], logs: &Logs, duration_s: f64, requests: u64) -> BTreeMap<String, f64> {
    let mut joined: BTreeMap<String, f64> = BTreeMap::new();
    for (name, value) in parts.iter().flat_map(|part| &part.summary.extra) {
        match how(name) {
            How::Add => *joined.entry(name.clone()).or_default() += value,
            How::Largest => {
                let known = joined.entry(name.clone()).or_insert(*value);
                *known = known.max(*value);
            }
            How::Leave => {}
        }
    }
    if let Some(cpu) = joined.get("generator_cpu_percent").copied()
        && requests > 0
    {
        joined.insert(
            "generator_cpu_us_per_request".to_owned(),
            cpu / 100.0 * duration_s * 1e6 / requests as f64,
        );
    }
    let wait: Option<Histogram<u64>> = logs.connection_wait.as_ref().map(JoinedLog::total);
    if let Some(wait) = wait.filter(|wait| !wait.is_empty()) {
        joined.insert(
            "connection_wait_p99_ms".to_owned(),
            wait.value_at_quantile(0.99) as f64 / 1e3,
        );
    }
    joined.insert("shards".to_owned(), parts.len() as f64);
    joined
}

/// How a figure of several shards becomes one.
enum How {
    Add,
    Largest,
    /// Derived from others, or not to be joined from single values.
    Leave,
}

fn how(name: &str) -> How {
    match name {
        "generator_cpu_us_per_request" => How::Leave,
        "generator_nice" | "other_programs_cores" | "requests_per_arrival" => How::Largest,
        _ if name.contains("busiest") => How::Largest,
        // A percentile of the whole is read from a histogram, or not given at all.
        _ if name.ends_with("_ms") || name.contains("_p99") => How::Leave,
        _ => How::Add,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_added_unless_that_makes_no_sense() {
        assert!(matches!(how("littles_law_n"), How::Add));
        assert!(matches!(how("connects"), How::Add));
        assert!(matches!(how("generator_nice"), How::Largest));
        assert!(matches!(
            how("generator_busiest_thread_cpu_percent"),
            How::Largest
        ));
        assert!(matches!(how("connection_wait_p99_ms"), How::Leave));
    }
}
