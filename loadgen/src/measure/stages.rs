//! Where the time of a request goes, stage by stage: what the client measured, joined with what the
//! proxy wrote to its access log.
//!
//! Means add up, so each stage's mean and its share of the total are exact sums over the same
//! requests: those that began in the measured part and were answered by a server with a success.
//! Percentiles do not add up; each is that of its stage alone. What lies between client and proxy
//! is a difference of two means (service time as the client saw it, less the time that the proxy
//! counted), so that it has a mean and no percentiles.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::Histogram;
use serde::Deserialize;
use weir_lab::stdio;
use weir_load::{
    record::latency_histogram,
    summary::{Model, Summary},
};

use crate::results::{StageBreakdown, StageRow};

/// Microseconds in a millisecond.
const US_PER_MS: f64 = 1000.0;
/// Share by which the requests of both sides may differ before that is worth a remark.
const TOLERANCE: f64 = 0.01;
/// Longest wait for the last lines of a log: `weir` writes what it has five times a second.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks at the length of a log.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The part of an access log line that matters here.
#[derive(Deserialize)]
struct Line {
    time: String,
    status: u16,
    stages_us: Option<Micros>,
}

#[derive(Deserialize)]
struct Micros {
    choose: u64,
    connect: u64,
    wait: u64,
    send: u64,
}

/// One stage in the proxy.
struct Stage {
    name: &'static str,
    meaning: &'static str,
    histogram: Histogram<u64>,
    sum_us: u64,
}

impl Stage {
    fn new(name: &'static str, meaning: &'static str) -> Self {
        Self {
            name,
            meaning,
            histogram: latency_histogram(),
            sum_us: 0,
        }
    }

    fn record(&mut self, us: u64) {
        self.histogram.saturating_record(us);
        self.sum_us += us;
    }

    fn row(&self, count: f64, total_ms: f64) -> StageRow {
        let quantile = |q: f64| Some(self.histogram.value_at_quantile(q) as f64 / US_PER_MS);
        let mean_ms = self.sum_us as f64 / US_PER_MS / count;
        StageRow {
            stage: self.name.to_owned(),
            meaning: self.meaning.to_owned(),
            mean_ms,
            share: share(mean_ms, total_ms),
            p50_ms: quantile(0.50),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
        }
    }
}

/// Divides the latency of a run by stage, from the log of a proxy that goes on running: it collects
/// lines before it writes them, so that the last ones are waited for. A log that is of no use is a
/// remark, not the end of the run.
pub(super) fn divide_once_written(
    log: &Path,
    measured_start: SystemTime,
    summary: &Summary,
) -> Option<StageBreakdown> {
    let patience = Instant::now() + PATIENCE;
    let length = || std::fs::metadata(log).map_or(0, |found| found.len());
    let found = loop {
        let read = length();
        let found = divide(log, measured_start, summary);
        let complete = matches!(&found, Ok(Some(stages)) if stages.requests >= summary.ok);
        if complete || found.is_err() {
            break found;
        }
        // Read again only once there is more.
        while length() == read && Instant::now() < patience {
            thread::sleep(LOOK_EVERY);
        }
        if Instant::now() >= patience {
            break found;
        }
    };
    let why = match found {
        Ok(Some(stages)) => return Some(stages),
        Ok(None) => "it has no line of a success with `stages_us` in the measured part: it must be the JSON access log of the weir that is driven".to_owned(),
        Err(error) => error.to_string(),
    };
    stdio::note(format_args!(
        "no latency by stage from {}: {why}",
        log.display()
    ));
    None
}

/// Divides the latency of a run by stage. None when the log has no line with stages in the measured
/// part: it is not that of `weir`, or is switched off, or is written as text.
///
/// # Errors
///
/// When the log cannot be read.
pub(super) fn divide(
    log: &Path,
    measured_start: SystemTime,
    summary: &Summary,
) -> io::Result<Option<StageBreakdown>> {
    let end = measured_start + Duration::from_secs_f64(summary.duration_s.max(0.0));
    let mut stages = [
        Stage::new("choose", "proxy received to server chosen"),
        Stage::new("connect", "server chosen to connected"),
        Stage::new("wait", "connected to first byte of the server"),
        Stage::new("send", "first byte to last byte handed to the client"),
    ];
    let mut count = 0_u64;
    for line in BufReader::new(File::open(log)?).split(b'\n') {
        // The last line may be cut short when a process was killed.
        let Ok(line) = serde_json::from_slice::<Line>(&line?) else {
            continue;
        };
        let Some(micros) = line.stages_us.filter(|_| line.status < 400) else {
            continue;
        };
        let began = humantime::parse_rfc3339(&line.time).ok();
        if began.is_none_or(|at| at < measured_start || at >= end) {
            continue;
        }
        count += 1;
        let lengths = [micros.choose, micros.connect, micros.wait, micros.send];
        for (stage, us) in stages.iter_mut().zip(lengths) {
            stage.record(us);
        }
    }
    Ok((count > 0).then(|| put_together(&stages, count, summary)))
}

