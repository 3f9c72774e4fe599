//! CPU, memory, threads, descriptors and sockets of processes over time, and what the growth of
//! memory amounts to.
//!
//! A [`Selector`] chooses processes by id, name or container; a [`Tracker`] reads them from `/proc`;
//! a [`Sampler`] does so in a thread of its own beside a run. `weir-bench sample` is the same alone.

mod container;
pub mod figures;
pub mod growth;
mod meter;
mod select;
mod tracker;
pub mod verdict;

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use weir_load::{progress::Watched, summary::ProcessSummary};

use crate::host::{Reading, busy::busy_s};
pub use container::ContainerError;
pub use figures::{Figure, SampleRecord, Sampled as SampledProcess};
pub use growth::{GrowthEstimate, estimate_growth, estimate_growth_above};
pub use meter::{Meter, Usage};
pub use select::{NamePattern, SelectError, Selector};
pub use tracker::{Track, Tracker};
pub use verdict::{GrowthLimit, Leak, MemoryVerdict, judge_growth};

/// What a finished sampler saw.
#[derive(Debug, Clone, Default)]
pub struct Sampled {
    /// The watched processes.
    pub processes: Vec<ProcessSummary>,
    /// Cores that everything else on the machine kept busy; none when that cannot be read.
    pub other_cores: Option<f64>,
}

/// Samples processes until it is finished or dropped.
#[derive(Debug)]
pub struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Tracks>,
}

/// What was read.
#[derive(Debug, Default)]
struct Tracks {
    tracker: Tracker,
    /// CPU seconds that the whole machine has spent so far.
    machine: Vec<(Instant, f64)>,
}

impl Sampler {
    /// Starts sampling at this interval. A process that ends keeps what was read until then.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(watched: Vec<Watched>, every: Duration) -> io::Result<Self> {
        let mut tracker = Tracker::default();
        watched.into_iter().for_each(|one| tracker.watch(one));
        Self::spawn(tracker, every)
    }

    /// Starts sampling what a tracker follows.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn spawn(tracker: Tracker, every: Duration) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = Builder::new().name("sampler".into()).spawn(move || {
            let mut tracks = Tracks {
                tracker,
                machine: Vec::new(),
            };
            loop {
                if let Some(busy) = busy_s() {
                    tracks.machine.push((Instant::now(), busy));
                }
                tracks.tracker.sample();
                match stopped.recv_timeout(every) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return tracks,
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends sampling and sums up the window that began at `from` and lasted `length`. A process
    /// with fewer than two samples in the window is left out.
    #[must_use]
    pub fn finish(self, from: Instant, length: Duration) -> Sampled {
        drop(self.stop);
        let tracks = self.thread.join().unwrap_or_default();
        let summaries = tracks
            .tracker
            .tracks()
            .iter()
            .filter_map(|track| summarise(track, from, length));
        let processes: Vec<_> = summaries.collect();
        let own: f64 = processes
            .iter()
            .map(|process| process.cpu_percent / 100.0)
            .sum();
        let other_cores = busy_cores(&tracks.machine, from, length).map(|all| (all - own).max(0.0));
        Sampled {
            processes,
            other_cores,
        }
    }
}

/// Name of a running process; none when there is no such process.
#[must_use]
pub fn process_name(pid: u32) -> Option<String> {
    select::by_pid(pid).map(|found| found.name)
}

fn is_inside(at: Instant, from: Instant, length: Duration) -> bool {
    at >= from && at.duration_since(from) <= length
}

/// Cores that the machine kept busy in a window.
fn busy_cores(readings: &[(Instant, f64)], from: Instant, length: Duration) -> Option<f64> {
    let mut inside = readings
        .iter()
        .filter(|(at, _)| is_inside(*at, from, length));
    let (first_at, first) = inside.next()?;
    let (last_at, last) = inside.next_back()?;
    let span_s = last_at.duration_since(*first_at).as_secs_f64();
    (span_s > 0.0).then(|| (last - first) / span_s)
}

fn summarise(track: &Track, from: Instant, length: Duration) -> Option<ProcessSummary> {
    let inside: Vec<_> = track
        .readings
        .iter()
        .filter(|(at, _)| is_inside(*at, from, length))
        .collect();
    let ((first_at, first), (last_at, last)) = (inside.first()?, inside.last()?);
    let span_s = last_at.duration_since(*first_at).as_secs_f64();
    if span_s <= 0.0 {
        return None;
    }
    let percent = |from: &(Instant, Reading), to: &(Instant, Reading)| {
        let seconds = to.0.duration_since(from.0).as_secs_f64();
        if seconds > 0.0 {
            (to.1.cpu_s() - from.1.cpu_s()) * 100.0 / seconds
        } else {
            0.0
        }
    };
    let samples = inside.windows(2).filter_map(|pair| match pair {
        [earlier, later] => {
            let t_s = later.0.duration_since(from).as_secs_f64();
            Some((t_s, percent(earlier, later), later.1.rss))
        }
        _ => None,
    });
    let rss = || inside.iter().map(|(_, reading)| reading.rss);
    // The window's edges fall between two samples: scale from the sampled span to all of it.
    let scale = match track.ended {
        Some(_) => 1.0,
        None => length.as_secs_f64() / span_s,
    };
    let used = last.cpu_s() - first.cpu_s();
    Some(ProcessSummary {
        name: track.name.clone(),
        pid: track.pid,
        cpu_s: used * scale,
        user_s: (last.user_s - first.user_s) * scale,
        system_s: (last.system_s - first.system_s) * scale,
        cpu_percent: used * 100.0 / span_s,
        rss_start: first.rss,
        rss_end: last.rss,
        rss_min: rss().min().unwrap_or(0),
        rss_max: rss().max().unwrap_or(0),
        rss_mean: rss().sum::<u64>() / inside.len() as u64,
        vms_end: last.vms,
        threads: last.threads,
        fds: last.fds.unwrap_or(0),
        sockets: last.sockets,
        ended_s: track
            .ended
            .filter(|at| is_inside(*at, from, length))
            .map(|at| at.duration_since(from).as_secs_f64()),
        samples: samples.collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let own = Watched::process("self", std::process::id());
        let gone = Watched::process("gone", u32::MAX / 4);
        let from = Instant::now();
        let sampler = Sampler::start(vec![own, gone], Duration::from_millis(5)).unwrap();
        // A few samples; how many does not matter, two are enough.
        while from.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        let found = sampler.finish(from, Duration::from_secs(60)).processes;
        assert_eq!(found.len(), 1, "a process that does not exist is left out");
        let own = &found[0];
        assert!(own.rss_min > 0 && own.rss_min <= own.rss_mean && own.rss_mean <= own.rss_max);
        assert!(own.threads >= 1 && own.fds >= 1 && own.vms_end > 0);
        assert!(
            own.samples
                .iter()
                .all(|(t_s, _, rss)| *t_s >= 0.0 && *rss > 0)
        );
    }
}
