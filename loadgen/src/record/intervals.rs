//! Reading interval logs back, without loss.

use std::{
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
    /// A line of it is not what it should be.
    #[error("{path}: histogram {number} is damaged: {reason}")]
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
    let text = fs::read(path).map_err(|cause| LogError::Io {
        path: path.to_owned(),
        cause,
    })?;
    let mut deserializer = Deserializer::new();
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(&text) {
        let damaged = |reason: String| LogError::Damaged {
            path: path.to_owned(),
            number: intervals.len() + 1,
            reason,
        };
        let entry = entry.map_err(|error| damaged(format!("{error:?}")))?;
        let LogEntry::Interval(interval) = entry else {
            continue;
        };
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(interval.encoded_histogram())
            .map_err(|error| damaged(error.to_string()))?;
        let histogram = deserializer
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| damaged(error.to_string()))?;
        intervals.push(LoggedInterval {
            tag: interval.tag().map(|tag| tag.as_str().to_owned()),
            start: interval.start_timestamp(),
            length: interval.duration(),
            histogram,
        });
    }
    Ok(intervals)
}
