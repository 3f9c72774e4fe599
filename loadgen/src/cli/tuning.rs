//! `weir-bench tuning`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use weir_lab::{
    host::machine::{Machine, raise_file_limit},
    provenance::Commit,
};
use weir_load::{stop::StopToken, units::parse_duration};

use crate::{
    exit::{Exit, Usage},
    results::{RunFolder, now_utc, write_latest},
    study::{
        rig::{Lab, OVERRIDE_TTL, ProxyKind, RigError},
        tuning::{
            apply,
            before::{NullExperiment, null_experiments, preliminaries, wrong_allowed},
            claim::Claim,
            conclude::conclude,
            documented::Profile,
            file::{choose, load, parse},
            page,
            plan::Plan,
            print, raise,
            record::{Report, Row},
            row::{Known, try_claim},
            verdict::Verdict,
        },
        versus::contender::Contender,
    },
};

/// The table that is checked where there is no file.
const SHIPPED: &str = include_str!("../../../config/tuning.toml");
const FILE: &str = "config/tuning.toml";

/// Check the documented tuning table: every claim tried on this machine, proven or refuted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows to check; without one, all of them.
    #[arg(value_name = "ROW")]
    pub rows: Vec<String>,
    /// Time for everything; it decides how many pairs are made.
    #[arg(long, default_value = "10m", value_parser = parse_duration, value_name = "DURATION")]
    pub budget: Duration,
    /// Which proxy the settings are tried on.
    #[arg(long, value_enum, default_value_t = ProxyKind::Weir)]
    pub proxy: ProxyKind,
    /// The claims [default: config/tuning.toml, or the table that this program carries].
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
    /// Short trials; settings that are times are tried at a tenth of theirs.
    #[arg(long)]
    pub quick: bool,
    /// Instead of claims, make N real A/A experiments and count wrong verdicts.
    #[arg(long, value_name = "N", conflicts_with_all = ["rows", "apply"])]
    pub aa: Option<usize>,
    /// Offer to save confirmed values to the running proxy named with `--admin`.
    #[arg(long, requires = "admin")]
    pub apply: bool,
    /// Admin API of the proxy that `--apply` is about.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// Apply without a question.
    #[arg(long, requires = "apply")]
    pub yes: bool,
    /// Hold the documented raise (100 r/s, burst 200, no delay) at the proxy with this admin API
    /// until Ctrl-C, then put it back.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["rows", "apply", "aa"])]
    pub raise: Option<SocketAddr>,
    /// Time to live of the raise: what is left of it if this program is killed.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", requires = "raise")]
    pub raise_ttl: Option<Duration>,
    /// Fail while the raise is held.
    #[arg(long, hide = true, requires = "raise")]
    pub raise_and_fail: bool,
    /// Where run folders go.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub results: PathBuf,
    /// Write the result here instead of into a new folder below `--results`.
    #[arg(long, value_name = "FOLDER", conflicts_with = "results")]
    pub output: Option<PathBuf>,
    /// The proxy's binary [default: beside this program].
    #[arg(long, value_name = "FILE")]
    pub weir: Option<PathBuf>,
}

