//! The queue of a log, and the thread that empties it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::sink::Sink;

/// Longest time a line waits in memory for others to be written with.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// A loss is over when writing has worked and nothing more was lost for so long.
const RECOVERED_AFTER: Duration = Duration::from_secs(1);
/// How long closing a log may take: time to write what is queued, if it can be written at all.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A log with a bounded queue. `F` is what its formatter remembers from line to line.
#[derive(Debug)]
pub(crate) struct LogWriter<F = ()> {
    shared: Arc<Shared<F>>,
}

/// How much of a log is queued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The writer is woken at this many bytes; fewer wait for at most 200 ms.
    pub(crate) wake_at: usize,
    /// With as many bytes waiting, further lines are dropped.
    pub(crate) most: usize,
}

#[derive(Debug)]
struct Shared<F> {
    name: &'static str,
    limits: Limits,
    queue: Mutex<Queue<F>>,
    wake: Condvar,
    finished: Condvar,
    lost: Arc<AtomicU64>,
    /// Nobody waits for what is left any more.
    abandoned: AtomicBool,
    /// How many lines have been written or lost.
    settled: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Queue<F> {
    lines: Vec<u8>,
    /// How many lines were ever queued.
    count: u64,
    formatter: F,
    /// Lines are being dropped since the queue is full.
    full: bool,
    /// The writer waits for the next line, however long it takes.
    idle: bool,
    reopen: bool,
    closed: bool,
    finished: bool,
}

/// Tells when a line has been written, or lost.
#[derive(Debug)]
pub(crate) struct Receipt {
    line: u64,
    settled: watch::Receiver<u64>,
}

/// What the writer is to do next.
struct Turn {
    /// Lines queued so far, those of this turn included.
    count: u64,
    reopen: bool,
    closed: bool,
}

/// What the writer knows of losses.
#[derive(Debug)]
struct Losses {
    /// Lines lost that the error log has told of.
    told: u64,
    /// Lines lost when last looked at.
    seen: u64,
    grew: Instant,
    /// The last write failed, and that was told.
    failing: bool,
}

// === impl LogWriter ===

impl<F: Default + Send + 'static> LogWriter<F> {
    /// Starts the thread that writes to `sink`. `name` is the log's, in metrics and messages.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(name: &'static str, sink: Sink, limits: Limits) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            name,
            limits,
            queue: Mutex::default(),
            wake: Condvar::new(),
            finished: Condvar::new(),
            lost: Arc::default(),
            abandoned: AtomicBool::new(false),
            settled: watch::Sender::new(0),
        });
        std::thread::Builder::new()
            .name(format!("{name}-log"))
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.write_until_closed(sink)
            })?;
        Ok(Self { shared })
    }

    /// Queues a line that `format` appends, or drops it if the queue is full. Never waits for the sink.
    pub(crate) fn append(&self, format: impl FnOnce(&mut Vec<u8>, &mut F)) {
        let shared = &*self.shared;
        let mut queue = shared.queue.lock();
        if queue.lines.len() >= shared.limits.most || queue.closed {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            let first = !std::mem::replace(&mut queue.full, true) && !queue.closed;
            drop(queue);
            if first {
                shared.tell_full();
            }
            return;
        }
        let Queue {
            lines, formatter, ..
        } = &mut *queue;
        let before = lines.len();
        format(lines, formatter);
        let wake_at = shared.limits.wake_at;
        let wake = queue.idle || (before < wake_at && queue.lines.len() >= wake_at);
        queue.count += 1;
        drop(queue);
        if wake {
            shared.wake.notify_one();
        }
    }

    /// As [`append`](Self::append), with a receipt.
    pub(crate) fn append_with_receipt(&self, format: impl FnOnce(&mut Vec<u8>, &mut F)) -> Receipt {
        self.append(format);
        Receipt {
            line: self.shared.queue.lock().count,
            settled: self.shared.settled.subscribe(),
        }
    }

    /// Counts lines lost: dropped since the queue was full, or not written.
    pub(crate) fn losses(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.lost)
    }

    /// How many lines have been written or lost.
    pub(crate) fn settled(&self) -> u64 {
        *self.shared.settled.borrow()
    }

    /// Opens the file anew before the next write, for log rotation.
    pub(crate) fn reopen(&self) {
        self.shared.queue.lock().reopen = true;
        self.shared.wake.notify_one();
    }
}

impl<F> LogWriter<F> {
    /// Writes what is queued and stops the writer, within a second: `false` if that was too short. Then the
    /// writer is left behind; a line from now on is lost.
    pub(crate) fn close(&self) -> bool {
        let shared = &*self.shared;
        let deadline = Instant::now() + CLOSE_WITHIN;
        let mut queue = shared.queue.lock();
        queue.closed = true;
        shared.wake.notify_one();
        let abandoned = shared.abandoned.load(Ordering::Relaxed);
        while !queue.finished && !abandoned {
            if shared.finished.wait_until(&mut queue, deadline).timed_out() {
                break;
            }
        }
        let finished = queue.finished;
        shared.abandoned.store(!finished, Ordering::Relaxed);
        finished
    }
}

impl<F> Drop for LogWriter<F> {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Receipt ===

impl Receipt {
    /// Waits until the line has been written or lost; `false` if that takes longer than `limit`.
    pub(crate) async fn settled(mut self, limit: Duration) -> bool {
        let settled = self.settled.wait_for(|settled| *settled >= self.line);
        matches!(tokio::time::timeout(limit, settled).await, Ok(Ok(_)))
    }

