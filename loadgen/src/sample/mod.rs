//! CPU, memory, threads and descriptors of processes over a run, read from `/proc` in a thread of
//! its own, and what the growth of memory amounts to.

mod growth;
mod process;

pub use growth::{GrowthEstimate, estimate_growth};

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use self::process::{Reading, read};
use crate::summary::ProcessSummary;

/// A process to sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Name in reports.
    pub name: String,
    /// Process id.
    pub pid: u32,
}

/// Samples processes until it is finished or dropped.
#[derive(Debug)]
pub struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Track>>,
}

/// What was read of one process.
#[derive(Debug)]
struct Track {
    watched: Watched,
    readings: Vec<(Instant, Reading)>,
}

impl Sampler {
    /// Starts sampling at this interval. A process that ends keeps what was read until then.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(watched: Vec<Watched>, every: Duration) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = Builder::new().name("sampler".into()).spawn(move || {
            let mut tracks: Vec<_> = watched
                .into_iter()
                .map(|watched| Track {
                    watched,
                    readings: Vec::new(),
                })
                .collect();
            loop {
                for track in &mut tracks {
                    if let Some(reading) = read(track.watched.pid) {
                        track.readings.push((Instant::now(), reading));
                    }
                }
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
    pub fn finish(self, from: Instant, length: Duration) -> Vec<ProcessSummary> {
        drop(self.stop);
        let tracks = self.thread.join().unwrap_or_default();
        tracks
            .iter()
            .filter_map(|track| summarise(track, from, length))
            .collect()
    }
}

fn summarise(track: &Track, from: Instant, length: Duration) -> Option<ProcessSummary> {
    let inside: Vec<_> = track
        .readings
        .iter()
        .filter(|(at, _)| *at >= from && at.duration_since(from) <= length)
        .collect();
    let ((first_at, first), (last_at, last)) = (inside.first()?, inside.last()?);
    let span_s = last_at.duration_since(*first_at).as_secs_f64();
    if span_s <= 0.0 {
        return None;
    }
    let percent = |from: &(Instant, Reading), to: &(Instant, Reading)| {
        let seconds = to.0.duration_since(from.0).as_secs_f64();
        if seconds > 0.0 {
            (to.1.cpu_s - from.1.cpu_s) * 100.0 / seconds
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
    let used = last.cpu_s - first.cpu_s;
    Some(ProcessSummary {
        name: track.watched.name.clone(),
        pid: track.watched.pid,
        // The window's edges fall between two samples: scale from the sampled span to all of it.
        cpu_s: used * length.as_secs_f64() / span_s,
        cpu_percent: used * 100.0 / span_s,
        rss_start: first.rss,
        rss_end: last.rss,
        rss_min: rss().min().unwrap_or(0),
        rss_max: rss().max().unwrap_or(0),
        rss_mean: rss().sum::<u64>() / inside.len() as u64,
        vms_end: last.vms,
        threads: last.threads,
        fds: last.fds,
        samples: samples.collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let own = Watched {
            name: "self".into(),
            pid: std::process::id(),
        };
        let gone = Watched {
            name: "gone".into(),
            pid: u32::MAX / 4,
        };
        let from = Instant::now();
        let sampler = Sampler::start(vec![own, gone], Duration::from_millis(5)).unwrap();
        // A few samples; how many does not matter, two are enough.
        while from.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        let found = sampler.finish(from, Duration::from_secs(60));
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