/// Checks the claims.
///
/// # Errors
///
/// When the claims file is wrong, a process does not start, or the user stops it.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let stop = StopToken::on_signals()?;
    if let Some(admin) = args.raise {
        let ttl = args.raise_ttl.unwrap_or(OVERRIDE_TTL);
        raise::hold(admin, ttl, args.raise_and_fail, &stop)?;
        return Ok(Exit::Passed.into());
    }
    raise_file_limit(40_000);
    if let Some(count) = args.aa {
        return aa(&args, count, stop);
    }
    let claims = chosen(&args)?;
    let plan = Plan::within(args.budget, args.quick, &claims).map_err(Usage::new)?;
    let folder = folder(
        args.output.as_deref(),
        &args.results,
        "tuning",
        args.proxy.name(),
    )?;
    let lab = Lab::new(&folder, args.proxy, args.weir.clone(), stop)?;
    weir_lab::stdio::say(format_args!(
        "{} claims on {}, about {:.0} s of {:.0} s; results in {}",
        claims.len(),
        args.proxy.name(),
        plan.least(&claims).as_secs_f64(),
        args.budget.as_secs_f64(),
        folder.display()
    ));
    let report = check(&lab, &args, &claims, plan)?;
    let json = serde_json::to_vec_pretty(&report)?;
    std::fs::write(folder.join("tuning.json"), json).context("cannot write tuning.json")?;
    let html = page::render(&report)?;
    std::fs::write(folder.join("report.html"), html).context("cannot write report.html")?;
    weir_lab::stdio::say(format_args!("\n{}", print::text(&report)));
    weir_lab::stdio::say(format_args!(
        "everything: {}",
        folder.join("report.html").display()
    ));
    if let Some(case) = report.raise.iter().find(|case| !case.restored) {
        anyhow::bail!("the raised limits were not put back when {}", case.ending);
    }
    if args.apply
        && let Some(admin) = args.admin
    {
        match report.patch() {
            Some(patch) => {
                apply::offer(admin, &patch, args.yes)?;
            }
            None => weir_lab::stdio::say(format_args!(
                "no claim was confirmed: there is nothing to apply"
            )),
        }
    }
    let undecided = report
        .rows
        .iter()
        .all(|row| row.verdict == Verdict::Invalid);
    Ok(if undecided {
        Exit::Invalid
    } else {
        Exit::Passed
    }
    .into())
}

fn chosen(args: &Args) -> anyhow::Result<Vec<Claim>> {
    claims_of(args.claims.as_deref(), &args.rows)
}

/// The rows of a claims file, of the project's own, or of the built-in table.
pub(super) fn claims_of(file: Option<&Path>, rows: &[String]) -> anyhow::Result<Vec<Claim>> {
    let claims = match file {
        Some(path) => load(path),
        None if Path::new(FILE).is_file() => load(Path::new(FILE)),
        None => parse(SHIPPED, "the built-in tuning table"),
    };
    Ok(choose(claims.map_err(Usage::new)?, rows).map_err(Usage::new)?)
}

/// Where the results of a command go: `output`, or a new folder below `results`.
pub(super) fn folder(
    output: Option<&Path>,
    results: &Path,
    name: &str,
    size: &str,
) -> anyhow::Result<PathBuf> {
    if let Some(output) = output {
        std::fs::create_dir_all(output)
            .with_context(|| format!("cannot create {}", output.display()))?;
        return Ok(std::path::absolute(output)?);
    }
    let folder = RunFolder::create(results, name, size, &Commit::here())?;
    write_latest(results, &folder)?;
    Ok(std::path::absolute(folder.path())?)
}

/// Tells what is being done, with the time since the command began.
pub(super) fn progress(begun: Instant, what: impl std::fmt::Display) {
    weir_lab::stdio::note(format_args!(
        "[{:>4.0} s] {what}",
        begun.elapsed().as_secs_f64()
    ));
}

fn check(lab: &Lab, args: &Args, claims: &[Claim], plan: Plan) -> anyhow::Result<Report> {
    let (begun, at) = (Instant::now(), now_utc());
    let machine = Machine::here();
    let say = |what: &str, text: &str| progress(begun, format_args!("{what}: {text}"));
    let before = preliminaries(lab, &plan, &mut |text| say("before", text)).map_err(as_usage)?;
    let known = Known {
        ceiling_rps: before.ceiling_rps,
        deadline: begun + args.budget,
    };
    let mut tried = Vec::new();
    for claim in claims {
        let one = try_claim(lab, claim, &plan, &known, &mut |text| say(&claim.row, text));
        tried.push(
            one.map_err(as_usage)
                .with_context(|| format!("row {}", claim.row))?,
        );
    }
    let raise = if args.rows.is_empty() && lab.proxy == ProxyKind::Weir {
        raise::try_endings(lab, &mut |text| say("raise", text))?
    } else {
        Vec::new()
    };
    let found = before.positive_control.found;
    let rows = conclude(tried, found, plan.alpha);
    let profile = Profile::load();
    let contender = Contender::named(lab.proxy.name(), lab.weir.as_deref());
    let mut report = Report {
        format: Report::FORMAT,
        at,
        took_s: 0.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        proxy: lab.proxy,
        proxy_version: contender.map_or_else(|_| lab.proxy.name().to_owned(), |c| c.version()),
        machine,
        plan,
        before,
        documented_rows: profile
            .as_ref()
            .map_or_else(Vec::new, |profile| profile.rows(&rows)),
        documented_profile: profile.map_or_else(Vec::new, |profile| profile.findings()),
        rows,
        raise,
        limits: Vec::new(),
    };
    report.took_s = begun.elapsed().as_secs_f64();
    report.limits = limits(&report);
    Ok(report)
}

