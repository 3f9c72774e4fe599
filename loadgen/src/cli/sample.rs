//! `weir-bench sample`: watch processes, without any load, and say whether they leak.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use weir_lab::{
    host::Detail,
    provenance::Provenance,
    sample::{
        Leak, SampleRecord, SelectError, Selector, Tracker,
        figures::{sum_up, write_csv},
        verdict::GrowthLimit,
    },
    stdio,
};
use weir_load::{
    progress::Watched,
    stop::StopToken,
    units::{format_duration, parse_duration},
};

use crate::{
    exit::{Exit, Usage},
    page::sample as page,
    results::now_utc,
};

/// Shortest interval: the kernel counts CPU time in steps of 10 ms.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// Pause between two looks at a stop or at the end of a command.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a command may take to end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Time between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `weir-bench sample`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 within the limit, 3 a process leaks, 5 a limit was given and the readings cannot tell, 1 the started command failed.\n\nExamples:\n  weir-bench sample --name weir --for 10m\n  weir-bench sample --pid 4321 --children --every 500ms --limit-growth 5MB/h --output results/memory\n  weir-bench sample -- ./service --port 8000"
)]
pub struct Args {
    /// Process with this id; may be repeated.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Every process of this name, or /PATTERN/ for a regular expression over command lines; may be
    /// repeated. Processes that appear later are sampled, too.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Container by name or id, found with `docker inspect`; may be repeated.
    #[arg(long, value_name = "CONTAINER")]
    container: Vec<String>,
    /// Sample processes that the chosen ones have started, too.
    #[arg(long)]
    children: bool,
    /// How long [default: until all have ended, or Ctrl-C].
    #[arg(long = "for", value_parser = parse_duration, value_name = "DURATION")]
    length: Option<Duration>,
    /// Time between two readings.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "1s")]
    every: Duration,
    /// Time at the start that growth and verdict leave out.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "0")]
    warmup: Duration,
    /// Growth of resident memory that is allowed [default: 10MB/h, and then not being able to tell
    /// is no failure].
    #[arg(long, value_name = "GROWTH")]
    limit_growth: Option<GrowthLimit>,
    /// Read the proportional set size, too; costly for large processes.
    #[arg(long)]
    pss: bool,
    /// Folder for sample.json, samples.csv, report.html and one SVG a plot.
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Print the record as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
    /// A command to start and to sample until it ends.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `weir-bench sample`.
///
/// # Errors
///
/// [`Usage`] when nothing is chosen, or a choice stands for nothing; other errors when the command
/// cannot be started or the results not be written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let selectors = selectors(&args)?;
    if args.every < SHORTEST_INTERVAL {
        return Err(Usage::new(
            "--every must be at least 10ms: the kernel counts CPU time in steps of 10 ms",
        )
        .into());
    }
    if args.length.is_some_and(|length| length <= args.warmup) {
        return Err(Usage::new(format!(
            "--for must be longer than --warmup ({})",
            format_duration(args.warmup)
        ))
        .into());
    }
    let limit = args.limit_growth.unwrap_or_else(GrowthLimit::documented);
    let detail = Detail {
        sockets: true,
        tcp: true,
        pss: args.pss,
    };
    let stop = StopToken::on_signals().context("installing signal handlers")?;
    let mut tracker = Tracker::new(detail, args.children);
    for selector in &selectors {
        tracker.select(selector).map_err(as_usage)?;
    }
    let created_at = now_utc();
    let mut started = Started::spawn(&args.command)?;
    let mut selected: Vec<_> = selectors.iter().map(ToString::to_string).collect();
    if let Some(started) = &started {
        selected.push(started.line.clone());
        tracker.watch(Watched::process(started.name.clone(), started.child.id()));
    }
    let from = Instant::now();
    watch(&args, &mut tracker, started.as_mut(), from, &stop);
    let ended = started.map(Started::finish).transpose()?;

    let tracks = tracker.tracks();
    let processes: Vec<_> = tracks
        .iter()
        .filter_map(|track| sum_up(track, from, args.warmup, limit))
        .collect();
    let length_s = processes
        .iter()
        .map(|process| process.length_s)
        .fold(0.0, f64::max);
    let record = SampleRecord {
        format: SampleRecord::FORMAT,
        provenance: Provenance::collect(created_at),
        selected,
        every_s: args.every.as_secs_f64(),
        warmup_s: args.warmup.as_secs_f64(),
        length_s,
        limit_per_hour: limit.per_hour(),
        processes,
        notes: tracker.notes().to_vec(),
    };
    if args.json {
        stdio::line(serde_json::to_string_pretty(&record)?)?;
    } else {
        crate::page::sample::table::print(&record)?;
    }
    if let Some(folder) = &args.output {
        save(folder, &record, &tracker, from)
            .with_context(|| format!("writing results to {}", folder.display()))?;
        if !args.json {
            stdio::line(format!("report: {}", folder.join("report.html").display()))?;
        }
    }
    if record.processes.is_empty() {
        anyhow::bail!("nothing was sampled: every process had ended before it could be read");
    }
    if let Some(status) = ended.filter(|status| !status.success()) {
        anyhow::bail!("the command failed: {status}");
    }
    Ok(verdict(&record, args.limit_growth.is_some()).into())
}