    /// The number of the line, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }
}

// === impl Shared ===

impl<F> Shared<F> {
    fn write_until_closed(&self, mut sink: Sink) {
        let mut batch = Vec::new();
        let mut losses = Losses::new();
        loop {
            let turn = self.next_turn(&mut batch, &losses);
            if turn.reopen
                && let Err(cause) = sink.reopen()
            {
                tracing::error!(log = self.name, %cause, "cannot open the log anew; the old file stays in use");
            }
            if !batch.is_empty() {
                let done = sink.write(&batch, || self.abandoned.load(Ordering::Relaxed));
                if let Err(failed) = &done {
                    let rest = batch.get(failed.written..).unwrap_or_default();
                    let lines = rest.iter().filter(|&&b| b == b'\n').count();
                    self.lost.fetch_add(lines as u64, Ordering::Relaxed);
                }
                losses.wrote(self.name, done.map_err(|failed| failed.cause));
            }
            batch.clear();
            self.settled.send_replace(turn.count);
            losses.look(self.name, self.lost.load(Ordering::Relaxed));
            if turn.closed {
                self.queue.lock().finished = true;
                self.finished.notify_all();
                return;
            }
        }
    }

    /// Waits until there is something to do, and takes the queued lines.
    fn next_turn(&self, batch: &mut Vec<u8>, losses: &Losses) -> Turn {
        let mut queue = self.queue.lock();
        if queue.lines.len() < self.limits.wake_at && !queue.closed && !queue.reopen {
            self.wake.wait_for(&mut queue, FLUSH_EVERY);
        }
        while queue.is_empty() && losses.is_settled() {
            queue.idle = true;
            self.wake.wait(&mut queue);
            queue.idle = false;
        }
        std::mem::swap(&mut queue.lines, batch);
        // A queue that fills again and again is one loss until its end has been told.
        queue.full &= losses.told != losses.seen;
        Turn {
            count: queue.count,
            reopen: std::mem::take(&mut queue.reopen),
            closed: queue.closed,
        }
    }

    fn tell_full(&self) {
        // The error log cannot tell this of itself: it is the one that is full.
        if self.name != super::error_log::NAME {
            tracing::error!(
                log = self.name,
                "the log cannot be written as fast as lines come: lines are lost"
            );
        }
    }
}

// === impl Queue ===

impl<F> Queue<F> {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.closed && !self.reopen
    }
}

// === impl Losses ===

impl Losses {
    fn new() -> Self {
        Self {
            told: 0,
            seen: 0,
            grew: Instant::now(),
            failing: false,
        }
    }

    /// Whether there is nothing left to tell.
    fn is_settled(&self) -> bool {
        self.told == self.seen || self.failing
    }

    fn wrote(&mut self, log: &'static str, done: io::Result<()>) {
        match done {
            Ok(()) => self.failing = false,
            Err(cause) => {
                // Once in a run of failures; those that follow each other closely are one run.
                let first = !self.failing && self.told == self.seen;
                if first && log != super::error_log::NAME {
                    tracing::error!(log, %cause, "the log cannot be written: lines are lost");
                }
                self.failing = true;
            }
        }
    }

    /// Tells once how much was lost, when it seems to be over.
    fn look(&mut self, log: &'static str, lost: u64) {
        if lost != self.seen {
            self.seen = lost;
            self.grew = Instant::now();
        }
        if !self.is_settled() && self.grew.elapsed() >= RECOVERED_AFTER {
            let lines = self.seen - self.told;
            tracing::warn!(log, lines, "the log is written again; lines were lost");
            self.told = self.seen;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    use super::*;

    const SMALL: Limits = Limits {
        wake_at: 1,
        most: 1024,
    };

    fn start(path: &Path) -> LogWriter {
        LogWriter::start("test", Sink::file(path, 0o600).unwrap(), SMALL).unwrap()
    }

    fn line(log: &LogWriter) {
        log.append(|out, ()| out.extend_from_slice(b"a line of text\n"));
    }

    fn lost(log: &LogWriter) -> u64 {
        log.losses().load(Ordering::Relaxed)
    }

    #[test]
    fn closing_writes_everything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = start(&path);
        for _ in 0..20 {
            line(&log);
        }
        assert!(log.close());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count(), lost(&log)), (20, 0));
        line(&log);
        assert_eq!(lost(&log), 1, "a line after closing");
    }

    #[test]
    fn lines_that_fail_are_counted() {
        let log = start(Path::new("/dev/full"));
        for _ in 0..20 {
            line(&log);
        }
        assert!(log.close());
        assert_eq!(lost(&log), 20);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_never_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let log = start(&path);
        // The pipe is filled by another hand, byte by byte to the last; then the queue.
        let mut other = std::fs::OpenOptions::new()
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        for piece in [&[b'x'; 4096][..], b"x"] {
            while std::io::Write::write(&mut other, piece).is_ok() {}
        }
        for _ in 0..1000 {
            line(&log);
        }
        assert!(lost(&log) > 0);
        assert!(!log.close(), "what nobody reads cannot be written");
    }

    #[test]
    fn a_reader_that_comes_late_gets_what_was_kept() {
        use std::io::Read as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let log = start(&path);
        line(&log);
        let mut reader = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        assert!(log.close());
        let mut text = [0; 15];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"a line of text\n");
    }

    #[tokio::test]
    async fn a_receipt_tells_when_the_line_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = start(&path);
        for n in 1..=3 {
            let receipt = log.append_with_receipt(|out, ()| out.extend_from_slice(b"x\n"));
            assert!(receipt.settled(Duration::from_secs(60)).await);
            assert_eq!(std::fs::read_to_string(&path).unwrap().len(), 2 * n);
        }
    }
}
