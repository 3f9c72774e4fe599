//! One look at a process.

use procfs::process::Process;

/// What one look shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// CPU seconds used so far, user and system.
    pub(super) cpu_s: f64,
    /// Resident memory, bytes.
    pub(super) rss: u64,
    /// Virtual memory, bytes.
    pub(super) vms: u64,
    /// Threads.
    pub(super) threads: u64,
    /// Open file descriptors; 0 when they may not be counted.
    pub(super) fds: u64,
}

/// Looks at a process; none when it is gone.
pub(super) fn read(pid: u32) -> Option<Reading> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let stat = process.stat().ok()?;
    Some(Reading {
        cpu_s: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
        rss: stat.rss * procfs::page_size(),
        vms: stat.vsize,
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        fds: process.fd_count().map_or(0, |count| count as u64),
    })
}
