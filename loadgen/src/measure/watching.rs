//! What is watched beside the load: further processes, stages from an access log, a flame graph.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::Duration,
};

use weir_lab::{
    host::Detail,
    profile::{self, Event, FlameGraph, ProfileError},
    sample::{Selector, Tracker, process_name},
    stdio,
};
use weir_load::{progress::Watched, units::parse_duration};

use super::{MeasureError, Order};
use crate::results::ProfileRecord;

/// The picture in a run folder.
pub(super) const FLAME_GRAPH: &str = "flame.svg";
/// Time between two samples of a process.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// Length of a profile when none is given, unless the run is shorter.
const PROFILE_FOR: &str = "10s";

/// What is watched beside the load.
#[derive(Debug, Clone, clap::Args)]
pub struct Watching {
    /// Sample this, too: pid:123, name:weir, name:/PATTERN/ (command lines), container:api; may be
    /// repeated.
    #[arg(long = "sample", value_name = "WHAT")]
    pub select: Vec<Selector>,
    /// Sample processes that those under test have started, too.
    #[arg(long)]
    pub children: bool,
    /// Time between two samples of a process.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "250ms")]
    pub sample_every: Duration,
    /// Draw a flame graph of the proxy's CPU time from the start of the measured part, for so long.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", num_args = 0..=1, default_missing_value = PROFILE_FOR)]
    pub profile: Option<Duration>,
    /// Draw it of this process instead.
    #[arg(long, value_name = "PID")]
    pub profile_pid: Option<u32>,
    /// Access log of the `weir` that is driven, JSON, to divide latency by stage; a topology's own is
    /// found without it.
    #[arg(long, value_name = "FILE", conflicts_with = "topology")]
    pub access_log: Option<PathBuf>,
}

impl Default for Watching {
    fn default() -> Self {
        Self {
            select: Vec::new(),
            children: false,
            sample_every: SAMPLE_EVERY,
            profile: None,
            profile_pid: None,
            access_log: None,
        }
    }
}

/// A profile under way.
pub(super) struct Profiling {
    watched: Watched,
    thread: JoinHandle<Result<FlameGraph, ProfileError>>,
}

impl Watching {
    /// Whether what is to be read afterwards can be read: nobody drives a load to learn that it
    /// cannot.
    pub(super) fn check(&self) -> Result<(), MeasureError> {
        let Some(log) = &self.access_log else {
            return Ok(());
        };
        match File::open(log).and_then(|file| file.metadata()) {
            Ok(found) if found.is_file() => Ok(()),
            Ok(_) => Err(io::Error::other(
                "it is not a file; weir writes one with `access_log.path`",
            )),
            Err(cause) => Err(cause),
        }
        .map_err(|cause| MeasureError::AccessLog {
            path: log.clone(),
            cause,
        })
    }

    /// A tracker of the processes of a run and of everything that was chosen beside them.
    pub(super) fn tracker(&self, own: Vec<Watched>) -> Result<Tracker, MeasureError> {
        // Counting sockets looks at every descriptor of every process: only when somebody asks.
        let detail = Detail {
            sockets: !self.select.is_empty(),
            ..Detail::default()
        };
        let mut tracker = Tracker::new(detail, self.children);
        own.into_iter().for_each(|watched| tracker.watch(watched));
        for selector in &self.select {
            tracker.select(selector)?;
        }
        Ok(tracker)
    }

    /// Starts to profile if that was asked for. `own`: the processes of the run, the proxy first.
    pub(super) fn profile(
        &self,
        order: &Order,
        own: &[Watched],
        folder: &Path,
    ) -> Result<Option<Profiling>, MeasureError> {
        let length = match (self.profile, self.profile_pid) {
            (None, None) => return Ok(None),
            (Some(length), _) => length,
            (None, Some(_)) => parse_duration(PROFILE_FOR).unwrap_or_default(),
        };
        let watched = match self.profile_pid {
            Some(pid) => {
                let name = process_name(pid).ok_or(MeasureError::ProfileWhat(format!(
                    "there is no process {pid}"
                )))?;
                Watched::process(name, pid)
            }
            None => own
                .iter()
                .find(|watched| watched.pid != std::process::id())
                .cloned()
                .ok_or(MeasureError::ProfileWhat(
                    "this run starts no process itself; say which one with --profile-pid".into(),
                ))?,
        };
        let thread = profile::start(profile::Order {
            pid: watched.pid,
            name: watched.name.clone(),
            delay: order.scenario.warmup,
            length: length.min(order.scenario.duration),
            svg: folder.join(FLAME_GRAPH),
            event: Event::CpuClock,
        })?;
        Ok(Some(Profiling { watched, thread }))
    }
}

impl Profiling {
    /// Waits for the picture. One that cannot be made is a remark, not the end of the run.
    pub(super) fn finish(self) -> ProfileRecord {
        let result = self.thread.join();
        let (samples, problem) = match result {
            Ok(Ok(graph)) => (graph.samples, String::new()),
            Ok(Err(error)) => (0, error.to_string()),
            Err(_) => (0, "the profiling thread panicked".to_owned()),
        };
        if !problem.is_empty() {
            stdio::note(format!("no flame graph: {problem}"));
        }
        ProfileRecord {
            process: self.watched.name,
            pid: self.watched.pid,
            file: problem.is_empty().then(|| FLAME_GRAPH.to_owned()),
            samples,
            problem,
        }
    }
}
