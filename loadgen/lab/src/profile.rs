//! Flame graphs: where a process spends its CPU time, by `perf` and `inferno`.
//!
//! `perf record` interrupts the process at a fixed rate of CPU time and notes its stack; `perf
//! script` writes the stacks as text; `inferno` folds them and draws the graph.

use std::{
    fs,
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use inferno::{
    collapse::{
        Collapse as _,
        perf::{Folder, Options as FoldOptions},
    },
    flamegraph::{Options as DrawOptions, from_reader},
};

use weir_load::units::format_duration;

/// Samples a second of CPU time: not a multiple of common timers, so that it does not beat with them.
const FREQUENCY: u32 = 199;
/// Bytes of stack kept with each sample; deep async stacks need most of it.
const STACK_BYTES: u32 = 16_384;
/// How the kernel decides who may watch whom.
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// A flame graph cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No `perf`.
    #[error(
        "`perf` cannot be started ({0}); install it: `apt-get install linux-perf` on Debian, `apt-get install linux-tools-common linux-tools-$(uname -r)` on Ubuntu, `dnf install perf` on Fedora"
    )]
    NoPerf(io::Error),
    /// The kernel refuses.
    #[error(
        "the kernel does not let `perf` watch process {pid} (kernel.perf_event_paranoid is {paranoid}): run as its owner with `sysctl kernel.perf_event_paranoid=1`, or as root; in a container, with --cap-add PERFMON. perf says: {message}"
    )]
    NotPermitted {
        /// The process.
        pid: u32,
        /// The kernel's setting.
        paranoid: String,
        /// What `perf` says.
        message: String,
    },
    /// `perf` failed.
    #[error("`perf {step}` failed: {message}")]
    Perf {
        /// `record` or `script`.
        step: &'static str,
        /// What it says.
        message: String,
    },
    /// The process did nothing.
    #[error(
        "process {pid} used no CPU time in {length}, so there is nothing to draw; profile it under load"
    )]
    Idle {
        /// The process.
        pid: u32,
        /// How long it was watched.
        length: String,
    },
    /// Files, threads.
    #[error("cannot {what}: {cause}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
}

/// What to profile.
#[derive(Debug, Clone)]
pub struct Order {
    /// The process.
    pub pid: u32,
    /// Its name, for the title.
    pub name: String,
    /// How long to wait first.
    pub delay: Duration,
    /// How long to watch.
    pub length: Duration,
    /// The picture.
    pub svg: PathBuf,
    /// What is sampled.
    pub event: Event,
}

/// What makes `perf` take a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Event {
    /// The clock of the operating system: works on every machine.
    CpuClock,
    /// The processor's cycle counter: sees more, and is missing in most virtual machines.
    Cycles,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::CpuClock => "cpu-clock",
            Self::Cycles => "cycles",
        }
    }
}

/// A picture that was made.
#[derive(Debug, Clone)]
pub struct FlameGraph {
    /// Where it is.
    pub svg: PathBuf,
    /// Samples that it shows.
    pub samples: u64,
}

/// Starts profiling in a thread of its own; join it for the result.
///
/// # Errors
///
/// When the thread cannot be started.
pub fn start(order: Order) -> Result<JoinHandle<Result<FlameGraph, ProfileError>>, ProfileError> {
    Builder::new()
        .name("profiler".into())
        .spawn(move || {
            std::thread::sleep(order.delay);
            profile(&order)
        })
        .map_err(io_error("start the profiling thread"))
}

/// Profiles a process and draws its flame graph. Blocks for the length asked for, and as long as
/// drawing takes.
///
/// # Errors
///
/// When `perf` is missing, not permitted or fails, when the process was idle, or when the picture
/// cannot be written.
pub fn profile(order: &Order) -> Result<FlameGraph, ProfileError> {
    let folder = tempfile::tempdir().map_err(io_error("make a temporary folder"))?;
    let data = folder.path().join("perf.data");
    record(order, &data)?;
    let folded = fold(&data)?;
    let samples = count(&folded);
    if samples == 0 {
        return Err(ProfileError::Idle {
            pid: order.pid,
            length: format_duration(order.length),
        });
    }
    draw(order, &folded, samples)?;
    Ok(FlameGraph {
        svg: order.svg.clone(),
        samples,
    })
}

