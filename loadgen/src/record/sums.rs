//! The sums of an interval log, without keeping its intervals in memory.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
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

/// An interval log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HlogError {
    /// It cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// It is not an interval log of latencies.
    #[error("{path} is not an HdrHistogram V2 interval log: entry {entry}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Which histogram of it, from 1.
        entry: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Reads an interval log and adds up its histograms by tag; those without a tag are under `""`.
/// Nothing is lost: the sums are those that the run had.
///
/// # Errors
///
/// When the file cannot be read or is not an interval log.
pub fn sum_hlog(path: &Path) -> Result<BTreeMap<String, Histogram<u64>>, HlogError> {
    let text = fs::read(path).map_err(|cause| HlogError::Read {
        path: path.to_owned(),
        cause,
    })?;
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    let mut deserializer = Deserializer::new();
    let mut entries = 0;
    for entry in IntervalLogIterator::new(&text) {
        let wrong = |reason: String| HlogError::Content {
            path: path.to_owned(),
            entry: entries + 1,
            reason,
        };
        let interval = match entry {
            Ok(LogEntry::Interval(interval)) => interval,
            Ok(_) => continue,
            Err(error) => return Err(wrong(format!("{error:?}"))),
        };
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(interval.encoded_histogram())
            .map_err(|error| wrong(error.to_string()))?;
        let histogram: Histogram<u64> = deserializer
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| wrong(format!("{error:?}")))?;
        let tag = interval.tag().map_or("", |tag| tag.as_str());
        sums.entry(tag.to_owned())
            .or_insert_with(latency_histogram)
            .add(&histogram)
            .map_err(|error| wrong(format!("{error:?}")))?;
        entries += 1;
    }
    Ok(sums)
}
