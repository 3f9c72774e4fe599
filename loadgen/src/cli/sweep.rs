//! `weir-bench sweep`: throughput and latency at each of several levels of load.

use std::{
    io,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use weir_lab::{error::TopologyError, provenance::Provenance, stdio};
use weir_load::{
    progress::NoProgress,
    summary::Verdict,
    units::{milliseconds, parse_duration, percent},
};

use crate::{
    exit::{Exit, Usage},
    judge::Thresholds,
    measure::{Warm, as_usage},
    page::write_sheet,
    results::{RunFolder, now_utc},
    study::{
        search::{
            Figures, Over,
            level::{Lengths, at_level},
            subject::SubjectArgs,
        },
        sweep::{
            FILE, SweepRecord, SweepRun,
            levels::{Spread, between, blocks},
            page,
            record::{law, levels},
        },
    },
    text::{plain_table, wrapped},
};

/// An invalid run is made again this often before it stays invalid.
const SECOND_CHANCES: u32 = 2;
/// Most runs of a sweep.
const MOST_RUNS: usize = 10_000;

/// Arguments of `weir-bench sweep`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is varied: arrivals per second, users with think time, or requests always in flight.
    #[arg(long, value_enum, default_value_t = Over::Connections)]
    over: Over,
    /// The levels, such as 10,20,50.
    #[arg(long, value_delimiter = ',', value_name = "LEVELS", conflicts_with_all = ["from", "to"], required_unless_present = "from")]
    values: Vec<f64>,
    /// Lowest level.
    #[arg(long, requires = "to", value_name = "LEVEL")]
    from: Option<f64>,
    /// Highest level.
    #[arg(long, requires = "from", value_name = "LEVEL")]
    to: Option<f64>,
    /// Number of levels from lowest to highest.
    #[arg(long, default_value_t = 8, value_name = "N")]
    steps: usize,
    /// How the levels are spread.
    #[arg(long, value_enum, default_value_t = Spread::Log)]
    spread: Spread,
    /// Runs of each level.
    #[arg(long, default_value_t = 3, value_name = "N")]
    repeat: usize,
    /// What is driven.
    #[command(flatten)]
    subject: SubjectArgs,
    /// Measured part of a run.
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "DURATION")]
    duration: Duration,
    /// Load before the measured part of a run.
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "DURATION")]
    warmup: Duration,
    /// Print the record as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// No line for each run.
    #[arg(long, short)]
    quiet: bool,
}

impl Args {
    fn levels(&self) -> anyhow::Result<Vec<f64>> {
        let mut levels = match (self.from, self.to) {
            (Some(from), Some(to)) => {
                if !(from > 0.0 && from < to && to.is_finite() && self.steps >= 2) {
                    return Err(Usage::new(format!(
                        "0 < --from ({from}) < --to ({to}) and --steps of at least 2 are needed"
                    ))
                    .into());
                }
                between(from, to, self.steps, self.spread, self.over.is_whole())
            }
            _ => self.values.clone(),
        };
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        if self.repeat == 0 {
            return Err(Usage::new("`--repeat` must be at least 1").into());
        }
        if levels.len() * self.repeat > MOST_RUNS {
            return Err(Usage::new(format!("a sweep has at most {MOST_RUNS} runs")).into());
        }
        Ok(levels)
    }
}

