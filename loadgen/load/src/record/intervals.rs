//! Reading interval logs back, without loss: histogram by histogram, all of them, or their sums.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::Engine as _;
use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};

use super::latency_histogram;

/// One line of an interval log.
#[derive(Debug, Clone)]
pub struct LoggedInterval {
    /// The endpoint, if the line is about one.
    pub tag: Option<String>,
    /// Since the measured part began.
    pub start: Duration,
    /// How long it is.
    pub length: Duration,
    /// Microseconds.
    pub histogram: Histogram<u64>,
}

/// An interval log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Something in it is not what it should be.
    #[error("{path} is not an HdrHistogram V2 interval log: histogram {number}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which histogram of the file, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Reads an HdrHistogram interval log as [`super::Recording::write_hlog`] writes it.
///
/// # Errors
///
/// When the file cannot be read or a histogram in it is damaged.
pub fn read_log(path: &Path) -> Result<Vec<LoggedInterval>, LogError> {
    let mut intervals = Vec::new();
    for_each(path, |interval| {
        intervals.push(interval);
        Ok(())
    })?;
    Ok(intervals)
}

/// Adds up the histograms of an interval log by tag, without keeping them in memory; those without
/// a tag are under `""`. Nothing is lost: the sums are those that the run had.
///
/// # Errors
///
/// When the file cannot be read, or a histogram in it is damaged or not one of latencies.
pub fn sum_log(path: &Path) -> Result<BTreeMap<String, Histogram<u64>>, LogError> {
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for_each(path, |interval| {
        sums.entry(interval.tag.unwrap_or_default())
            .or_insert_with(latency_histogram)
            .add(&interval.histogram)
            .map_err(|error| format!("values beyond one hour ({error:?})"))
    })?;
    Ok(sums)
}

/// Hands over one histogram after the other, until one is damaged or refused.
fn for_each(
    path: &Path,
    mut take: impl FnMut(LoggedInterval) -> Result<(), String>,
) -> Result<(), LogError> {
    let text = fs::read(path).map_err(|cause| LogError::Io {
        path: path.to_owned(),
        cause,
    })?;
    let mut deserializer = Deserializer::new();
    let mut number = 1;
    for entry in IntervalLogIterator::new(&text) {
        decode(entry, &mut deserializer)
            .and_then(|interval| match interval {
                Some(interval) => {
                    take(interval)?;
                    number += 1;
                    Ok(())
                }
                None => Ok(()),
            })
            .map_err(|reason| LogError::Damaged {
                path: path.to_owned(),
                number,
                reason,
            })?;
    }
    Ok(())
}

/// The histogram of an entry; none if it is something else, like a comment.
fn decode<E: std::fmt::Debug>(
    entry: Result<LogEntry<'_>, E>,
    deserializer: &mut Deserializer,
) -> Result<Option<LoggedInterval>, String> {
    let LogEntry::Interval(interval) = entry.map_err(|error| format!("{error:?}"))? else {
        return Ok(None);
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(interval.encoded_histogram())
        .map_err(|error| error.to_string())?;
    let histogram = deserializer
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| error.to_string())?;
    Ok(Some(LoggedInterval {
        tag: interval.tag().map(|tag| tag.as_str().to_owned()),
        start: interval.start_timestamp(),
        length: interval.duration(),
        histogram,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::record::IntervalLog;

    /// A log with one second of reads, one of writes, and one of both together.
    fn a_log(folder: &Path) -> PathBuf {
        let mut log = IntervalLog::new();
        let second = Duration::from_secs(1);
        for (at, tag, value) in [
            (0, Some("reads"), 1_000),
            (0, Some("writes"), 9_000),
            (1, Some("reads"), 2_000),
            (2, None, 3_000),
        ] {
            let mut histogram = latency_histogram();
            histogram.record(value).unwrap();
            log.append(&histogram, second * at, second, tag).unwrap();
        }
        let path = folder.join("response.hlog");
        log.save(&path, "response time", SystemTime::UNIX_EPOCH)
            .unwrap();
        path
    }

    #[test]
    fn sums_by_tag_hold_every_interval() {
        let folder = tempfile::tempdir().unwrap();
        let path = a_log(folder.path());
        assert_eq!(read_log(&path).unwrap().len(), 4);
        let sums = sum_log(&path).unwrap();
        let counts: Vec<_> = sums
            .iter()
            .map(|(tag, h)| (tag.as_str(), h.len()))
            .collect();
        assert_eq!(counts, [("", 1), ("reads", 2), ("writes", 1)]);
        assert!(sums["reads"].equivalent(sums["reads"].max(), 2_000));
    }

    #[test]
    fn what_is_damaged_is_named_by_both_readers() {
        let folder = tempfile::tempdir().unwrap();
        let path = a_log(folder.path());
        let text = fs::read_to_string(&path).unwrap();
        // The second histogram loses its middle.
        let line = text.lines().find(|line| line.contains("writes")).unwrap();
        let (head, tail) = line.split_at(line.len() - 20);
        let cut = format!("{}{tail}", &head[..head.len() - 8]);
        fs::write(&path, text.replace(line, &cut)).unwrap();
        for error in [read_log(&path).unwrap_err(), sum_log(&path).unwrap_err()] {
            let said = error.to_string();
            assert!(
                said.contains("response.hlog") && said.contains("histogram 2"),
                "{said}"
            );
        }
        let missing = sum_log(&folder.path().join("missing.hlog")).unwrap_err();
        assert!(matches!(missing, LogError::Io { .. }), "{missing}");
    }
}
