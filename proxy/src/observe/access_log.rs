//! The access log: one line a request, as JSON or in nginx's combined format.
//!
//! Lines are collected in memory and written by a thread of their own, so that neither a slow disk nor a
//! pipe that nobody reads holds up a request. If the writer cannot keep up, lines are dropped and counted.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use weir_api::units::ByteSize;

use super::access_line::{Clock, json_line, text_line};
pub use super::access_line::{Entry, TlsEntry};
use super::log::{Limits, LogWriter, Sink};

/// Most bytes waiting; lines beyond are dropped and counted.
const MAX_PENDING: usize = 4 * 1024 * 1024;
/// Who may read a new file is left to the umask.
const MODE: u32 = 0o666;

/// Form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// nginx's `combined`.
    Text,
}

/// Where lines go.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    writer: LogWriter<Clock>,
}

impl AccessLog {
    /// Opens `path` for appending, or standard output for `-`, and starts the writer. It writes when
    /// `buffer` bytes have come together, and at least five times a second. A FIFO needs no reader yet.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread not started.
    pub fn open(path: &Path, format: Format, buffer: ByteSize) -> io::Result<Self> {
        let sink = if path.as_os_str() == "-" {
            Sink::stdout()?
        } else {
            Sink::file(path, MODE)?
        };
        let buffer = usize::try_from(buffer.as_u64()).unwrap_or(MAX_PENDING);
        let limits = Limits {
            wake_at: buffer.clamp(1, MAX_PENDING),
            most: MAX_PENDING,
        };
        Ok(Self {
            format,
            writer: LogWriter::start("access", sink, limits)?,
        })
    }

    /// Adds a line.
    pub fn log(&self, entry: &Entry<'_>) {
        self.writer.append(|lines, clock| {
            let millis = clock.set(entry.at);
            match self.format {
                Format::Json => json_line(lines, entry, &clock.iso, millis),
                Format::Text => text_line(lines, entry, &clock.clf),
            }
        });
    }

    /// Counts lines lost: the file could not be written, or not fast enough.
    #[must_use]
    pub fn losses(&self) -> Arc<AtomicU64> {
        self.writer.losses()
    }

    /// Opens the file anew with the next write, for log rotation.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Writes what is pending and stops the writer, within a second.
    pub fn close(&self) {
        if !self.writer.close() {
            tracing::warn!("the access log could not be written to its end");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::access_line::tests::entry;
    use super::*;

    #[test]
    fn closing_writes_everything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::open(&path, Format::Json, ByteSize::kib(64)).unwrap();
        for _ in 0..1000 {
            log.log(&entry());
        }
        log.close();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap().lines().count(),
            1000
        );
        assert_eq!(log.losses().load(Ordering::Relaxed), 0);
    }
}
