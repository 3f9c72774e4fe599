//! `weir-bench self-check`: minutes of steady load on a server that does nothing, with an eye on the
//! generator itself: its memory, its lateness, and whether it would have believed itself.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use weir_lab::{
    host::machine::{Cores, Machine},
    sample::{Sampler, estimate_growth},
    stdio,
};
use weir_load::{
    progress::{NoProgress, Phase, Progress, Tick, Watched},
    run::{self, Outcome, RunOptions},
    scenario::{Engine, Scenario},
    stop::StopToken,
    summary::{Summary, Verdict},
    target::Target,
    units::{Rate, format_duration, parse_duration},
};

use super::engines::until_interrupted;
use crate::{
    exit::{Exit, Usage},
    results::ceiling::{Way, share},
    study::versus::upstreams::{Source, Upstreams},
};

/// Time between two looks at the generator's memory: some 600 looks, which are kept, within these bounds.
const SAMPLE_EVERY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
const LOOKS: u32 = 600;
/// Time until everything that is made once has been made: a fifth of the check, within these bounds.
const WARMUP: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(10));
const MB: f64 = 1e6;
const HOUR_S: f64 = 3600.0;

/// Drive a server that does nothing for minutes, and judge the generator: requests, failures, memory
/// and its growth, lateness.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Length of the measured part.
    #[arg(long, default_value = "1m", value_parser = parse_duration, value_name = "DURATION")]
    pub duration: Duration,
    /// Arrivals per second, whatever the server does.
    #[arg(long, default_value = "2000/s", value_name = "RATE")]
    pub rate: Rate,
    /// Connections.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub connections: u32,
    /// Engine and how it travels: wire, session, with `+h2` over HTTP/2, with `+tls` over TLS.
    #[arg(long, default_value = "wire", value_name = "WAY")]
    pub way: Way,
    /// Most resident memory that the generator may have, in megabytes (10⁶ bytes).
    #[arg(long, default_value_t = 60.0, value_name = "MB")]
    pub max_rss_mb: f64,
    /// Growth per hour, in megabytes, that fails the check if the generator grows by more for certain.
    #[arg(long, default_value_t = 10.0, value_name = "MB")]
    pub max_growth_mb: f64,
    /// Fewest requests that the check must have made.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub min_requests: u64,
    /// Also write the result to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Machine it ran on.
    pub machine: Machine,
    /// Engine and how it travelled.
    pub way: Way,
    /// Length of the measured part in seconds.
    pub duration_s: f64,
    /// Requests completed.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests that the schedule intended and nobody sent.
    pub unsent: u64,
    /// 99th percentile of the send lag, milliseconds.
    pub send_lag_p99_ms: f64,
    /// CPU of the generator in microseconds for each request.
    pub cpu_us: f64,
    /// Memory of the generator.
    pub memory: Memory,
    /// Growth per hour that is allowed, bytes.
    pub growth_allowed: f64,
    /// Whether a run like this would have been believed: `valid`, `suspect`, `invalid`.
    pub verdict: Verdict,
    /// Why not `valid`.
    pub reasons: Vec<String>,
    /// What failed; empty if nothing did.
    pub failed: Vec<String>,
}

/// Resident memory of the generator over the measured part, bytes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Memory {
    /// First sample.
    pub start: u64,
    /// Last sample.
    pub end: u64,
    /// Largest sample.
    pub max: u64,
    /// Growth per hour (Theil–Sen), bytes; with too few samples none.
    pub growth_per_hour: Option<f64>,
    /// Lower end of its 95 % interval.
    pub growth_low: Option<f64>,
    /// Upper end of its 95 % interval.
    pub growth_high: Option<f64>,
    /// Smallest growth per hour that a check of this length could have told from none.
    pub growth_detectable: Option<f64>,
}

/// Runs the check: exit code 3 if something failed, 5 if the run cannot be believed.
///
/// # Errors
///
/// When the server does not start, the run cannot be made, or it is interrupted.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    if args.duration < Duration::from_secs(1) {
        return Err(Usage::new("`--duration` must be at least 1s").into());
    }
    if args.connections == 0 || args.rate.get() <= 0.0 {
        return Err(Usage::new("`--connections` and `--rate` must be above 0").into());
    }
    until_interrupted(check(args))
}