/// Sweeps, prints the levels, and writes the folder.
///
/// # Errors
///
/// [`Usage`] when an argument is not acceptable; other errors when a run could not be made.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let scenario = args.subject.scenario()?;
    let wanted = args.levels()?;
    let lengths = Lengths {
        warmup: args.warmup,
        measured: args.duration,
    };
    let at = |level| at_level(&scenario, args.over, level, lengths).map_err(Usage::new);
    for level in &wanted {
        at(*level)?;
    }
    let highest = wanted.last().copied().unwrap_or(1.0);
    let (order, setup) = args.subject.order(at(highest)?, Thresholds::default())?;
    let stop = SubjectArgs::stop_token()?;
    let folder = args.subject.folder("sweep", &order)?;
    let created_at = now_utc();
    let mut warm = Warm::set(order, setup, folder.path(), &stop).map_err(|error| {
        args.subject.discard(&folder);
        as_usage(error)
    })?;

    let began = Instant::now();
    let mut runs: Vec<SweepRun> = Vec::new();
    let order = blocks(wanted.len(), args.repeat, scenario.seed);
    let mut one = |level: f64, repeat: usize, number: usize| -> anyhow::Result<SweepRun> {
        let mut run = at(level)?;
        run.seed = scenario.seed.wrapping_add(number as u64);
        let at_s = began.elapsed().as_secs_f64();
        let mut chances = SECOND_CHANCES;
        loop {
            let probed = warm
                .probe(&run, Arc::new(NoProgress), &stop)
                .map_err(as_usage)?;
            let invalid = probed.summary.validity.verdict == Verdict::Invalid;
            if invalid && chances > 0 && !stop.is_stopped() {
                chances -= 1;
                continue;
            }
            return Ok(SweepRun {
                number,
                at_s,
                level,
                repeat: repeat + 1,
                figures: Figures::of(&probed.summary),
            });
        }
    };
    let total = order.len();
    let mut made = || -> anyhow::Result<()> {
        for (index, (level, repeat)) in order.iter().enumerate() {
            let level = wanted.get(*level).copied().unwrap_or(highest);
            let run = one(level, *repeat, index + 1)?;
            if stop.is_stopped() {
                break;
            }
            if !args.quiet {
                stdio::note(line(&run, total, args.over));
            }
            runs.push(run);
        }
        Ok(())
    };
    let made = made();
    let cooled = warm.strike();
    if let Err(error) = made {
        args.subject.discard(&folder);
        return Err(error);
    }
    let mut provenance = Provenance::collect(created_at);
    if let Some(version) = cooled.proxy_version {
        provenance.versions.insert("weir".to_owned(), version);
    }
    let (law, no_law) = match law(args.over, &runs) {
        Ok(law) => (Some(law), None),
        Err(reason) => (None, Some(reason)),
    };
    let record = SweepRecord {
        format: SweepRecord::FORMAT,
        id: folder.name(),
        provenance,
        scenario: serde_json::to_value(&scenario).unwrap_or_default(),
        over: args.over,
        measured_s: args.duration.as_secs_f64(),
        warmup_s: args.warmup.as_secs_f64(),
        repeats: args.repeat,
        seed: scenario.seed,
        targets: cooled.targets,
        topology: cooled.topology,
        proxy_settings: cooled.proxy_settings,
        tuning: cooled.tuning,
        levels: levels(&runs),
        runs,
        law,
        no_law,
    };
    folder.write_json(FILE, &record)?;
    write_csv(&folder.file("sweep.csv"), &record).context("writing sweep.csv")?;
    write_sheet(&folder, &page::sheet(&record))?;
    args.subject.finish(&folder)?;
    if args.json {
        stdio::line(serde_json::to_string_pretty(&record)?)?;
    } else {
        stdio::line(text(&record, &folder))?;
    }
    if let Some(tuning) = record.tuning.as_ref().filter(|tuning| !tuning.restored) {
        anyhow::bail!(
            "the raised limits are not verified as put back: {}",
            tuning.problem
        );
    }
    if stop.is_stopped() {
        return Err(TopologyError::Stopped.into());
    }
    // A level without a single valid run is a hole in the result.
    let hole = record.levels.iter().any(|level| level.runs == 0);
    Ok(if hole { Exit::Invalid } else { Exit::Passed }.into())
}

fn line(run: &SweepRun, total: usize, over: Over) -> String {
    let figures = &run.figures;
    let verdict = match figures.verdict {
        Verdict::Valid => "",
        Verdict::Suspect => "  suspect",
        Verdict::Invalid => "  INVALID",
    };
    format!(
        "{:>3}/{total} {:>16}  {:>8.1}/s  p50 {:>9}  p99 {:>9}{verdict}",
        run.number,
        over.level(run.level),
        figures.throughput_rps,
        milliseconds(figures.p50_ms),
        milliseconds(figures.p99_ms),
    )
}

/// One line a run, in the order in which they were made.
fn write_csv(path: &Path, record: &SweepRecord) -> io::Result<()> {
    let mut csv = csv::Writer::from_path(path)?;
    csv.write_record([
        "number",
        "at_s",
        "level",
        "repeat",
        "throughput_rps",
        "served",
        "requests",
        "error_rate",
        "limited",
        "mean_ms",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "p999_ms",
        "verdict",
    ])?;
    for run in &record.runs {
        let figures = &run.figures;
        let verdict = match figures.verdict {
            Verdict::Valid => "valid",
            Verdict::Suspect => "suspect",
            Verdict::Invalid => "invalid",
        };
        csv.write_record([
            run.number.to_string(),
            format!("{:.3}", run.at_s),
            run.level.to_string(),
            run.repeat.to_string(),
            format!("{:.3}", figures.throughput_rps),
            format!("{:.5}", figures.served),
            figures.requests.to_string(),
            format!("{:.6}", figures.error_rate),
            figures.limited.to_string(),
            format!("{:.3}", figures.mean_ms),
            format!("{:.3}", figures.p50_ms),
            format!("{:.3}", figures.p95_ms),
            format!("{:.3}", figures.p99_ms),
            format!("{:.3}", figures.p999_ms),
            verdict.to_owned(),
        ])?;
    }
    csv.flush()
}

fn text(record: &SweepRecord, folder: &RunFolder) -> String {
    let mut table = plain_table(&[
        "level",
        "runs",
        "requests/s",
        "least",
        "most",
        "p50",
        "p95",
        "p99",
        "errors",
        "served",
    ]);
    for level in &record.levels {
        let runs = match level.invalid {
            0 => level.runs.to_string(),
            invalid => format!("{} (+{invalid} invalid)", level.runs),
        };
        table.add_row([
            record.over.level(level.level),
            runs,
            format!("{:.1}", level.throughput_rps.median),
            format!("{:.1}", level.throughput_rps.least),
            format!("{:.1}", level.throughput_rps.most),
            milliseconds(level.p50_ms.median),
            milliseconds(level.p95_ms.median),
            milliseconds(level.p99_ms.median),
            percent(level.error_rate),
            percent(level.served),
        ]);
    }
    let law = match (&record.law, &record.no_law) {
        (Some(law), _) => law.text(),
        (None, Some(reason)) => format!("no scalability law: {reason}"),
        (None, None) => String::new(),
    };
    format!(
        "{table}\n{}\n{}",
        wrapped(&law, "", "  "),
        folder.page().display()
    )
}