fn put_together(stages: &[Stage], count: u64, summary: &Summary) -> StageBreakdown {
    let total_ms = summary.response.mean_ms;
    let in_proxy_ms = stages
        .iter()
        .map(|stage| stage.sum_us as f64 / US_PER_MS / count as f64)
        .sum::<f64>();
    let by_difference = |stage: &str, meaning: &str, mean_ms: f64| StageRow {
        stage: stage.to_owned(),
        meaning: meaning.to_owned(),
        mean_ms,
        share: share(mean_ms, total_ms),
        p50_ms: None,
        p95_ms: None,
        p99_ms: None,
    };
    let mut rows = Vec::new();
    if summary.model == Model::Open {
        rows.push(by_difference(
            "queue",
            "intended start to sent by the client",
            summary.response.mean_ms - summary.service.mean_ms,
        ));
    }
    rows.push(by_difference(
        "network",
        "client to proxy and back, both kernels included",
        summary.service.mean_ms - in_proxy_ms,
    ));
    rows.extend(stages.iter().map(|stage| stage.row(count as f64, total_ms)));
    let apart = (count as f64 - summary.ok as f64).abs() / (summary.ok.max(1) as f64);
    let note = if apart > TOLERANCE {
        format!(
            "The proxy logged {count} successes and the client counted {}: the rows by difference compare different requests.",
            summary.ok
        )
    } else {
        String::new()
    };
    StageBreakdown {
        requests: count,
        total_ms,
        rows,
        note,
    }
}

fn share(part: f64, total: f64) -> f64 {
    if total > 0.0 { part / total } else { 0.0 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::page::tests::summary;

    fn line(ms: u64, status: u16, wait: u64) -> String {
        format!(
            r#"{{"time":"2026-01-01T00:00:{:02}.{:03}Z","id":"x","status":{status},"stages_us":{{"choose":100,"connect":0,"wait":{wait},"send":400}}}}"#,
            ms / 1000,
            ms % 1000
        )
    }

    #[test]
    fn stages_and_differences_add_up_to_the_whole() {
        let start = humantime::parse_rfc3339("2026-01-01T00:00:10Z").unwrap();
        let mut log = tempfile::NamedTempFile::new().unwrap();
        // Before the measured part, in it, failed in it, without a server, cut short.
        writeln!(log, "{}", line(9_999, 200, 1_000_000)).unwrap();
        for step in 0..100 {
            writeln!(log, "{}", line(10_000 + step, 200, 9_000 + step * 20)).unwrap();
        }
        writeln!(log, "{}", line(10_500, 502, 1_000_000)).unwrap();
        writeln!(log, r#"{{"time":"2026-01-01T00:00:10.700Z","status":429}}"#).unwrap();
        write!(log, r#"{{"time":"2026-01-01T00:00"#).unwrap();
        let mut summary = summary();
        summary.duration_s = 5.0;
        summary.ok = 100;
        summary.response.mean_ms = 12.0;
        summary.service.mean_ms = 11.0;
        let found = divide(log.path(), start, &summary).unwrap().unwrap();
        assert_eq!((found.requests, found.note.as_str()), (100, ""));
        let sum: f64 = found.rows.iter().map(|row| row.share).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{found:?}");
        let wait = found.rows.iter().find(|row| row.stage == "wait").unwrap();
        assert!((wait.mean_ms - 9.99).abs() < 1e-9 && wait.p99_ms > wait.p50_ms);
        let network = found
            .rows
            .iter()
            .find(|row| row.stage == "network")
            .unwrap();
        assert!((network.mean_ms - 0.51).abs() < 1e-9 && network.p50_ms.is_none());

        summary.ok = 200;
        let unequal = divide(log.path(), start, &summary).unwrap().unwrap();
        assert!(
            unequal
                .note
                .contains("logged 100 successes and the client counted 200")
        );
        let later = start + Duration::from_secs(3600);
        assert!(divide(log.path(), later, &summary).unwrap().is_none());
    }
}