async fn check(args: Args) -> anyhow::Result<ExitCode> {
    let dir = tempfile::tempdir()?;
    let machine = Machine::here();
    let core = Cores::share(machine.cores).upstreams;
    let servers = if args.way.is_secure() {
        Upstreams::secure(dir.path(), core).await?
    } else {
        Upstreams::start(Source::Null, 1, dir.path(), core).await?
    };
    let scheme = if args.way.is_secure() {
        "https"
    } else {
        "http"
    };
    let address = *servers.addresses.first().context("no server runs")?;
    let target = Target::new(&[format!("{scheme}://{address}")], &[])?;
    let scenario = scenario(&args)?;
    stdio::note(format_args!(
        "{} requests/s for {} through {} over {} connections",
        args.rate.get(),
        format_duration(args.duration),
        args.way,
        args.connections
    ));
    let way = args.way;
    let every = (args.duration / LOOKS).clamp(SAMPLE_EVERY.0, SAMPLE_EVERY.1);
    let driven = tokio::task::spawn_blocking(move || drive(&scenario, &target, way, every));
    let (summary, samples) = driven.await??;
    drop(servers);
    let check = judge(&args, machine, &summary, &samples);
    stdio::line(format_args!("{}", describe(&check)))?;
    if let Some(file) = &args.json {
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, serde_json::to_vec_pretty(&check)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if !check.failed.is_empty() {
        Exit::GateFailed
    } else if check.verdict == Verdict::Invalid {
        Exit::Invalid
    } else {
        Exit::Passed
    }
    .into())
}

fn scenario(args: &Args) -> anyhow::Result<Scenario> {
    let warmup = (args.duration / 5).clamp(WARMUP.0, WARMUP.1);
    let text = format!(
        r#"
name = "self-check"
duration = "{duration}"
warmup = "{warmup}"
engine = "{engine}"
connections = {connections}

[load]
model = "open"
rate = "{rate}/s"

[http]
version = "{version}"

[tls]
insecure = {insecure}

[[requests]]
name = "null"
path = "/"
"#,
        duration = format_duration(args.duration),
        warmup = format_duration(warmup),
        engine = match args.way.engine() {
            Engine::Wire => "wire",
            Engine::Session => "session",
        },
        connections = args.connections,
        rate = args.rate.get(),
        version = args.way.version().name(),
        insecure = args.way.is_secure(),
    );
    Scenario::parse(&text, "self-check").context("the built-in scenario is wrong")
}

/// Notes when the measured part began.
#[derive(Debug, Default)]
struct Began(parking_lot::Mutex<Option<std::time::Instant>>);

impl Progress for Began {
    fn tick(&self, tick: &Tick) {
        NoProgress.tick(tick);
        if tick.phase == Phase::Measured {
            let began = std::time::Instant::now().checked_sub(tick.elapsed);
            let mut known = self.0.lock();
            *known = known.or(began);
        }
    }
}

type Samples = Vec<(f64, f64, u64)>;

fn drive(
    scenario: &Scenario,
    target: &Target,
    way: Way,
    sample_every: Duration,
) -> anyhow::Result<(Summary, Samples)> {
    let own = Watched::generator();
    let sampler = Sampler::start(vec![own], sample_every).context("cannot sample this process")?;
    let began = Arc::new(Began::default());
    let Outcome { mut summary, .. } = run::drive(
        scenario,
        target,
        &RunOptions::default(),
        began.clone(),
        &StopToken::on_signals()?,
    )?;
    share::note(&mut summary, way, 1);
    let length = Duration::from_secs_f64(summary.duration_s.max(0.0));
    let from = *began.0.lock();
    let sampled = from.map(|from| sampler.finish(from, length));
    let samples = sampled
        .and_then(|sampled| sampled.processes.into_iter().next())
        .map(|process| process.samples)
        .unwrap_or_default();
    Ok((summary, samples))
}

