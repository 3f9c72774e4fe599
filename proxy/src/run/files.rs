//! The files that tell where the proxy is: the pid file and the ports file.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use tracing::error;
use weir_proxy::config::{Config, ListenAddress};

use crate::cli::RunArgs;

/// A file that has been written under another name. [`Pending::place`] moves it to its own, so that a reader sees
/// all of it or nothing.
#[derive(Debug)]
pub(super) struct Pending {
    temp: PathBuf,
    file: PathBuf,
}

impl Pending {
    fn write(file: &Path, text: &str) -> io::Result<Self> {
        if file.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let pending = Self {
            temp: file.with_extension(format!("{}.tmp", std::process::id())),
            file: file.to_owned(),
        };
        let mut out = std::fs::File::create(&pending.temp)?;
        out.write_all(text.as_bytes())?;
        Ok(pending)
    }

    /// Moves the file to its place. A failure goes to the log: it must not end a process that serves.
    pub(super) fn place(self) {
        if let Err(error) = std::fs::rename(&self.temp, &self.file) {
            error!(file = %self.file.display(), %error, "cannot write the file");
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Gone when it has been placed.
        let _ = std::fs::remove_file(&self.temp);
    }
}

/// The pid file, if there is to be one.
pub(super) fn pid_file(config: &Config) -> anyhow::Result<Option<Pending>> {
    let write = |file: &PathBuf| {
        Pending::write(file, &format!("{}\n", std::process::id()))
            .with_context(|| format!("server.pid_file: cannot write {}", file.display()))
    };
    config.server.pid_file.as_ref().map(write).transpose()
}

/// The ports file, if there is to be one.
pub(super) fn ports_file(
    args: &RunArgs,
    listeners: &[ListenAddress],
    admin: SocketAddr,
) -> anyhow::Result<Option<Pending>> {
    let write = |file: &PathBuf| {
        let listeners: Vec<String> = listeners.iter().map(ListenAddress::to_string).collect();
        let text = json!({
            "listeners": listeners, "admin": admin.to_string(), "pid": std::process::id()
        });
        Pending::write(file, &text.to_string())
            .with_context(|| format!("--ports-file: cannot write {}", file.display()))
    };
    args.ports_file.as_ref().map(write).transpose()
}

/// Removes the pid file, unless a successor has written its own.
pub(super) fn remove_pid_file(config: &Config) {
    let Some(file) = &config.server.pid_file else {
        return;
    };
    let ours = std::process::id().to_string();
    if std::fs::read_to_string(file).is_ok_and(|text| text.trim() == ours) {
        // It may have been removed by hand meanwhile.
        let _ = std::fs::remove_file(file);
    }
}
