//! What the machine and the control groups let this process have: memory and processor time.

use std::path::{Path, PathBuf};

use procfs::Current as _;

/// Where control groups are mounted.
const MOUNTED_AT: &str = "/sys/fs/cgroup";

/// The most that this process may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Allowance {
    /// Bytes of memory: the tightest limit of a control group, or what the machine has.
    pub(super) memory: Option<u64>,
    /// Processors: the tightest quota of a control group (1.5 is one and a half), or those it may run on.
    pub(super) cpus: Option<f64>,
}

impl Allowance {
    /// As it is now; a limit can be changed while the process runs (`docker update`).
    pub(super) fn of(process: &procfs::process::Process) -> Self {
        let groups: Vec<(Vec<String>, String)> = process
            .cgroups()
            .map(|groups| {
                groups
                    .0
                    .into_iter()
                    .map(|group| (group.controllers, group.pathname))
                    .collect()
            })
            .unwrap_or_default();
        let machine = Self {
            memory: procfs::Meminfo::current()
                .ok()
                .map(|memory| memory.mem_total),
            cpus: process
                .status()
                .ok()
                .and_then(|status| status.cpus_allowed_list)
                .map(|ranges| {
                    ranges
                        .iter()
                        .map(|(first, last)| f64::from(last - first + 1))
                        .sum()
                }),
        };
        machine.limited_by(Path::new(MOUNTED_AT), &groups)
    }

    /// This, or what the control groups allow if that is less.
    ///
    /// `groups` are the lines of `/proc/self/cgroup`: controllers (none: version 2) and path. Every
    /// ancestor counts, since each limits what is below it. In a container the path may be the host's
    /// while only the container's own group is mounted; then the mount itself is the group.
    fn limited_by(self, mounted_at: &Path, groups: &[(Vec<String>, String)]) -> Self {
        let mut least = self;
        for (controllers, path) in groups {
            let controllers: Vec<&str> = controllers
                .iter()
                .map(String::as_str)
                .filter(|name| !name.is_empty())
                .collect();
            if controllers.is_empty() {
                for group in ancestors(mounted_at, path) {
                    least.memory = smaller(least.memory, number(&group.join("memory.max")));
                    least.cpus = smaller(least.cpus, quota(&group.join("cpu.max")));
                }
            }
            if controllers.contains(&"memory") {
                for group in ancestors(&mounted_at.join("memory"), path) {
                    let limit = number(&group.join("memory.limit_in_bytes"));
                    least.memory = smaller(least.memory, limit);
                }
            }
            if controllers.contains(&"cpu") {
                for group in ancestors(&mounted_at.join("cpu"), path) {
                    least.cpus = smaller(least.cpus, quota_of_version_1(&group));
                }
            }
        }
        least
    }
}

/// The folder of a group and of everything above it, down to the mount.
fn ancestors(mounted_at: &Path, path: &str) -> Vec<PathBuf> {
    Path::new(path.trim_start_matches('/'))
        .ancestors()
        .map(|part| mounted_at.join(part))
        .collect()
}

/// A file that holds a number; `max` and whatever cannot be read are no limit.
fn number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// `cpu.max`: `QUOTA PERIOD`, both in microseconds; a quota of `max` is none.
fn quota(file: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut words = text.split_whitespace();
    ratio(
        words.next()?.parse().ok()?,
        words.next().and_then(|period| period.parse().ok())?,
    )
}

/// The same of version 1; -1 is no quota.
fn quota_of_version_1(group: &Path) -> Option<f64> {
    ratio(
        number(&group.join("cpu.cfs_quota_us"))?,
        number(&group.join("cpu.cfs_period_us"))?,
    )
}

fn ratio(quota: u64, period: u64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

fn smaller<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MACHINE: Allowance = Allowance {
        memory: Some(8_000_000_000),
        cpus: Some(4.0),
    };

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = dir.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        dir
    }

    fn group(controllers: &[&str], path: &str) -> (Vec<String>, String) {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        (controllers, path.to_owned())
    }

    #[test]
    fn the_tightest_group_of_version_2_counts() {
        let dir = tree(&[
            ("a/memory.max", "2147483648\n"),
            ("a/b/memory.max", "max\n"),
            ("a/cpu.max", "max 100000\n"),
            ("a/b/cpu.max", "150000 100000\n"),
        ]);
        assert_eq!(
            MACHINE.limited_by(dir.path(), &[group(&[], "/a/b")]),
            Allowance {
                memory: Some(2_147_483_648),
                cpus: Some(1.5),
            }
        );
        // One empty name is what some kernels' empty list is read as.
        assert_eq!(
            MACHINE.limited_by(dir.path(), &[group(&[""], "/a")]).memory,
            Some(2_147_483_648)
        );
    }

    #[test]
    fn version_1_is_read_where_its_controllers_are_mounted() {
        let dir = tree(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/c/memory.limit_in_bytes", "1000000000\n"),
            ("cpu/c/cpu.cfs_quota_us", "-1\n"),
            ("cpu/c/cpu.cfs_period_us", "100000\n"),
            ("cpu/cpu.cfs_quota_us", "50000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        let groups = [group(&["memory"], "/c"), group(&["cpu", "cpuacct"], "/c")];
        assert_eq!(
            MACHINE.limited_by(dir.path(), &groups),
            Allowance {
                memory: Some(1_000_000_000),
                cpus: Some(0.5),
            }
        );
    }

    #[test]
    fn a_group_that_is_not_mounted_is_the_mount_itself() {
        let dir = tree(&[("memory.max", "1000\n"), ("cpu.max", "100000 100000\n")]);
        assert_eq!(
            MACHINE.limited_by(dir.path(), &[group(&[], "/docker/0123456789")]),
            Allowance {
                memory: Some(1000),
                cpus: Some(1.0),
            }
        );
    }

    #[test]
    fn without_limits_the_machine_counts() {
        let dir = tree(&[("memory.max", "max\n"), ("cpu.max", "max 100000\n")]);
        let groups = [group(&[], "/"), group(&["memory"], "/")];
        assert_eq!(MACHINE.limited_by(dir.path(), &groups), MACHINE);
        let here = Allowance::of(&procfs::process::Process::myself().unwrap());
        assert!(here.memory.unwrap() > 1 << 20, "{here:?}");
        assert!(here.cpus.unwrap() > 0.0, "{here:?}");
    }
}
