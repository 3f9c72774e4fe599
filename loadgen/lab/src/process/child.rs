//! A child process that never outlives its guard.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::Deserialize;
use weir_load::stop::StopToken;

use crate::error::TopologyError;

/// Pause between two looks at a ports file or an exit status.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a process may take to end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Lines of a log that an error shows.
const LAST_WORDS: usize = 8;

/// A child process in a process group of its own, with a log file. Dropping it ends the group:
/// SIGTERM, a bounded wait, SIGKILL.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    ports_file: PathBuf,
    log: PathBuf,
}

impl Child {
    /// Starts `program` with `arguments`, `--ports-file` and `--exit-with-parent`; its output goes
    /// to `<folder>/<name>.log`.
    ///
    /// # Errors
    ///
    /// When it cannot be started or its log not be written.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        folder: &Path,
    ) -> Result<Self, TopologyError> {
        let log = folder.join(format!("{name}.log"));
        let ports_file = folder.join(format!(".{name}.ports.json"));
        let _ = fs::remove_file(&ports_file);
        let unwritable = |cause| TopologyError::Write {
            path: log.clone(),
            cause,
        };
        let output = File::create(&log).map_err(unwritable)?;
        let errors = output.try_clone().map_err(unwritable)?;
        let process = Command::new(program)
            .args(arguments)
            .arg("--ports-file")
            .arg(&ports_file)
            .arg("--exit-with-parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A group of its own: Ctrl-C reaches this program alone, which then stops the others in order.
            .process_group(0)
            .spawn()
            .map_err(|cause| TopologyError::Start {
                name: name.to_owned(),
                path: program.to_owned(),
                cause,
            })?;
        Ok(Self {
            name: name.to_owned(),
            process,
            ports_file,
            log,
        })
    }

    /// Name in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the ports file.
    pub fn wait_ready(
        &mut self,
        within: Duration,
        stop: &StopToken,
    ) -> Result<Ports, TopologyError> {
        let deadline = Instant::now() + within;
        loop {
            if let Ok(text) = fs::read_to_string(&self.ports_file)
                && let Ok(ports) = serde_json::from_str(&text)
            {
                let _ = fs::remove_file(&self.ports_file);
                return Ok(ports);
            }
            self.check()?;
            if stop.is_stopped() {
                return Err(TopologyError::Stopped);
            }
            if Instant::now() >= deadline {
                let last_words = self.last_words();
                return Err(TopologyError::NotReady {
                    name: self.name.clone(),
                    within,
                    last_words,
                });
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The first address that a child listens on.
    pub fn first_listener(&self, ports: &Ports) -> Result<SocketAddr, TopologyError> {
        ports
            .listeners
            .first()
            .copied()
            .ok_or_else(|| TopologyError::PortsFile {
                name: self.name.clone(),
                reason: "it names no listener".to_owned(),
            })
    }

    /// Whether it still runs.
    pub(crate) fn check(&mut self) -> Result<(), TopologyError> {
        match self.process.try_wait() {
            Ok(Some(status)) => Err(TopologyError::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                last_words: self.last_words(),
            }),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Ends its process group at once, as a crash would (SIGKILL), and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Ok(id) = i32::try_from(self.process.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.process.wait();
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(LAST_WORDS)..)
            .unwrap_or_default();
        if last.is_empty() {
            format!("(nothing in {})", self.log.display())
        } else {
            last.join("\n")
        }
    }

    fn ended_within(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Ok(id) = i32::try_from(self.process.id()) else {
            return;
        };
        let group = Pid::from_raw(id);
        if !matches!(self.process.try_wait(), Ok(Some(_))) {
            let _ = killpg(group, Signal::SIGTERM);
            if self.ended_within(END_WITHIN).is_none() {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = self.process.wait();
            }
        }
        let _ = fs::remove_file(&self.ports_file);
    }
}

/// What a child writes to its ports file once it is ready.
#[derive(Debug, Deserialize)]
pub struct Ports {
    /// Where it serves, in the order of its configuration.
    pub listeners: Vec<SocketAddr>,
    /// Where its admin API is, if it has one.
    #[serde(default)]
    pub admin: Option<SocketAddr>,
}
