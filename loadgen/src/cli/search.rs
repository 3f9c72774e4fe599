//! `weir-bench search`: the highest throughput that holds.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use weir_lab::{error::TopologyError, provenance::Provenance, stdio};
use weir_load::{
    progress::NoProgress,
    slo,
    units::{milliseconds, parse_duration, percent},
};

use crate::{
    exit::{Exit, Usage},
    judge::Thresholds,
    measure::{Warm, as_usage},
    page::write_sheet,
    results::{RunFolder, now_utc},
    study::search::{
        Answer, Bounds, Budget, FILE, Over, ProbeRecord, Procedure, SearchRecord,
        level::{Lengths, at_level},
        page,
        subject::SubjectArgs,
    },
    text::{plain_table, wrapped},
};

/// Invalid probes of one level before it counts as a limit of the instrument.
const PATIENCE: u32 = 3;
/// Connecting, logging in and stopping, in the reckoning of the budget.
const OVERHEAD: Duration = Duration::from_millis(300);

/// Arguments of `weir-bench search`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What must hold: rules separated by commas, such as "p99<200ms,errors<0.1%".
    #[arg(long, value_name = "RULES", default_value = "p99<200ms,errors<0.1%")]
    slo: String,
    /// What is raised: arrivals per second, users with think time, or requests always in flight.
    #[arg(long, value_enum, default_value_t = Over::Rate)]
    over: Over,
    /// What is driven.
    #[command(flatten)]
    subject: SubjectArgs,
    /// Lowest level [default: 10/s, 1 user].
    #[arg(long, value_name = "LEVEL")]
    min: Option<f64>,
    /// Highest level [default: 50000/s, 10000 users].
    #[arg(long, value_name = "LEVEL")]
    max: Option<f64>,
    /// First level [default: ten times the lowest].
    #[arg(long, value_name = "LEVEL")]
    start: Option<f64>,
    /// The search ends when the gap between what holds and what does not is this small.
    #[arg(long, default_value = "5%", value_parser = parse_share, value_name = "PERCENT")]
    precision: f64,
    /// Fresh probes that must hold at the answer (with one miss, one more of them).
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    confirm: u32,
    /// Measured part of a probe.
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "DURATION")]
    probe: Duration,
    /// Load before the measured part of a probe.
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "DURATION")]
    warmup: Duration,
    /// Longest time for the whole search.
    #[arg(long, default_value = "5m", value_parser = parse_duration, value_name = "DURATION")]
    budget: Duration,
    /// Share of the intended requests that must be answered well, beside the rules: a target that
    /// refuses most of the load quickly must not pass.
    #[arg(long, default_value = "99%", value_parser = parse_share, value_name = "PERCENT")]
    served: f64,
    /// Print the record as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// No line for each probe.
    #[arg(long, short)]
    quiet: bool,
}

/// Reads `5%` as 0.05.
fn parse_share(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is not a share: write 0 to 100 with a %, such as 5%"))
}

impl Args {
    fn bounds(&self) -> anyhow::Result<Bounds> {
        let (min, max) = match self.over {
            Over::Rate => (10.0, 50_000.0),
            Over::Users | Over::Connections => (1.0, 10_000.0),
        };
        let min = self.min.unwrap_or(min);
        let max = self.max.unwrap_or(max);
        let start = self.start.unwrap_or((min * 10.0).min(max));
        if !(min > 0.0 && min <= start && start <= max && max.is_finite()) {
            return Err(Usage::new(format!(
                "0 < --min ({min}) <= --start ({start}) <= --max ({max}) does not hold"
            ))
            .into());
        }
        Ok(Bounds {
            min,
            max,
            start,
            precision: self.precision,
            confirm: self.confirm,
            patience: PATIENCE,
            whole: self.over.is_whole(),
        })
    }
}

