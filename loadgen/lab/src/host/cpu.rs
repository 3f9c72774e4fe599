//! CPU time to the nanosecond, and the time spent waiting for a core.

use std::{fs, io, time::Duration};

/// What the threads of some processes have used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuClock {
    /// Time on a core.
    pub ran: Duration,
    /// Time ready to run while the cores were busy with others.
    pub waited: Duration,
}

impl CpuClock {
    /// Reads `/proc/PID/task/*/schedstat` (see proc(5)); threads that ended are not in it.
    ///
    /// # Errors
    ///
    /// When a process is gone.
    pub fn of(pids: &[u32]) -> io::Result<Self> {
        let mut clock = Self::default();
        for pid in pids {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                // A thread may end between the two looks.
                let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                    continue;
                };
                let mut numbers = text
                    .split_whitespace()
                    .filter_map(|n| n.parse::<u64>().ok());
                clock.ran += Duration::from_nanos(numbers.next().unwrap_or(0));
                clock.waited += Duration::from_nanos(numbers.next().unwrap_or(0));
            }
        }
        Ok(clock)
    }

    /// What was used since an earlier look.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(earlier.ran),
            waited: self.waited.saturating_sub(earlier.waited),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn work_moves_the_clock() {
        let me = [std::process::id()];
        let before = CpuClock::of(&me).unwrap();
        let mut sum = 0_u64;
        while CpuClock::of(&me).unwrap().since(before).ran < Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(CpuClock::of(&[u32::MAX]).is_err());
    }
}
