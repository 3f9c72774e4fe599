//! HdrHistogram interval logs, written while the run goes on and kept out of memory when large.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, SystemTime},
};

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag},
    },
};
use tempfile::SpooledTempFile;

/// Beyond this, a log moves from memory to an unnamed temporary file.
const IN_MEMORY: usize = 64 << 10;
/// Values are microseconds; the human-readable maximum of a line is in milliseconds.
const MAX_DIVISOR: f64 = 1000.0;

/// One interval log in the making.
pub struct IntervalLog {
    lines: SpooledTempFile,
    serializer: V2DeflateSerializer,
}

impl std::fmt::Debug for IntervalLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntervalLog").finish_non_exhaustive()
    }
}

impl Default for IntervalLog {
    fn default() -> Self {
        Self::new()
    }
}

impl IntervalLog {
    /// A log without lines.
    pub fn new() -> Self {
        Self {
            lines: SpooledTempFile::new(IN_MEMORY),
            serializer: V2DeflateSerializer::new(),
        }
    }

    /// Appends one histogram; an empty one leaves no line.
    pub fn append(
        &mut self,
        histogram: &Histogram<u64>,
        start: Duration,
        length: Duration,
        tag: Option<&str>,
    ) -> io::Result<()> {
        if histogram.is_empty() {
            return Ok(());
        }
        let tag = tag.and_then(Tag::new);
        // Without comments and times a builder writes no header, so that one per line is fine.
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_max_value_divisor(MAX_DIVISOR);
        let mut line = Vec::new();
        builder
            .begin_log_with(&mut line, &mut self.serializer)?
            .write_histogram(histogram, start, length, tag)
            .map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => error,
                other => io::Error::other(other),
            })?;
        let text = String::from_utf8_lossy(&line);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // Whole lines: each write may be one to a file.
            self.lines.write_all(format!("{line}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Writes header and lines to a file.
    pub fn save(&mut self, path: &Path, what: &str, started_at: SystemTime) -> io::Result<()> {
        let mut file = io::BufWriter::new(File::create(path)?);
        let seconds = started_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        writeln!(
            file,
            "#[{what}, in microseconds; one line a second and endpoint]"
        )?;
        writeln!(file, "#[Histogram log format version 1.3]")?;
        writeln!(file, "#[BaseTime: {seconds:.3} (seconds since epoch)]")?;
        writeln!(file, "#[StartTime: {seconds:.3} (seconds since epoch)]")?;
        writeln!(file, "#[MaxValueDivisor: {MAX_DIVISOR:.3}]")?;
        writeln!(
            file,
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
        )?;
        self.lines.seek(SeekFrom::Start(0))?;
        io::copy(&mut self.lines, &mut file)?;
        self.lines.seek(SeekFrom::End(0))?;
        file.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine as _;
    use hdrhistogram::serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    };

    use super::*;
    use crate::record::latency_histogram;

    #[test]
    fn a_log_can_be_read_back_without_loss() {
        let mut log = IntervalLog::new();
        let mut written = latency_histogram();
        for value in [1, 100, 5_000, 1_000_000] {
            written.record(value).unwrap();
        }
        let second = Duration::from_secs(1);
        log.append(&written, second * 3, second, Some("reads"))
            .unwrap();
        log.append(&latency_histogram(), second * 4, second, None)
            .unwrap();
        log.append(&written, second * 5, second, None).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("response.hlog");
        log.save(&path, "response time", SystemTime::now()).unwrap();
        let text = std::fs::read(&path).unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(&text)
            .map(Result::unwrap)
            .filter_map(|entry| match entry {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        assert_eq!(intervals.len(), 2);
        assert_eq!(intervals[0].tag().unwrap().as_str(), "reads");
        assert_eq!(intervals[0].start_timestamp(), second * 3);
        let encoded = intervals[0].encoded_histogram();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .unwrap();
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .unwrap();
        assert_eq!(read, written);
    }
}
