//! A container: its main process from `docker inspect`, its resources from its control groups.
//!
//! Where there are none to be read (some rootless engines), the container's processes are read one
//! by one instead.

use std::{io, process::Command};

use super::select::descendants;
use crate::host::{
    cgroup::Groups,
    process::{Detail, Reading, read},
};

/// A container cannot be sampled.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// No `docker` program.
    #[error(
        "container `{name}`: the `docker` program cannot be started ({cause}); install it, or give the process id with pid:N"
    )]
    NoDocker {
        /// The container.
        name: String,
        /// Why not.
        cause: io::Error,
    },
    /// `docker inspect` failed: the engine is down, or there is no such container.
    #[error("container `{name}`: docker says: {message}")]
    Refused {
        /// The container.
        name: String,
        /// Its words.
        message: String,
    },
    /// It exists and does not run.
    #[error("container `{name}` does not run; start it first")]
    NotRunning {
        /// The container.
        name: String,
    },
}

/// A running container.
#[derive(Debug, Clone)]
pub(super) struct Container {
    /// Its name, or id, as given.
    pub(super) name: String,
    /// Its main process, in the process ids of this machine.
    pub(super) pid: u32,
    groups: Option<Groups>,
}

impl Container {
    /// Asks `docker` for a container by name or id.
    pub(super) fn find(name: &str) -> Result<Self, ContainerError> {
        let output = Command::new("docker")
            .args(["inspect", "--type", "container", "--format"])
            .arg("{{.State.Running}} {{.State.Pid}}")
            .arg(name)
            .output()
            .map_err(|cause| ContainerError::NoDocker {
                name: name.to_owned(),
                cause,
            })?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(ContainerError::Refused {
                name: name.to_owned(),
                message: message.trim().to_owned(),
            });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let pid = text
            .trim()
            .strip_prefix("true ")
            .and_then(|pid| pid.trim().parse().ok())
            .filter(|pid| *pid > 0)
            .ok_or_else(|| ContainerError::NotRunning {
                name: name.to_owned(),
            })?;
        Ok(Self::of(name.to_owned(), pid))
    }

    /// The container whose main process this is.
    pub(super) fn of(name: String, pid: u32) -> Self {
        Self {
            name,
            pid,
            groups: Groups::of(pid),
        }
    }

    /// Where its figures come from, in words.
    pub(super) fn source(&self) -> String {
        match &self.groups {
            Some(groups) => groups.source(),
            None => "its processes, one by one (no control groups to read)".to_owned(),
        }
    }

    /// Looks at it; none when its main process is gone.
    pub(super) fn read(&self, started: Option<u64>, detail: Detail) -> Option<(u64, Reading)> {
        let (start, mut sum) = read(self.pid, started, detail)?;
        let others = match &self.groups {
            Some(groups) => groups.members(),
            None => descendants(&[self.pid])
                .iter()
                .map(|found| found.pid)
                .collect(),
        };
        for pid in others.into_iter().filter(|pid| *pid != self.pid) {
            if let Some((_, reading)) = read(pid, None, detail) {
                sum.add(&reading);
            }
        }
        if let Some(groups) = &self.groups {
            // The group also remembers processes that have ended, and counts shared pages once.
            if let Some((user_s, system_s)) = groups.cpu() {
                (sum.user_s, sum.system_s) = (user_s, system_s);
            }
            if let Some(bytes) = groups.working_set() {
                sum.rss = bytes;
            }
        }
        Some((start, sum))
    }
}