pub(super) fn as_usage(error: RigError) -> anyhow::Error {
    match &error {
        RigError::Topology(topology) if topology.is_usage() => Usage::new(&error).into(),
        _ => error.into(),
    }
}

/// What could not be decided, and what bounds the rest.
fn limits(report: &Report) -> Vec<String> {
    let mut limits = Vec::new();
    let decided = |row: &&Row| !matches!(row.verdict, Verdict::Invalid | Verdict::NotBound);
    let count = report.rows.iter().filter(decided).count();
    limits.push(format!(
        "{count} of {} rows were decided, within the bounds below",
        report.rows.len()
    ));
    for row in &report.rows {
        if matches!(row.verdict, Verdict::Invalid | Verdict::NotBound) {
            limits.push(format!("{}: {}", row.row, row.why));
        } else if row.time_factor != 1.0 {
            limits.push(format!(
                "{}: tried with times × {}, not with those of the table",
                row.row, row.time_factor
            ));
        }
    }
    if !report.before.positive_control.found {
        limits.push("a slowdown of about 6 % that was put in was not found: differences of that size in response times cannot be decided here now".to_owned());
    }
    if report.before.aa.alarmed {
        limits.push("the comparison of a setting with itself showed a difference, which happens by chance once in twenty times".to_owned());
    }
    if report.machine.is_busy() {
        limits.push(format!(
            "other programs kept this machine busy (load average {:.1}): CPU times and response times are noisier than they need be",
            report.machine.load_1min
        ));
    }
    limits.push(format!(
        "generator, replicas and proxy share {} cores and the loopback network: a network with latency makes handshakes dearer and holds connections longer, so the values that are enough there are larger",
        report.machine.cores
    ));
    limits.push("one proxy thread (nginx: one worker) and stand-in replicas: with more threads nginx's limits apply to each worker".to_owned());
    limits
}

fn aa(args: &Args, count: usize, stop: StopToken) -> anyhow::Result<ExitCode> {
    if count == 0 {
        return Err(Usage::new("`--aa` must be at least 1").into());
    }
    let folder = folder(args.output.as_deref(), &args.results, "tuning", "aa")?;
    let lab = Lab::new(&folder, args.proxy, args.weir.clone(), stop)?;
    let trial = Duration::from_millis(if args.quick { 150 } else { 300 });
    let experiments = null_experiments(&lab, count, 5, trial, |number, experiment| {
        weir_lab::stdio::say(format_args!(
            "{number:>3}  {:<9}  {:>8}  p = {:.3}",
            experiment.verdict.text(),
            print::percent(experiment.effect),
            experiment.p_value
        ));
    })
    .map_err(as_usage)?;
    let wrong = experiments
        .iter()
        .filter(|e| NullExperiment::is_wrong(e))
        .count();
    let allowed = wrong_allowed(count, 0.05);
    std::fs::write(
        folder.join("aa.json"),
        serde_json::to_vec_pretty(&serde_json::json!({
            "experiments": experiments,
            "wrong": wrong,
            "declared_rate": 0.05,
        }))?,
    )?;
    weir_lab::stdio::say(format_args!(
        "{wrong} of {count} A/A experiments got a wrong verdict; the declared rate is 5 %, and up to {allowed} are within chance"
    ));
    Ok(if wrong <= allowed {
        Exit::Passed
    } else {
        Exit::GateFailed
    }
    .into())
}
