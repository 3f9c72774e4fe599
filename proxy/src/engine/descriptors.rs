//! File descriptors: how many connections the process can hold.
//!
//! Each connection takes one. Those that are open at start, and a reserve, are never given to connections, so
//! that the admin listener, log files and a hand-over always get theirs.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept back: 256 for admin connections, the rest for log files that are opened anew, look-ups, a
/// hand-over, and clients that have been accepted but not admitted yet ([`super::listen::accept::MAX_ARRIVING`]).
const RESERVE: u32 = 320;

/// Assumed to be open if the system does not say: standard streams, listeners, event loops, logs.
const OPEN_UNKNOWN: u32 = 48;

/// An event loop and its wake-ups.
const PER_THREAD: usize = 4;

/// Our handle and that of the thread that accepts.
const PER_LISTENER: usize = 2;

/// How few connections a limit leaves at worst.
const LEAST: u32 = 8;

/// What the limit on descriptors (`ulimit -n`) leaves for connections.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// `None`: unlimited.
    limit: Option<u32>,
    /// What is not for connections.
    overhead: u32,
    /// The `connections.max` that was last compared with the limit.
    compared: AtomicU32,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, and looks how many descriptors are open. So many threads and listeners
    /// are going to be opened.
    pub(super) fn raise(threads: usize, listeners: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(error) => {
                tracing::warn!(%error, "cannot raise the limit on file descriptors to the hard limit");
                current
            }
        };
        let open = std::fs::read_dir("/proc/self/fd").map_or(OPEN_UNKNOWN, |open| {
            u32::try_from(open.count()).unwrap_or(u32::MAX)
        });
        let to_come = u32::try_from(PER_THREAD * threads + PER_LISTENER * listeners);
        let open = open.saturating_add(to_come.unwrap_or(u32::MAX));
        Self::new(
            limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            open,
        )
    }

    fn new(limit: Option<u32>, open: u32) -> Self {
        // Where there are few, a quarter is kept back.
        let reserve = limit.map_or(RESERVE, |limit| RESERVE.min(limit / 4));
        Self {
            limit,
            overhead: open.saturating_add(reserve),
            compared: AtomicU32::new(0),
        }
    }

    /// How many connections there are descriptors for.
    pub(super) fn room(&self) -> u32 {
        self.limit.map_or(u32::MAX, |limit| {
            limit.saturating_sub(self.overhead).max(LEAST)
        })
    }

    /// Says so if `connections.max` is more than the limit leaves room for, once for each value.
    pub(super) fn compare(&self, max: u32) {
        if self.compared.swap(max, Ordering::Relaxed) == max {
            return;
        }
        let (Some(limit), room) = (self.limit, self.room()) else {
            return;
        };
        if max > room {
            tracing::warn!(
                needed = max.saturating_add(self.overhead),
                limit,
                effective = room,
                "connections.max = {max} needs about {} file descriptors and the limit is {limit}: at most {room} \
                 connections are held; raise the limit (ulimit -n, LimitNOFILE) or lower connections.max",
                max.saturating_add(self.overhead),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_is_neither_open_nor_kept_back() {
        assert_eq!(Descriptors::new(Some(4096), 20).room(), 4096 - 20 - RESERVE);
        assert_eq!(Descriptors::new(Some(1024), 20).room(), 1024 - 20 - 256);
        assert_eq!(Descriptors::new(Some(64), 20).room(), 28);
        assert_eq!(Descriptors::new(Some(20), 20).room(), LEAST);
        assert_eq!(Descriptors::new(None, 20).room(), u32::MAX);
    }
}