fn record(order: &Order, data: &Path) -> Result<(), ProfileError> {
    let seconds = format!("{:.3}", order.length.as_secs_f64());
    let output = Command::new("perf")
        .args(["record", "--quiet", "--event", order.event.name()])
        .args(["--freq", &FREQUENCY.to_string()])
        .arg(format!("--call-graph=dwarf,{STACK_BYTES}"))
        .args(["--pid", &order.pid.to_string(), "--output"])
        .arg(data)
        .args(["--", "sleep", &seconds])
        .stdin(Stdio::null())
        .output()
        .map_err(ProfileError::NoPerf)?;
    if output.status.success() {
        return Ok(());
    }
    let message = last_lines(&output.stderr);
    let refused = ["Permission", "permission", "perf_event_paranoid", "Access"];
    if refused.iter().any(|word| message.contains(word)) {
        let paranoid = fs::read_to_string(PARANOID).unwrap_or_default();
        return Err(ProfileError::NotPermitted {
            pid: order.pid,
            paranoid: paranoid.trim().to_owned(),
            message,
        });
    }
    Err(ProfileError::Perf {
        step: "record",
        message,
    })
}

/// Stacks as `a;b;c 12` lines.
fn fold(data: &Path) -> Result<Vec<u8>, ProfileError> {
    let mut script = Command::new("perf")
        // Asking for inlined frames makes perf start a debugger helper for every address.
        .args(["script", "--no-inline", "--force", "--input"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ProfileError::NoPerf)?;
    let errors = script.stderr.take().map(|mut stream| {
        // Read beside the output, or a full pipe would stop perf.
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text);
            text
        })
    });
    let mut folded = Vec::new();
    let collapsed = script.stdout.take().map(|output| {
        let mut folder = Folder::from(FoldOptions::default());
        folder.collapse(BufReader::new(output), &mut folded)
    });
    let status = script.wait().map_err(io_error("wait for perf"))?;
    let errors = errors
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    if !status.success() {
        return Err(ProfileError::Perf {
            step: "script",
            message: last_lines(&errors),
        });
    }
    match collapsed {
        Some(Err(cause)) if !folded.is_empty() => Err(ProfileError::Io {
            what: "fold the stacks",
            cause,
        }),
        // No samples at all: the caller says what that means.
        _ => Ok(folded),
    }
}

fn count(folded: &[u8]) -> u64 {
    String::from_utf8_lossy(folded)
        .lines()
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

fn draw(order: &Order, folded: &[u8], samples: u64) -> Result<(), ProfileError> {
    if let Some(folder) = order
        .svg
        .parent()
        .filter(|path| !path.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(io_error("make the folder of the flame graph"))?;
    }
    let file = fs::File::create(&order.svg).map_err(io_error("write the flame graph"))?;
    let mut options = DrawOptions::default();
    options.title = format!("CPU time of {} (process {})", order.name, order.pid);
    options.subtitle = Some(format!(
        "{samples} samples of {} at {FREQUENCY} a second over {}; width is share of CPU time",
        order.event.name(),
        format_duration(order.length)
    ));
    options.count_name = "samples".to_owned();
    from_reader(&mut options, folded, file).map_err(io_error("draw the flame graph"))
}

fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines.get(lines.len().saturating_sub(4)..);
    last.unwrap_or_default().join(" ")
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> ProfileError {
    move |cause| ProfileError::Io { what, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_stacks_are_counted() {
        assert_eq!(count(b"weir;main;serve 12\nweir;main;parse 3\n"), 15);
        assert_eq!(count(b""), 0);
    }
}
