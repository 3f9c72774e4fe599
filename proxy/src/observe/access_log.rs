//! The access log: one line a request, as JSON or in nginx's combined format.
//!
//! Lines are collected in memory and written by a thread of their own, so that a slow disk never
//! holds up a request. If it cannot keep up, lines are dropped and counted, not queued without end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use parking_lot::{Condvar, Mutex};

/// Longest time a line waits in memory.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Most bytes waiting; lines beyond are dropped and counted.
const MAX_PENDING: usize = 4 * 1024 * 1024;
/// The writer is woken early at this size.
const WAKE_AT: usize = 64 * 1024;

/// Form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// nginx's `combined`.
    Text,
}

/// What a line tells of a request.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When the request began.
    pub at: SystemTime,
    /// Request id.
    pub id: &'a str,
    /// The client, after trusted proxies have been believed.
    pub client: IpAddr,
    /// Method.
    pub method: &'a str,
    /// Host asked for.
    pub host: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// `HTTP/1.1` …
    pub protocol: &'a str,
    /// Status sent; 499 if the client went away first.
    pub status: u16,
    /// Body bytes sent.
    pub bytes: u64,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
    /// Route, if one matched.
    pub route: Option<&'a str>,
    /// The server that answered, or was tried last.
    pub server: Option<std::net::SocketAddr>,
    /// Servers tried.
    pub tries: u32,
    /// Opening the connection to the server; zero on a kept one.
    pub connect: Option<Duration>,
    /// From sending the request to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// `rejected:ZONE`, `delayed:ZONE` or `dry_run:ZONE`.
    pub limit: Option<(&'static str, &'a str)>,
    /// Why there is no answer of the server.
    pub error: Option<&'a str>,
    /// `User-Agent`.
    pub user_agent: &'a [u8],
    /// `Referer`.
    pub referer: &'a [u8],
    /// Settings revision that the request saw.
    pub revision: u64,
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
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    closed: bool,
    clock: Clock,
}

/// The second as text, made once a second.
#[derive(Debug, Default)]
struct Clock {
    second: i64,
    iso: String,
    clf: String,
}

/// The sink that the writer thread owns.
enum Sink {
    Stdout,
    File(PathBuf, File),
}

// === impl AccessLog ===

impl AccessLog {
    /// Opens `path` for appending, or standard output for `-`, and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread not started.
    pub fn open(path: &Path, format: Format) -> io::Result<Self> {
        let mut sink = Sink::open(path)?;
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            wake: Condvar::new(),
            dropped: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
        });
        let writer = std::thread::Builder::new().name("access-log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_until_closed(&mut sink)
        })?;
        Ok(Self { format, shared, writer: Mutex::new(Some(writer)) })
    }

    /// Adds a line.
    pub fn log(&self, entry: &Entry<'_>) {
        let mut pending = self.shared.pending.lock();
        if pending.lines.len() >= MAX_PENDING {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Pending { lines, clock, .. } = &mut *pending;
        let millis = clock.set(entry.at);
        match self.format {
            Format::Json => json_line(lines, entry, &clock.iso, millis),
            Format::Text => text_line(lines, entry, &clock.clf),
        }
        let wake = lines.len() >= WAKE_AT && lines.len() < WAKE_AT + 1024;
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
                if pending.lines.len() < WAKE_AT && !pending.closed {
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
                Err(e) => tracing::error!(path = %path.display(), error = %e, "cannot reopen the access log"),
            }
        }
    }
}

// === impl Clock ===

impl Clock {
    /// Sets the clock and returns the milliseconds within the second.
    fn set(&mut self, at: SystemTime) -> u32 {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        if second != self.second || self.iso.is_empty() {
            let time = DateTime::<Utc>::from_timestamp(second, 0).unwrap_or_default();
            self.second = second;
            self.iso = time.format("%Y-%m-%dT%H:%M:%S").to_string();
            self.clf = time.format("%d/%b/%Y:%H:%M:%S +0000").to_string();
        }
        since.subsec_millis()
    }
}

