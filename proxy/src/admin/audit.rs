//! The audit log: one JSON line about each attempt to change something, successful or not, each refusal, and
//! each change that no request made (expired overrides, reloads by signal).

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use weir_api::{admin::Change, text::printable_json};

use crate::observe::log::{Limits, LogWriter, Receipt, Sink};

/// How long the answer to a change waits for its line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Thousands of lines.
const LIMITS: Limits = Limits {
    wake_at: 1,
    most: 1 << 20,
};

/// The audit log's file. Writing never blocks and never fails: what is lost is counted.
#[derive(Debug)]
pub struct AuditLog {
    writer: LogWriter,
    /// The last line that was not written in time.
    late: AtomicU64,
}

/// One line.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    /// When (RFC 3339, UTC).
    pub(super) at: String,
    /// What kind of event: `request`, or `publication` for a change that no request made.
    pub(super) kind: &'static str,
    /// Who, as far as it is known.
    pub(super) who: &'a str,
    /// The token's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<&'a str>,
    /// Address of the other end, or the Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
    /// `done`, `dry run`, `refused` (not allowed to) or `failed`.
    pub(super) result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    /// Number of the settings in force afterwards.
    pub(super) revision: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) why: &'a str,
    /// Each setting with its old and its new value.
    #[serde(skip_serializing_if = "<[Change]>::is_empty")]
    pub(super) diff: &'a [Change],
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
}

impl AuditLog {
    /// Opens a file for appending; a new one is readable by its owner and group (mode 0640).
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let sink = Sink::file(path, 0o640)?;
        Ok(Self {
            writer: LogWriter::start("audit", sink, LIMITS)?,
            late: AtomicU64::new(0),
        })
    }

    /// Opens the file anew with the next line, after it was moved away.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Counts lost lines.
    #[must_use]
    pub fn losses(&self) -> Arc<AtomicU64> {
        self.writer.losses()
    }

    /// Writes what is left, within a second.
    pub fn close(&self) {
        if !self.writer.close() {
            tracing::warn!("the audit log could not be written to its end");
        }
    }

    /// Queues a line, to be written at once.
    pub(super) fn write(&self, line: &Line<'_>) -> Receipt {
        let text = serde_json::to_string(line).unwrap_or_default();
        self.writer.append_with_receipt(|out, ()| {
            // A refused request may have brought anything.
            out.extend_from_slice(printable_json(&text).as_bytes());
            out.push(b'\n');
        })
    }

    /// Waits for a line as long as [`PATIENCE`] allows, so that who is answered finds it in the file. A disk
    /// that is full or hangs must not keep an operator from acting: then the line is lost or comes later,
    /// and no other line is waited for until the file can be written again.
    pub(super) async fn written(&self, receipt: Receipt) {
        if self.writer.settled() < self.late.load(Ordering::Relaxed) {
            return;
        }
        let line = receipt.line();
        if !receipt.settled(PATIENCE).await {
            self.late.fetch_max(line, Ordering::Relaxed);
        }
    }
}
