//! Where and with what a run was made.

use std::{collections::BTreeMap, fs, process::Command};

use procfs::{CpuInfo, Current, Meminfo};
use serde::{Deserialize, Serialize};

/// What is written when something cannot be found out.
const UNKNOWN: &str = "unknown";

/// Where and with what a run was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provenance {
    /// Start of the run, RFC 3339, UTC.
    pub created_at: String,
    /// The command line.
    pub command: Vec<String>,
    /// State of the source tree in the working directory.
    pub commit: Commit,
    /// The machine.
    pub host: Host,
    /// Programs and their versions.
    pub versions: BTreeMap<String, String>,
}

/// State of a git work tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Full commit id, or `unknown` outside a work tree.
    pub id: String,
    /// Whether tracked files differ from the commit; `None` when there is no commit.
    pub dirty: Option<bool>,
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// CPU model as the kernel names it.
    pub cpu: String,
    /// Cores that the kernel schedules on.
    pub cores: usize,
    /// Physical memory, bytes.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
    /// Distribution.
    pub os: String,
}

impl Provenance {
    /// Looks at this process, this machine and the work tree that it stands in.
    #[must_use]
    pub fn collect(created_at: String) -> Self {
        let versions = BTreeMap::from([(
            "weir-bench".to_owned(),
            format!(
                "{}{}",
                env!("CARGO_PKG_VERSION"),
                if cfg!(debug_assertions) {
                    " (debug build)"
                } else {
                    ""
                }
            ),
        )]);
        Self {
            created_at,
            command: std::env::args().collect(),
            commit: Commit::here(),
            host: Host::here(),
            versions,
        }
    }
}

impl Commit {
    /// The work tree around the current directory.
    #[must_use]
    pub fn here() -> Self {
        let Some(id) = git(&["rev-parse", "HEAD"]) else {
            return Self {
                id: UNKNOWN.to_owned(),
                dirty: None,
            };
        };
        let dirty =
            git(&["status", "--porcelain", "--untracked-files=no"]).map(|lines| !lines.is_empty());
        Self { id, dirty }
    }

    /// The last part of a run folder's name: `git-<commit>`, with `-dirty` when files differ.
    #[must_use]
    pub fn label(&self) -> String {
        let short = self.id.get(..10).unwrap_or(&self.id);
        let dirty = if self.dirty == Some(true) {
            "-dirty"
        } else {
            ""
        };
        format!("git-{short}{dirty}")
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let cpus = CpuInfo::current().ok();
        let cpu = cpus
            .as_ref()
            .and_then(|cpus| cpus.model_name(0))
            .unwrap_or(UNKNOWN)
            .to_owned();
        Self {
            name: first_line("/proc/sys/kernel/hostname"),
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: Meminfo::current().map_or(0, |memory| memory.mem_total),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            os: os_name(),
        }
    }
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path)
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

fn os_name() -> String {
    fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
            Some(line.trim_matches('"').to_owned())
        })
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_is_known() {
        let commit = |id: &str, dirty| Commit {
            id: id.to_owned(),
            dirty,
        };
        assert_eq!(
            commit("0123456789abcdef", Some(false)).label(),
            "git-0123456789"
        );
        assert_eq!(
            commit("0123456789abcdef", Some(true)).label(),
            "git-0123456789-dirty"
        );
        assert_eq!(commit("unknown", None).label(), "git-unknown");
    }

    #[test]
    fn this_machine_has_cores_and_a_kernel() {
        let host = Host::here();
        assert!(host.cores >= 1);
        assert!(!host.kernel.is_empty());
    }
}
