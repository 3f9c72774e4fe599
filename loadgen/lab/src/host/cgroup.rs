//! The control groups of a container: what it has used, and what it may use.
//!
//! Version 2 (Linux, `Documentation/admin-guide/cgroup-v2.rst`): one group, `cpu.stat` in
//! microseconds, `memory.current` in bytes. Version 1 (`Documentation/admin-guide/cgroup-v1/`): one
//! group a controller, `cpuacct.usage_user` in nanoseconds, `memory.usage_in_bytes`.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where control groups are mounted.
const MOUNTED: &str = "/sys/fs/cgroup";
/// Microseconds in a second.
const US: f64 = 1e6;
/// Nanoseconds in a second.
const NS: f64 = 1e9;
/// Version 1 writes "no limit" as the largest number of whole pages; no machine has this much.
const NO_LIMIT: u64 = 1 << 60;

/// What a container may use, as its control groups say.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GroupLimits {
    /// CPU time per time, in cores; none without a quota.
    pub cpus: Option<f64>,
    /// Memory, bytes; none without a limit.
    pub memory_bytes: Option<u64>,
}

/// The control groups of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Groups {
    /// Version 2.
    Unified(PathBuf),
    /// Version 1.
    Legacy {
        cpuacct: PathBuf,
        cpu: PathBuf,
        memory: PathBuf,
    },
}

/// What the control groups of a process limit it to; none when it has none of its own to be read.
#[must_use]
pub fn group_limits(pid: u32) -> Option<GroupLimits> {
    Groups::of(pid).map(|groups| groups.limits())
}

impl Groups {
    /// Those of a process, if it has some of its own whose figures can be read.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::locate(&text, Path::new(MOUNTED))
    }

    /// `text`: what `/proc/PID/cgroup` says.
    fn locate(text: &str, mounted: &Path) -> Option<Self> {
        let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
        if let Some(group) = unified.and_then(|path| below(mounted, path))
            && group.join("cpu.stat").is_file()
            && group.join("memory.current").is_file()
        {
            return Some(Self::Unified(group));
        }
        let legacy = |controller: &str| {
            text.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                if !controllers.split(',').any(|name| name == controller) {
                    return None;
                }
                let mounts = [controllers, controller].map(|name| mounted.join(name));
                below(mounts.iter().find(|mount| mount.is_dir())?, path)
            })
        };
        let groups = Self::Legacy {
            cpuacct: legacy("cpuacct")?,
            cpu: legacy("cpu")?,
            memory: legacy("memory")?,
        };
        (groups.cpu().is_some() && groups.working_set().is_some()).then_some(groups)
    }

    /// Where the figures come from, in words.
    pub(crate) fn source(&self) -> String {
        match self {
            Self::Unified(group) => format!("control group {}", group.display()),
            Self::Legacy {
                cpuacct, memory, ..
            } => format!(
                "control groups {} and {} (version 1)",
                cpuacct.display(),
                memory.display()
            ),
        }
    }

    /// Processes in it.
    pub(crate) fn members(&self) -> Vec<u32> {
        let (Self::Unified(group) | Self::Legacy { memory: group, .. }) = self;
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// CPU seconds so far, in user mode and in the kernel, processes that have ended included.
    pub(crate) fn cpu(&self) -> Option<(f64, f64)> {
        match self {
            Self::Unified(group) => {
                let text = fs::read_to_string(group.join("cpu.stat")).ok()?;
                let seconds = |name| field(&text, name).map(|us| us as f64 / US);
                Some((seconds("user_usec")?, seconds("system_usec")?))
            }
            Self::Legacy { cpuacct, .. } => {
                let seconds = |name| number(&cpuacct.join(name)).map(|ns| ns as f64 / NS);
                Some((
                    seconds("cpuacct.usage_user")?,
                    seconds("cpuacct.usage_sys")?,
                ))
            }
        }
    }

    /// What the container needs: all of its memory without file pages that nobody has used lately.
    pub(crate) fn working_set(&self) -> Option<u64> {
        let (group, used, unused) = match self {
            Self::Unified(group) => (group, "memory.current", "inactive_file"),
            Self::Legacy { memory, .. } => (memory, "memory.usage_in_bytes", "total_inactive_file"),
        };
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let unused = field(&stat, unused).unwrap_or(0);
        Some(number(&group.join(used))?.saturating_sub(unused))
    }

    fn limits(&self) -> GroupLimits {
        let (cpus, memory) = match self {
            Self::Unified(group) => {
                let text = fs::read_to_string(group.join("cpu.max")).unwrap_or_default();
                let mut words = text.split_whitespace().map(str::parse::<f64>);
                // "max" is no number, and no quota.
                let quota = words.next().zip(words.next());
                let cpus = quota.and_then(|(quota, period)| Some(quota.ok()? / period.ok()?));
                (cpus, number(&group.join("memory.max")))
            }
            Self::Legacy { cpu, memory, .. } => {
                // A quota of -1 is no number here, and no quota.
                let quota = number(&cpu.join("cpu.cfs_quota_us"));
                let period = number(&cpu.join("cpu.cfs_period_us"));
                let cpus = quota
                    .zip(period)
                    .map(|(quota, period)| quota as f64 / period as f64);
                (cpus, number(&memory.join("memory.limit_in_bytes")))
            }
        };
        GroupLimits {
            cpus: cpus.filter(|cpus| cpus.is_finite() && *cpus > 0.0),
            memory_bytes: memory.filter(|bytes| *bytes < NO_LIMIT),
        }
    }
}

