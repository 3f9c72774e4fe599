//! The audit log: one JSON line about each attempt to change something, successful or not, each refusal, and
//! each change that no request made (expired overrides, reloads by signal).

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use serde::Serialize;
use tracing::error;
use weir_api::admin::Change;

/// The audit log's file.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: Mutex<File>,
    failed: AtomicU64,
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
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(open(path)?),
            failed: AtomicU64::new(0),
        })
    }

    /// Opens the file anew, after it was moved away.
    ///
    /// # Errors
    /// When it cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        let file = open(&self.path)?;
        *self.file.lock() = file;
        Ok(())
    }

    /// Writes a line, whole, at once. A disk that is full must not keep an operator from acting: the
    /// failure is logged, once for each run of failures.
    pub(super) fn write(&self, line: &Line<'_>) {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        match self.file.lock().write_all(&text) {
            Ok(()) => self.failed.store(0, Ordering::Relaxed),
            Err(cause) => {
                if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    error!(path = %self.path.display(), %cause, "cannot write the audit log");
                }
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}
