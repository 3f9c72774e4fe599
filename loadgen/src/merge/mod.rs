//! Joining the shards of a run: one run folder that is judged, reported and compared like any other.
//!
//! Lossless: histograms are added bucket by bucket, counts are added, and every percentile is read
//! anew from the joined histograms. Percentiles are never averaged.

mod error;
mod logs;
mod part;
mod series;
mod total;

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use weir_lab::provenance::Provenance;
use weir_load::{
    record::read_log,
    shard::{MergeRecord, MergedShard, Shard},
    summary::{Summary, Verdict},
};

pub use self::error::{Difference, MergeError};
use self::{
    logs::JoinedLog,
    part::{Part, file},
    total::Logs,
};
use crate::{
    judge::{self, Gate, LoggedHistograms, Reach},
    page::write_page,
    results::{RunFolder, RunRecord, now_utc},
};

/// Starts of the measured part that lie further apart than this are worth a remark, seconds.
const SKEW: f64 = 0.25;
/// Below this share of common time the load was not what the scenario says.
const OVERLAP: f64 = 0.9;

/// A joined run; its folder is complete.
#[derive(Debug)]
pub struct Merged {
    /// Where it is.
    pub folder: RunFolder,
    /// What its `run.json` holds.
    pub record: RunRecord,
    /// What its `summary.json` holds.
    pub summary: Summary,
    /// What was joined.
    pub shards: MergeRecord,
    /// The verdict.
    pub gate: Gate,
}

/// Joins the shards in these folders into a run folder.
///
/// # Errors
///
/// When a folder is no shard, shards are missing, are there twice or were run differently, or a
/// file cannot be read or written.
pub fn merge(
    paths: &[PathBuf],
    make_folder: impl FnOnce(&RunRecord) -> Result<RunFolder, MergeError>,
) -> Result<Merged, MergeError> {
    let parts = part::load(paths)?;
    let logs = join_logs(&parts)?;
    let series = series::join(&parts, &logs.response, logs.send_lag.as_ref())?;
    let nothing = || MergeError::Missing {
        missing: vec![1],
        of: 1,
    };
    let mut summary = total::join(&parts, &logs).ok_or_else(nothing)?;
    let first = parts.first().ok_or_else(nothing)?;
    let shards = compare_clocks(&parts, &mut summary);
    note_targets(&parts, &mut summary);

    let mut record = RunRecord {
        provenance: Provenance::collect(now_utc()),
        label: Shard::whole_label(&first.record.label).to_owned(),
        stopped: parts.iter().find_map(|part| part.record.stopped.clone()),
        growth: growth(&parts),
        targets: targets(&parts),
        shard: None,
        merged: Some(shards.clone()),
        ..first.record.clone()
    };
    let folder = make_folder(&record)?;
    record.id = folder.name();
    write(&folder, &logs, &series, start_of(&summary))?;
    let reach = first.shard.reach_rps.map(|rps| Reach { rps });
    let histograms = LoggedHistograms::read(folder.path()).map_err(MergeError::Joined)?;
    record.verdict = judge::judge_exactly(&summary, &histograms, &record.thresholds, reach);
    let gate = judge::gate(&record.verdict, &summary.validity);
    record.gate = gate.text().to_owned();
    folder.save(&record, &summary)?;
    write_page(&folder)?;
    Ok(Merged {
        folder,
        record,
        summary,
        shards,
        gate,
    })
}

fn join_logs(parts: &[Part]) -> Result<Logs, MergeError> {
    Ok(Logs {
        response: joined(parts, "response.hlog")?.unwrap_or_default(),
        service: joined(parts, "service.hlog")?.unwrap_or_default(),
        send_lag: joined(parts, "send_lag.hlog")?,
        connection_wait: joined(parts, "connection_wait.hlog")?,
    })
}

/// Joins one kind of log; none when no shard has it.
fn joined(parts: &[Part], name: &str) -> Result<Option<JoinedLog>, MergeError> {
    let optional = matches!(name, "send_lag.hlog" | "connection_wait.hlog");
    let mut joined: Option<JoinedLog> = None;
    for part in parts {
        let path = file(part, name);
        if optional && !path.is_file() {
            continue;
        }
        let log = read_log(&path)?;
        joined
            .get_or_insert_default()
            .add(&log)
            .map_err(|reason| MergeError::File { path, reason })?;
    }
    Ok(joined)
}

