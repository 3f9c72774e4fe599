//! CPU and memory of processes right now, for those who watch.

use std::time::Instant;

use weir_load::progress::Watched;

use crate::host::process::{Detail, Reading, read};

/// What a process uses right now.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Name in reports.
    pub name: String,
    /// CPU since the look before, percent of one core; none at the first look.
    pub cpu_percent: Option<f64>,
    /// Resident memory, bytes; none when the process is gone.
    pub rss: Option<u64>,
}

/// When a process was looked at, its start time, and what was seen.
type Look = (Instant, u64, Reading);

/// Looks at processes again and again.
#[derive(Debug)]
pub struct Meter {
    watched: Vec<(Watched, Option<Look>)>,
}

impl Meter {
    /// Looks at these processes.
    #[must_use]
    pub fn new(watched: Vec<Watched>) -> Self {
        Self {
            watched: watched.into_iter().map(|watched| (watched, None)).collect(),
        }
    }

    /// Looks at each process.
    #[must_use]
    pub fn read(&mut self) -> Vec<Usage> {
        let look = |(watched, before): &mut (Watched, Option<Look>)| {
            let started = before.map(|(_, started, _)| started);
            let now = read(watched.pid, started, Detail::default())
                .map(|(started, reading)| (Instant::now(), started, reading));
            let cpu_percent = before.zip(now).and_then(|((then, _, a), (at, _, b))| {
                let seconds = at.duration_since(then).as_secs_f64();
                (seconds > 0.0).then(|| (b.cpu_s() - a.cpu_s()) * 100.0 / seconds)
            });
            *before = now;
            Usage {
                name: watched.name.clone(),
                cpu_percent,
                rss: now.map(|(_, _, reading)| reading.rss),
            }
        };
        self.watched.iter_mut().map(look).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lives_has_memory_and_one_that_does_not_has_none() {
        let processes = vec![
            Watched::process("self", std::process::id()),
            Watched::process("gone", u32::MAX / 4),
        ];
        let mut meter = Meter::new(processes);
        let first = meter.read();
        assert!(first[0].rss.unwrap() > 0 && first[0].cpu_percent.is_none());
        assert_eq!((first[1].rss, first[1].cpu_percent), (None, None));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(meter.read()[0].cpu_percent.unwrap() >= 0.0);
    }
}