/// The worst of all processes; not being able to tell counts only against a limit that was asked for.
fn verdict(record: &SampleRecord, limit_given: bool) -> Exit {
    let any = |leak| {
        record
            .processes
            .iter()
            .any(|process| process.memory.leak == leak)
    };
    if any(Leak::Leak) {
        Exit::GateFailed
    } else if limit_given && any(Leak::CannotTell) {
        Exit::Invalid
    } else {
        Exit::Passed
    }
}

fn selectors(args: &Args) -> anyhow::Result<Vec<Selector>> {
    let mut selectors: Vec<_> = args.pid.iter().map(|pid| Selector::Pid(*pid)).collect();
    for name in &args.name {
        selectors.push(Selector::Name(name.parse().map_err(Usage::new)?));
    }
    let containers = args.container.iter().cloned();
    selectors.extend(containers.map(Selector::Container));
    if selectors.is_empty() && args.command.is_empty() {
        return Err(Usage::new(
            "nothing to sample: give --pid, --name, --container, or a command after `--`",
        )
        .into());
    }
    Ok(selectors)
}

/// An error of a selection, marked as usage unless `docker` itself is the trouble.
pub(crate) fn as_usage(error: SelectError) -> anyhow::Error {
    match error {
        SelectError::Container(_) => error.into(),
        _ => Usage::new(error).into(),
    }
}

/// Samples until the time is over, everything has ended, or somebody asks to stop.
fn watch(
    args: &Args,
    tracker: &mut Tracker,
    mut started: Option<&mut Started>,
    from: Instant,
    stop: &StopToken,
) {
    let deadline = args.length.map(|length| from + length);
    let mut next = from;
    let mut next_line = from;
    loop {
        tracker.sample();
        let now = Instant::now();
        if !args.quiet && now >= next_line {
            let elapsed_s = now.duration_since(from).as_secs_f64();
            for track in tracker.running() {
                stdio::note(crate::page::sample::table::live_line(track, elapsed_s));
            }
            next_line = now + LINE_EVERY;
        }
        let done = deadline.is_some_and(|deadline| now >= deadline);
        if done || stop.is_stopped() || tracker.running().next().is_none() {
            return;
        }
        next += args.every;
        // Readings that were missed are not made up for.
        while next < now {
            next += args.every;
        }
        let until = deadline.map_or(next, |deadline| next.min(deadline));
        while Instant::now() < until && !stop.is_stopped() {
            if started.as_mut().is_some_and(|started| started.has_ended())
                && tracker.running().count() <= 1
            {
                break;
            }
            thread::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

/// A command that this program has started.
struct Started {
    name: String,
    line: String,
    child: Child,
}

impl Started {
    fn spawn(words: &[String]) -> anyhow::Result<Option<Self>> {
        let Some((program, arguments)) = words.split_first() else {
            return Ok(None);
        };
        let child = Command::new(program)
            .args(arguments)
            .spawn()
            .map_err(|cause| Usage::new(format!("`{program}` cannot be started: {cause}")))?;
        let name = PathBuf::from(program).file_name().map_or_else(
            || program.clone(),
            |name| name.to_string_lossy().into_owned(),
        );
        Ok(Some(Self {
            name,
            line: words.join(" "),
            child,
        }))
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for it; ends it first if it still runs. The status tells nothing then.
    fn finish(mut self) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(ExitStatus::default());
            }
            thread::sleep(LOOK_EVERY);
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(ExitStatus::default())
    }
}

fn save(
    folder: &std::path::Path,
    record: &SampleRecord,
    tracker: &Tracker,
    from: Instant,
) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(
        folder.join("sample.json"),
        serde_json::to_string_pretty(record)? + "\n",
    )?;
    write_csv(&folder.join("samples.csv"), tracker.tracks(), from)?;
    let plots = page::plots(tracker.tracks(), from, record.length_s);
    page::write_svgs(folder, &plots)?;
    fs::write(folder.join("report.html"), page::render(record, plots)?)?;
    Ok(())
}
