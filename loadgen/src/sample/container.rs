//! A container: its main process from `docker inspect`, its resources from its control group.
//!
//! Control groups version 2 (Linux, `Documentation/admin-guide/cgroup-v2.rst`): `cpu.stat` holds
//! microseconds, `memory.current` bytes. Where there is no such group to be read (version 1, a
//! rootless engine), the container's processes are read one by one instead.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    process::{Detail, Reading, read},
    select::descendants,
};

/// Where control groups version 2 are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Microseconds in a second.
const US: f64 = 1e6;

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
    group: Option<PathBuf>,
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
        Ok(Self {
            name: name.to_owned(),
            pid,
            group: group_of(pid, Path::new(CGROUPS)),
        })
    }

    /// Where its figures come from, in words.
    pub(super) fn source(&self) -> String {
        match &self.group {
            Some(group) => format!("control group {}", group.display()),
            None => "its processes, one by one (no control group version 2 to read)".to_owned(),
        }
    }

    /// Looks at it; none when its main process is gone.
    pub(super) fn read(&self, started: Option<u64>, detail: Detail) -> Option<(u64, Reading)> {
        let (start, mut sum) = read(self.pid, started, detail)?;
        let others = match &self.group {
            Some(group) => members(group),
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
        if let Some(group) = &self.group {
            // The group also remembers processes that have ended, and counts shared pages once.
            if let Some((user_s, system_s)) = cpu(group) {
                (sum.user_s, sum.system_s) = (user_s, system_s);
            }
            if let Some(bytes) = working_set(group) {
                sum.rss = bytes;
            }
        }
        Some((start, sum))
    }
}

/// The group of a process, if it has one of its own whose figures can be read.
fn group_of(pid: u32, root: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = path.trim_start_matches('/');
    // The root group is the whole machine.
    if path.is_empty() {
        return None;
    }
    let group = root.join(path);
    (group.join("cpu.stat").is_file() && group.join("memory.current").is_file()).then_some(group)
}

fn members(group: &Path) -> Vec<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
}

fn cpu(group: &Path) -> Option<(f64, f64)> {
    let text = fs::read_to_string(group.join("cpu.stat")).ok()?;
    let seconds = |name| field(&text, name).map(|us| us as f64 / US);
    Some((seconds("user_usec")?, seconds("system_usec")?))
}

/// What the container needs: all of its memory without file pages that nobody has used lately.
fn working_set(group: &Path) -> Option<u64> {
    let current: u64 = fs::read_to_string(group.join("memory.current"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    Some(current.saturating_sub(field(&stat, "inactive_file").unwrap_or(0)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_as_the_kernel_writes_it() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        write(
            "cpu.stat",
            "usage_usec 3500000\nuser_usec 2500000\nsystem_usec 1000000\n",
        );
        write("memory.current", "5000000\n");
        write("memory.stat", "anon 1\ninactive_file 1500000\n");
        write("cgroup.procs", "12\n34\n");
        assert_eq!(cpu(group.path()), Some((2.5, 1.0)));
        assert_eq!(working_set(group.path()), Some(3_500_000));
        assert_eq!(members(group.path()), [12, 34]);
    }
}