/// Searches, prints the probes and the answer, and writes the folder.
///
/// # Errors
///
/// [`Usage`] when an argument is not acceptable; other errors when a probe could not be made.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let scenario = args.subject.scenario()?;
    let rules = slo::parse_list(&args.slo).map_err(Usage::new)?;
    for rule in &rules {
        let names = scenario
            .requests
            .iter()
            .map(|request| request.name.as_str());
        rule.check_endpoint(names).map_err(Usage::new)?;
    }
    let bounds = args.bounds()?;
    let lengths = Lengths {
        warmup: args.warmup,
        measured: args.probe,
    };
    let at = |level| at_level(&scenario, args.over, level, lengths);
    let heaviest = at(bounds.max).map_err(Usage::new)?;
    at(bounds.min).map_err(Usage::new)?;
    let objectives: Vec<String> = rules.iter().map(ToString::to_string).collect();
    let thresholds = Thresholds {
        rules,
        ..Thresholds::default()
    };
    let (order, setup) = args.subject.order(heaviest, thresholds)?;
    let stop = SubjectArgs::stop_token()?;
    let folder = args.subject.folder("search", &order)?;
    let created_at = now_utc();
    let mut warm = Warm::set(order, setup, folder.path(), &stop).map_err(|error| {
        args.subject.discard(&folder);
        as_usage(error)
    })?;

    let began = Instant::now();
    let budget = Budget {
        total: args.budget,
        probe: args.warmup + args.probe + OVERHEAD,
    };
    let searched = crate::study::search::search(
        bounds,
        args.served,
        budget,
        || began.elapsed(),
        |level, number| {
            let mut probe = at(level).map_err(|error| anyhow::Error::from(Usage::new(error)))?;
            // A fresh probe has fresh arrivals: the same ones again would confirm nothing.
            probe.seed = scenario.seed.wrapping_add(number);
            let probed = warm
                .probe(&probe, Arc::new(NoProgress), &stop)
                .map_err(as_usage)?;
            Ok((!stop.is_stopped()).then_some(probed))
        },
        |probe| {
            if !args.quiet {
                stdio::note(line(probe, args.over));
            }
        },
    );
    let cooled = warm.strike();
    let (found, probes) =
        searched.inspect_err(|_: &anyhow::Error| args.subject.discard(&folder))?;

    let mut provenance = Provenance::collect(created_at);
    if let Some(version) = cooled.proxy_version {
        provenance.versions.insert("weir".to_owned(), version);
    }
    let record = SearchRecord {
        format: SearchRecord::FORMAT,
        id: folder.name(),
        provenance,
        scenario: serde_json::to_value(&scenario).unwrap_or_default(),
        over: args.over,
        objectives,
        procedure: Procedure {
            min: bounds.min,
            max: bounds.max,
            start: bounds.start,
            precision: bounds.precision,
            confirm: bounds.confirm,
            probe_s: args.probe.as_secs_f64(),
            warmup_s: args.warmup.as_secs_f64(),
            budget_s: args.budget.as_secs_f64(),
            least_served: args.served,
        },
        targets: cooled.targets,
        topology: cooled.topology,
        proxy_settings: cooled.proxy_settings,
        tuning: cooled.tuning,
        answer: Answer::of(found, &probes, args.over),
        probes,
    };
    folder.write_json(FILE, &record)?;
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
    Ok(exit(&record.answer).into())
}

/// 0 for a confirmed answer, 3 when nothing holds, 5 when that could not be found out.
fn exit(answer: &Answer) -> Exit {
    match (answer.level, answer.confirmed, answer.limit.as_str()) {
        (Some(_), true, _) => Exit::Passed,
        (None, _, "objective") => Exit::GateFailed,
        _ => Exit::Invalid,
    }
}

/// One probe in one line.
fn line(probe: &ProbeRecord, over: Over) -> String {
    let figures = &probe.figures;
    let why = probe
        .why
        .first()
        .map_or_else(String::new, |why| format!(": {why}"));
    format!(
        "{:>3} {:<8} {:>14}  {:>8.1}/s  p99 {:>9}  errors {:>7}  {}{why}",
        probe.number,
        probe.purpose,
        over.level(probe.level),
        figures.throughput_rps,
        milliseconds(figures.p99_ms),
        percent(figures.error_rate),
        probe.reading,
    )
}

/// The probes as a table, and the answer.
fn text(record: &SearchRecord, folder: &RunFolder) -> String {
    let mut table = plain_table(&[
        "probe",
        "for",
        "level",
        "requests/s",
        "p50",
        "p99",
        "errors",
        "samples",
        "reading",
    ]);
    for probe in &record.probes {
        let figures = &probe.figures;
        let reading = match figures.verdict {
            weir_load::summary::Verdict::Suspect => format!("{} (suspect)", probe.reading),
            _ => probe.reading.clone(),
        };
        table.add_row([
            probe.number.to_string(),
            probe.purpose.clone(),
            record.over.level(probe.level),
            format!("{:.1}", figures.throughput_rps),
            milliseconds(figures.p50_ms),
            milliseconds(figures.p99_ms),
            percent(figures.error_rate),
            figures.samples.to_string(),
            reading,
        ]);
    }
    let answer = &record.answer;
    let rules = record.objectives.join(", ");
    let verdict = match (answer.level, answer.confirmed) {
        (Some(level), confirmed) => {
            let throughput = answer
                .throughput_rps
                .map_or_else(String::new, |(low, mean, high)| {
                    format!(", {mean:.1} requests/s answered well ({low:.1} to {high:.1})")
                });
            let state = if confirmed {
                format!("confirmed by {} fresh probes", record.procedure.confirm)
            } else {
                "NOT CONFIRMED".to_owned()
            };
            format!(
                "{} hold with {rules}: {state}{throughput}",
                record.over.level(level)
            )
        }
        (None, _) => format!("no level holds with {rules}"),
    };
    let explanation = wrapped(&answer.explanation, "", "  ");
    format!(
        "{table}\n{verdict}\n{explanation}\n{}",
        folder.page().display()
    )
}