fn judge(args: &Args, machine: Machine, summary: &Summary, samples: &Samples) -> Check {
    let memory = memory(samples, summary.duration_s);
    let mut failed = Vec::new();
    if summary.requests < args.min_requests {
        failed.push(format!(
            "{} requests, and at least {} were asked for",
            summary.requests, args.min_requests
        ));
    }
    if summary.errors > 0 {
        failed.push(format!(
            "{} requests failed: {:?}",
            summary.errors, summary.failures
        ));
    }
    if memory.max as f64 > args.max_rss_mb * MB {
        failed.push(format!(
            "the generator had {:.1} MB, and at most {} MB are allowed",
            memory.max as f64 / MB,
            args.max_rss_mb
        ));
    }
    if memory
        .growth_low
        .is_some_and(|low| low > args.max_growth_mb * MB)
    {
        failed.push(format!(
            "the generator grows by more than {} MB an hour",
            args.max_growth_mb
        ));
    }
    let figure = |name: &str| summary.extra.get(name).copied().unwrap_or(0.0);
    Check {
        machine,
        way: args.way,
        duration_s: summary.duration_s,
        requests: summary.requests,
        errors: summary.errors,
        unsent: summary.unsent,
        send_lag_p99_ms: summary.send_lag.as_ref().map_or(0.0, |lag| lag.p99_ms),
        cpu_us: figure("generator_cpu_us_per_request"),
        memory,
        growth_allowed: args.max_growth_mb * MB,
        verdict: summary.validity.verdict,
        reasons: summary.validity.reasons.clone(),
        failed,
    }
}

fn memory(samples: &Samples, duration_s: f64) -> Memory {
    let rss = || samples.iter().map(|(_, _, rss)| *rss);
    let series: Vec<_> = samples
        .iter()
        .map(|(t, _, rss)| (*t, *rss as f64))
        .collect();
    let growth = estimate_growth(&series, Duration::from_secs_f64(duration_s.max(0.0)));
    let per_hour = |value: fn(&weir_lab::sample::GrowthEstimate) -> f64| {
        growth.as_ref().map(|growth| value(growth) * HOUR_S)
    };
    Memory {
        start: rss().next().unwrap_or(0),
        end: rss().next_back().unwrap_or(0),
        max: rss().max().unwrap_or(0),
        growth_per_hour: per_hour(|growth| growth.per_second),
        growth_low: per_hour(|growth| growth.low),
        growth_high: per_hour(|growth| growth.high),
        growth_detectable: per_hour(|growth| growth.detectable),
    }
}

fn describe(check: &Check) -> String {
    let memory = &check.memory;
    let mb = |bytes: u64| bytes as f64 / MB;
    let mut lines = vec![
        format!(
            "{} requests in {:.0} s through {}: {} errors, {} unsent, send lag p99 {:.3} ms, {:.1} µs CPU/request",
            check.requests,
            check.duration_s,
            check.way,
            check.errors,
            check.unsent,
            check.send_lag_p99_ms,
            check.cpu_us
        ),
        format!(
            "memory of the generator: {:.1} MB at first, {:.1} MB at last, {:.1} MB at most",
            mb(memory.start),
            mb(memory.end),
            mb(memory.max)
        ),
    ];
    if let (Some(growth), Some(low), Some(high), Some(least)) = (
        memory.growth_per_hour,
        memory.growth_low,
        memory.growth_high,
        memory.growth_detectable,
    ) {
        lines.push(format!(
            "growth: {:.2} MB/h (95 %: {:.2} to {:.2}); below {:.2} MB/h none could have been seen in this time",
            growth / MB,
            low / MB,
            high / MB,
            least / MB
        ));
    }
    let verdict = match check.verdict {
        Verdict::Valid => "valid",
        Verdict::Suspect => "suspect",
        Verdict::Invalid => "INVALID",
    };
    lines.push(format!("measurement: {verdict}"));
    lines.extend(check.reasons.iter().map(|reason| format!("  - {reason}")));
    if let Some(least) = memory.growth_detectable
        && least > check.growth_allowed
    {
        lines.push(format!(
            "a growth of {} MB/h is below what this check could have seen: it takes longer, or a quieter machine",
            check.growth_allowed / MB
        ));
    }
    let outcome = match (check.failed.is_empty(), check.verdict) {
        (false, _) => "FAILED",
        (true, Verdict::Invalid) => "not decided, for the measurement is invalid",
        (true, _) => "passed",
    };
    lines.push(format!("self-check: {outcome}"));
    lines.extend(check.failed.iter().map(|reason| format!("  - {reason}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_up_with_its_growth() {
        let samples: Samples = (0_u32..240)
            .map(|i| (f64::from(i) / 4.0, 0.0, 30_000_000 + u64::from(i) * 1000))
            .collect();
        let memory = memory(&samples, 60.0);
        assert_eq!((memory.start, memory.max), (30_000_000, memory.end));
        // 4,000 bytes a second.
        let growth = memory.growth_per_hour.unwrap_or_default();
        assert!((growth / MB - 14.4).abs() < 0.1, "{growth}");
        let nothing = super::memory(&Vec::new(), 60.0);
        assert_eq!((nothing.max, nothing.growth_per_hour), (0, None));
    }
}
