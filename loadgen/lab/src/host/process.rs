//! One look at a process.

use std::collections::HashSet;

use procfs::{
    net::TcpState,
    process::{FDTarget, Process},
};
use serde::{Deserialize, Serialize};

/// How closely a process is looked at. Each of these costs time in proportion to what is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detail {
    /// Count sockets: one look at every descriptor.
    pub sockets: bool,
    /// TCP connections by state: one look at every connection of the network namespace.
    pub tcp: bool,
    /// Proportional set size: a walk over the page tables, during which the process may wait.
    pub pss: bool,
}

/// TCP sockets of a process by state. Those in `TIME_WAIT` belong to no process any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpStates {
    /// Waiting for connections.
    pub listen: u64,
    /// Open in both directions.
    pub established: u64,
    /// Closed by the other side and not yet by this one: many of them are a leak of descriptors.
    pub close_wait: u64,
    /// Any other state: opening or closing.
    pub other: u64,
}

/// What one look shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// CPU seconds used so far in user mode.
    pub user_s: f64,
    /// CPU seconds used so far in the kernel.
    pub system_s: f64,
    /// Resident memory, bytes; of a container, its working set.
    pub rss: u64,
    /// Virtual memory, bytes.
    pub vms: u64,
    /// Proportional set size, bytes, if it was asked for and may be read.
    pub pss: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors; none when they may not be counted.
    pub fds: Option<u64>,
    /// Those of them that are sockets.
    pub sockets: Option<u64>,
    /// TCP sockets by state.
    pub tcp: Option<TcpStates>,
}

impl Reading {
    /// CPU seconds used so far, user and system.
    #[must_use]
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// Adds what another process of the same container shows. Resident memory that two processes
    /// share counts twice.
    pub(crate) fn add(&mut self, other: &Self) {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, None) | (None, one) => one,
        };
        self.user_s += other.user_s;
        self.system_s += other.system_s;
        self.rss += other.rss;
        self.vms += other.vms;
        self.threads += other.threads;
        self.pss = sum(self.pss, other.pss);
        self.fds = sum(self.fds, other.fds);
        self.sockets = sum(self.sockets, other.sockets);
        self.tcp = match (self.tcp, other.tcp) {
            (Some(a), Some(b)) => Some(TcpStates {
                listen: a.listen + b.listen,
                established: a.established + b.established,
                close_wait: a.close_wait + b.close_wait,
                other: a.other + b.other,
            }),
            (one, None) | (None, one) => one,
        };
    }
}

/// Looks at a process. None when it is gone, or when its id belongs to another process now:
/// `started` is the start time that it had at first, in clock ticks since the system started.
pub(crate) fn read(pid: u32, started: Option<u64>, detail: Detail) -> Option<(u64, Reading)> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let stat = process.stat().ok()?;
    // A process that has ended and that nobody has waited for yet is gone, too.
    if started.is_some_and(|at| at != stat.starttime) || matches!(stat.state, 'Z' | 'X') {
        return None;
    }
    let tick = procfs::ticks_per_second() as f64;
    let (fds, inodes) = descriptors(&process, detail);
    let reading = Reading {
        user_s: stat.utime as f64 / tick,
        system_s: stat.stime as f64 / tick,
        rss: stat.rss * procfs::page_size(),
        vms: stat.vsize,
        pss: detail.pss.then(|| pss(&process)).flatten(),
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        fds,
        sockets: inodes.as_ref().map(|inodes| inodes.len() as u64),
        tcp: inodes
            .filter(|_| detail.tcp)
            .and_then(|inodes| tcp(&process, &inodes)),
    };
    Some((stat.starttime, reading))
}

/// Number of open descriptors, and the inodes of those that are sockets.
fn descriptors(process: &Process, detail: Detail) -> (Option<u64>, Option<HashSet<u64>>) {
    if !detail.sockets && !detail.tcp {
        return (process.fd_count().ok().map(|count| count as u64), None);
    }
    let Ok(list) = process.fd() else {
        return (None, None);
    };
    let mut count = 0;
    let mut inodes = HashSet::new();
    for descriptor in list.flatten() {
        count += 1;
        if let FDTarget::Socket(inode) = descriptor.target {
            inodes.insert(inode);
        }
    }
    (Some(count), Some(inodes))
}

fn tcp(process: &Process, inodes: &HashSet<u64>) -> Option<TcpStates> {
    let mut states = TcpStates::default();
    let (four, six) = (process.tcp().ok()?, process.tcp6().unwrap_or_default());
    let own = four.iter().chain(&six);
    for entry in own.filter(|entry| inodes.contains(&entry.inode)) {
        let count = match entry.state {
            TcpState::Listen => &mut states.listen,
            TcpState::Established => &mut states.established,
            TcpState::CloseWait => &mut states.close_wait,
            _ => &mut states.other,
        };
        *count += 1;
    }
    Some(states)
}

fn pss(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    let maps = rollup.memory_map_rollup.0;
    maps.first()?.extension.map.get("Pss").copied()
}
