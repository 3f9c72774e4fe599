//! The access log: one line a request, as JSON or in nginx's combined format.
//!
//! Lines are collected in memory and written by a thread of their own, so that a slow disk never
//! holds up a request. If it cannot keep up, lines are dropped and counted, not queued without end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use weir_api::units::ByteSize;

pub use super::access_line::Entry;
use super::access_line::{Clock, json_line, text_line};

/// Longest time a line waits in memory.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Most bytes waiting; lines beyond are dropped and counted.
const MAX_PENDING: usize = 4 * 1024 * 1024;

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
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    wake: Condvar,
    dropped: AtomicU64,
    reopen: AtomicBool,
    /// The writer is woken at this many bytes.
    wake_at: usize,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    closed: bool,
    clock: Clock,
}

/// The sink that the writer thread owns.
enum Sink {
    Stdout,
    File(PathBuf, File),
}

// === impl AccessLog ===

impl AccessLog {
    /// Opens `path` for appending, or standard output for `-`, and starts the writer. It writes when
    /// `buffer` bytes have come together, and at least five times a second.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread not started.
    pub fn open(path: &Path, format: Format, buffer: ByteSize) -> io::Result<Self> {
        let mut sink = Sink::open(path)?;
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            wake: Condvar::new(),
            dropped: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            wake_at: usize::try_from(buffer.as_u64())
                .unwrap_or(MAX_PENDING)
                .clamp(1, MAX_PENDING),
        });
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.write_until_closed(&mut sink)
            })?;
        Ok(Self {
            format,
            shared,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Adds a line.
    pub fn log(&self, entry: &Entry<'_>) {
        let mut pending = self.shared.pending.lock();
        if pending.lines.len() >= MAX_PENDING {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Pending { lines, clock, .. } = &mut *pending;
        let before = lines.len();
        let millis = clock.set(entry.at);
        match self.format {
            Format::Json => json_line(lines, entry, &clock.iso, millis),
            Format::Text => text_line(lines, entry, &clock.clf),
        }
        let wake = before < self.shared.wake_at && lines.len() >= self.shared.wake_at;
        drop(pending);
        if wake {
            self.shared.wake.notify_one();
        }
    }

    /// Lines dropped because the sink could not keep up.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file anew with the next write, for log rotation.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// Writes what is pending and stops the writer.
    pub fn close(&self) {
        self.shared.pending.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has nothing left to write.
            let _ = writer.join();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Shared ===

impl Shared {
    fn write_until_closed(&self, sink: &mut Sink) {
        let mut batch = Vec::new();
        loop {
            let closed = {
                let mut pending = self.pending.lock();
                if pending.lines.len() < self.wake_at && !pending.closed {
                    self.wake.wait_for(&mut pending, FLUSH_EVERY);
                }
                std::mem::swap(&mut pending.lines, &mut batch);
                pending.closed
            };
            if self.reopen.swap(false, Ordering::Relaxed) {
                sink.reopen();
            }
            if !batch.is_empty() && sink.write(&batch).is_err() {
                let lines = batch.iter().filter(|&&b| b == b'\n').count();
                self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
            }
            batch.clear();
            if closed {
                return;
            }
        }
    }
}

// === impl Sink ===

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self::File(path.to_owned(), file))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File(_, file) => file.write_all(bytes),
        }
    }

    /// Keeps the old file if the new one cannot be opened: better in the wrong file than lost.
    fn reopen(&mut self) {
        if let Self::File(path, file) = self {
            match OpenOptions::new().append(true).create(true).open(&*path) {
                Ok(fresh) => *file = fresh,
                Err(e) => {
                    tracing::error!(path = %path.display(), error = %e, "cannot reopen the access log")
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
        assert_eq!(log.dropped(), 0);
    }
}