fn json_line(out: &mut Vec<u8>, e: &Entry<'_>, second: &str, millis: u32) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        r#"{{"time":"{second}.{millis:03}Z","id":"{}","client":"{}","method":"{}","host":"#,
        e.id, e.client, e.method
    );
    json_string(out, e.host);
    out.extend_from_slice(br#","target":"#);
    json_string(out, e.target);
    let _ = write!(out, r#","protocol":"{}","status":{},"bytes":{},"duration_ms":"#, e.protocol, e.status, e.bytes);
    json_millis(out, e.duration);
    if let Some(route) = e.route {
        out.extend_from_slice(br#","route":"#);
        json_string(out, route.as_bytes());
    }
    if let Some(server) = e.server {
        let _ = write!(out, r#","server":"{server}","tries":{}"#, e.tries);
    }
    if let Some(connect) = e.connect {
        out.extend_from_slice(br#","connect_ms":"#);
        json_millis(out, connect);
    }
    if let Some(first_byte) = e.first_byte {
        out.extend_from_slice(br#","first_byte_ms":"#);
        json_millis(out, first_byte);
    }
    if let Some((what, zone)) = e.limit {
        let _ = write!(out, r#","limit":"{what}:"#);
        out.extend_from_slice(zone.as_bytes());
        out.push(b'"');
    }
    if let Some(error) = e.error {
        out.extend_from_slice(br#","error":"#);
        json_string(out, error.as_bytes());
    }
    out.extend_from_slice(br#","user_agent":"#);
    json_string(out, e.user_agent);
    let _ = writeln!(out, r#","revision":{}}}"#, e.revision);
}

/// Milliseconds with three decimals.
fn json_millis(out: &mut Vec<u8>, d: Duration) {
    let micros = d.as_micros();
    let _ = write!(out, "{}.{:03}", micros / 1000, micros % 1000);
}

/// A JSON string; bytes that are not ASCII text are escaped as Latin-1 code points, so that any
/// request line gives a valid line.
fn json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if text.iter().all(|&b| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        out.extend_from_slice(text);
    } else {
        for &b in text {
            match b {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
                b' '..0x7f => out.push(b),
                _ => {
                    let _ = write!(out, "\\u{:04x}", u32::from(b));
                }
            }
        }
    }
    out.push(b'"');
}

fn text_line(out: &mut Vec<u8>, e: &Entry<'_>, time: &str) {
    let _ = write!(out, "{} - - [{time}] \"{} ", e.client, e.method);
    text_escaped(out, e.target);
    let _ = write!(out, " {}\" {} {} \"", e.protocol, e.status, e.bytes);
    text_escaped(out, if e.referer.is_empty() { b"-" } else { e.referer });
    out.extend_from_slice(b"\" \"");
    text_escaped(out, if e.user_agent.is_empty() { b"-" } else { e.user_agent });
    out.extend_from_slice(b"\"\n");
}

/// nginx's escaping: `\xHH` for what could break a line or a quoted field.
fn text_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for &b in text {
        match b {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{b:02X}");
            }
            _ => out.push(b),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            id: "00ff",
            client: "127.0.0.1".parse().unwrap(),
            method: "GET",
            host: b"x",
            target: b"/a?b=\"\xff\\",
            protocol: "HTTP/1.1",
            status: 200,
            bytes: 5,
            duration: Duration::from_micros(1_234),
            route: Some("/"),
            server: Some("127.0.0.1:8000".parse().unwrap()),
            tries: 1,
            connect: None,
            first_byte: Some(Duration::from_micros(1_000)),
            limit: Some(("delayed", "api_limit")),
            error: None,
            user_agent: b"curl",
            referer: b"",
            revision: 7,
        }
    }

    #[test]
    fn json_lines_are_json_whatever_the_client_sends() {
        let mut out = Vec::new();
        json_line(&mut out, &entry(), "2023-11-14T22:13:20", 123);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(line["target"], "/a?b=\"\u{ff}\\");
        assert_eq!(line["duration_ms"], 1.234);
        assert_eq!(line["limit"], "delayed:api_limit");
        assert_eq!(line["revision"], 7);
    }

    #[test]
    fn text_lines_are_combined_format() {
        let mut out = Vec::new();
        let mut clock = Clock::default();
        clock.set(entry().at);
        text_line(&mut out, &entry(), &clock.clf);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b=\\x22\\xFF\\x5C HTTP/1.1\" 200 5 \"-\" \"curl\"\n"
        );
    }

    #[test]
    fn closing_writes_everything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::open(&path, Format::Json).unwrap();
        for _ in 0..1000 {
            log.log(&entry());
        }
        log.close();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1000);
        assert_eq!(log.dropped(), 0);
    }
}