fn write(
    folder: &RunFolder,
    logs: &Logs,
    series: &series::Series,
    start: SystemTime,
) -> Result<(), MergeError> {
    let all = [
        (
            "response.hlog",
            "Response time: intended start to last byte",
            Some(&logs.response),
        ),
        (
            "service.hlog",
            "Service time: sent to last byte",
            Some(&logs.service),
        ),
        (
            "send_lag.hlog",
            "Send lag: intended to actual send",
            logs.send_lag.as_ref(),
        ),
        (
            "connection_wait.hlog",
            "Wait for a free connection, of the requests that found none",
            logs.connection_wait.as_ref(),
        ),
    ];
    for (name, what, log) in all {
        let path = folder.file(name);
        let saved = log.map_or(Ok(()), |log| log.save(&path, what, start));
        saved.map_err(|cause| MergeError::Write { path, cause })?;
    }
    let path = folder.file(series::FILE);
    write_series(&path, series).map_err(|cause| MergeError::Write { path, cause })
}

fn write_series(path: &Path, series: &series::Series) -> std::io::Result<()> {
    let mut csv = csv::Writer::from_path(path)?;
    csv.write_record(&series.header)?;
    for row in &series.rows {
        csv.write_record(row)?;
    }
    csv.flush()
}

fn start_of(summary: &Summary) -> SystemTime {
    humantime::parse_rfc3339(&summary.started_at).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// When each shard began by its own clock, and what that means for the whole.
fn compare_clocks(parts: &[Part], summary: &mut Summary) -> MergeRecord {
    let seconds = |at: SystemTime| {
        at.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    };
    let starts: Vec<f64> = parts
        .iter()
        .map(|part| seconds(start_of(&part.summary)))
        .collect();
    let earliest = starts.iter().copied().fold(f64::INFINITY, f64::min);
    let latest = starts.iter().copied().fold(0.0, f64::max);
    let skew_s = (latest - earliest).max(0.0);
    let first_end = starts
        .iter()
        .zip(parts)
        .map(|(start, part)| start + part.summary.duration_s)
        .fold(f64::INFINITY, f64::min);
    let overlap = ((first_end - latest) / summary.duration_s.max(f64::EPSILON)).clamp(0.0, 1.0);

    let mut against = |verdict: Verdict, reason: String| {
        summary.validity.verdict = summary.validity.verdict.max(verdict);
        summary.validity.reasons.push(reason);
    };
    if overlap < OVERLAP {
        against(
            Verdict::Invalid,
            format!(
                "the shards measured together for only {:.0} % of the time: their starts lie {skew_s:.1} s apart, or one ended early; give all of them the same --start-at",
                overlap * 100.0
            ),
        );
    } else if skew_s > SKEW {
        against(
            Verdict::Suspect,
            format!(
                "the shards began {skew_s:.2} s apart by their own clocks; seconds are counted from each shard's own start"
            ),
        );
    }
    let shard = |part: &Part| MergedShard {
        number: part.shard.number,
        folder: part.record.id.clone(),
        host: part.record.provenance.host.name.clone(),
        started_at: part.summary.started_at.clone(),
        requests: part.summary.requests,
        throughput_rps: part.summary.throughput_rps,
        verdict: part.summary.validity.verdict,
    };
    MergeRecord {
        shards: parts.iter().map(shard).collect(),
        skew_s,
        overlap,
    }
}

/// Shards may know one service by different addresses, and may have been given different services.
fn note_targets(parts: &[Part], summary: &mut Summary) {
    let all = targets(parts);
    let differs = |part: &Part| part.record.targets.iter().any(|one| !all.contains(one));
    let same = parts
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a.record.targets == b.record.targets));
    if !same || parts.iter().any(differs) {
        summary.validity.verdict = summary.validity.verdict.max(Verdict::Suspect);
        summary.validity.reasons.push(format!(
            "the shards drove different addresses ({}): make sure that they are the same service",
            all.join(", ")
        ));
    }
}

fn targets(parts: &[Part]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for target in parts.iter().flat_map(|part| &part.record.targets) {
        if !all.contains(target) {
            all.push(target.clone());
        }
    }
    all
}

fn growth(parts: &[Part]) -> Vec<weir_lab::sample::growth::Growth> {
    let named = |part: &Part| {
        let number = part.shard.number;
        let rename =
            move |growth: &weir_lab::sample::growth::Growth| weir_lab::sample::growth::Growth {
                process: format!("{} (shard {number})", growth.process),
                ..growth.clone()
            };
        part.record.growth.iter().map(rename).collect::<Vec<_>>()
    };
    parts.iter().flat_map(named).collect()
}