/// A group below a mount; the root group is the whole machine, not a container's.
fn below(mount: &Path, path: &str) -> Option<PathBuf> {
    let path = path.trim_start_matches('/');
    (!path.is_empty()).then(|| mount.join(path))
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn version_2_is_read_as_the_kernel_writes_it() {
        let mounted = tempfile::tempdir().unwrap();
        let group = mounted.path().join("system.slice/docker-x.scope");
        write(
            &group,
            &[
                (
                    "cpu.stat",
                    "usage_usec 3500000\nuser_usec 2500000\nsystem_usec 1000000\n",
                ),
                ("memory.current", "5000000\n"),
                ("memory.stat", "anon 1\ninactive_file 1500000\n"),
                ("cgroup.procs", "12\n34\n"),
                ("cpu.max", "50000 100000\n"),
                ("memory.max", "max\n"),
            ],
        );
        let locate = |text| Groups::locate(text, mounted.path());
        let groups = locate("0::/system.slice/docker-x.scope\n").unwrap();
        assert_eq!(groups.cpu(), Some((2.5, 1.0)));
        assert_eq!(groups.working_set(), Some(3_500_000));
        assert_eq!(groups.members(), [12, 34]);
        let half = GroupLimits {
            cpus: Some(0.5),
            memory_bytes: None,
        };
        assert_eq!(groups.limits(), half);
        write(
            &group,
            &[("cpu.max", "max 100000\n"), ("memory.max", "2147483648\n")],
        );
        let memory = GroupLimits {
            cpus: None,
            memory_bytes: Some(2 << 30),
        };
        assert_eq!(groups.limits(), memory);
        assert_eq!(locate("0::/\n"), None, "the whole machine");
        assert_eq!(locate("0::/elsewhere\n"), None);
    }

    #[test]
    fn version_1_has_a_group_a_controller() {
        let mounted = tempfile::tempdir().unwrap();
        write(
            mounted.path(),
            &[
                ("cpu,cpuacct/docker/x/cpuacct.usage_user", "2500000000\n"),
                ("cpu,cpuacct/docker/x/cpuacct.usage_sys", "1000000000\n"),
                ("cpu,cpuacct/docker/x/cpu.cfs_quota_us", "100000\n"),
                ("cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n"),
                ("memory/docker/x/memory.usage_in_bytes", "5000000\n"),
                (
                    "memory/docker/x/memory.stat",
                    "inactive_file 7\ntotal_inactive_file 1500000\n",
                ),
                ("memory/docker/x/memory.limit_in_bytes", "2147483648\n"),
                ("memory/docker/x/cgroup.procs", "12\n"),
            ],
        );
        let text = "9:name=systemd:/docker/x\n4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/\n";
        let groups = Groups::locate(text, mounted.path()).unwrap();
        assert_eq!(groups.cpu(), Some((2.5, 1.0)));
        assert_eq!(groups.working_set(), Some(3_500_000));
        assert_eq!(groups.members(), [12]);
        let limits = GroupLimits {
            cpus: Some(1.0),
            memory_bytes: Some(2 << 30),
        };
        assert_eq!(groups.limits(), limits);
        assert!(groups.source().contains("version 1"));
        write(
            mounted.path(),
            &[
                ("cpu,cpuacct/docker/x/cpu.cfs_quota_us", "-1\n"),
                (
                    "memory/docker/x/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
            ],
        );
        assert_eq!(groups.limits(), GroupLimits::default());
        let machine = "4:memory:/\n3:cpu,cpuacct:/\n0::/\n";
        assert_eq!(Groups::locate(machine, mounted.path()), None);
    }
}
