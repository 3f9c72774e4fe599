//! `weir-bench autotune`.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use weir_lab::host::machine::{Machine, raise_file_limit};
use weir_load::{stop::StopToken, units::parse_duration};

use crate::{
    cli::tuning::{as_usage, claims_of, folder, progress},
    exit::{Exit, Usage},
    results::now_utc,
    stats::estimate,
    study::{
        autotune::{
            objective::Objective,
            page,
            print::print,
            record::{PROOF, Proof, Report, proposed},
            space::{Candidate, Dimension, current_of, space_of},
            tournament::halve,
        },
        pairs::{Pair, Side, order},
        rig::{Lab, ProxyKind, Rig, RigError, base_settings, merge},
        tuning::{
            claim::Claim,
            print::percent,
            record::means,
            workload::{Measures, Trial},
        },
    },
};

/// Share of the time that the tournament may take.
const TOURNAMENT: f64 = 0.6;

/// Search the live settings for values that meet an objective, and prove what was found.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The objective: rules as of `run --slo` ("p99<200ms,errors<0.1%"), or measures of the workload
    /// ("opened_per_request <= 0.02"); all of them must hold. Repeat it for more.
    #[arg(long, required = true, value_name = "RULE,…")]
    pub slo: Vec<String>,
    /// The workload: that of this row of the tuning table. The row's metric decides among values
    /// that meet the objective.
    #[arg(long, default_value = "keepalive", value_name = "ROW")]
    pub workload: String,
    /// Settings to search, by path [default: the row's own].
    #[arg(long, value_delimiter = ',', value_name = "PATH,…")]
    pub settings: Vec<String>,
    /// Candidates.
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub candidates: usize,
    /// Time for everything; the search ends with the round in which 60 % of it are over.
    #[arg(long, default_value = "5m", value_parser = parse_duration, value_name = "DURATION")]
    pub budget: Duration,
    /// The tuning table [default: config/tuning.toml, or the one that this program carries].
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
    /// Short trials.
    #[arg(long)]
    pub quick: bool,
    /// Seed of the candidates.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
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

/// What is searched.
struct Task {
    claim: Claim,
    slo: Vec<Objective>,
    base: Value,
    current: Candidate,
    candidates: Vec<Candidate>,
}

impl Task {
    fn of(args: &Args) -> anyhow::Result<Self> {
        let usage = |text: String| anyhow::Error::from(Usage::new(text));
        let row = std::slice::from_ref(&args.workload);
        let mut claim = claims_of(args.claims.as_deref(), row)?
            .into_iter()
            .next()
            .ok_or_else(|| anyhow!("no such row"))?;
        if args.quick {
            claim.binding = claim.binding.quick();
        }
        let mut slo = Vec::new();
        for text in &args.slo {
            let demands = Objective::parse_list(text, &claim.binding);
            slo.extend(demands.map_err(|text| usage(format!("`--slo`: {text}")))?);
        }
        if !(2..=64).contains(&args.candidates) {
            return Err(usage("`--candidates` must be 2 to 64".to_owned()));
        }
        let base = base_settings()?;
        let paths = match args.settings.is_empty() {
            true => vec![claim.setting.clone()],
            false => args.settings.clone(),
        };
        let dimensions = paths
            .iter()
            .map(|path| Dimension::of(path, &base))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|text| usage(format!("`--settings`: {text}")))?;
        Ok(Self {
            claim,
            slo,
            base,
            current: current_of(&dimensions),
            candidates: space_of(&dimensions, args.candidates, args.seed),
        })
    }
}

/// A rig on which values are tried.
struct Bench<'a> {
    lab: &'a Lab,
    rig: Rig,
    task: &'a Task,
}

impl Bench<'_> {
    fn trial(&mut self, candidate: &Candidate) -> Result<Trial, RigError> {
        let workload = self.task.claim.binding;
        let (prepared, surroundings) = workload.prepare(&self.rig)?;
        let mut patch = candidate.patch.clone();
        if let Some(surroundings) = surroundings {
            merge(&mut patch, &surroundings);
        }
        self.rig.switch(self.lab, &patch, "autotune: a trial")?;
        let mut settings = self.task.base.clone();
        merge(&mut settings, &patch);
        workload.run(self.lab, &mut self.rig, &prepared, &settings)
    }

    /// One pair; who begins follows its number.
    fn pair(&mut self, other: &Candidate, number: usize) -> Result<(Trial, Trial), RigError> {
        let current = &self.task.current;
        match order(number) {
            [Side::A, _] => Ok((self.trial(current)?, self.trial(other)?)),
            [Side::B, _] => {
                let b = self.trial(other)?;
                Ok((self.trial(current)?, b))
            }
        }
    }

    fn met(&self, measures: &Measures) -> bool {
        self.task.slo.iter().all(|demand| demand.is_met(measures))
    }

    /// The metric of a pair, and its improvement.
    fn compared(&self, a: &Trial, b: &Trial) -> (Pair, Option<f64>) {
        let claim = &self.task.claim;
        let figure = |trial: &Trial, name: &str| trial.measures.get(name).copied();
        let metric = |trial: &Trial| figure(trial, &claim.metric).unwrap_or(f64::NAN);
        let floor = match claim.exact {
            true => 0.5 / figure(a, "requests").unwrap_or(1.0).max(1.0),
            false => 0.0,
        };
        let pair = Pair {
            a: metric(a),
            b: metric(b),
        };
        (pair, pair.improvement(claim.direction, floor))
    }
}

/// Searches and proves. Exit code 3 when neither the current values nor any candidate meets the
/// objective.
///
/// # Errors
///
/// When an argument is wrong, a process does not start, or the user stops it.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let task = Task::of(&args)?;
    let stop = StopToken::on_signals()?;
    raise_file_limit(40_000);
    let row = &task.claim.row;
    let folder = folder(args.output.as_deref(), &args.results, "autotune", row)?;
    let lab = Lab::new(&folder, ProxyKind::Weir, args.weir.clone(), stop)?;
    let report = search(&lab, &args, &task).map_err(as_usage)?;
    let file = folder.join("autotune.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&report)?)
        .context("cannot write autotune.json")?;
    let html = page::render(&report)?;
    std::fs::write(folder.join("report.html"), html).context("cannot write report.html")?;
    print(&report);
    weir_lab::stdio::say(format_args!(
        "everything: {}",
        folder.join("report.html").display()
    ));
    anyhow::ensure!(
        report.restored,
        "a trial value was not verified as put back"
    );
    let met = !report.proposal.is_null() || report.proof.met_before == PROOF;
    Ok(if met { Exit::Passed } else { Exit::GateFailed }.into())
}

fn search(lab: &Lab, args: &Args, task: &Task) -> Result<Report, RigError> {
    let (begun, at) = (Instant::now(), now_utc());
    let say = |text: &str| progress(begun, text);
    let rig = Rig::start(lab, "autotune", task.claim.binding.rig())?;
    let mut bench = Bench { lab, rig, task };
    bench.trial(&task.current)?;
    let count = task.candidates.len();
    say(&format!(
        "{count} candidates; the worse half drops out after every round"
    ));
    let until = args.budget.mul_f64(TOURNAMENT);
    let tournament = halve(
        count,
        || begun.elapsed() < until,
        |index, number| {
            let candidate = task.candidates.get(index).unwrap_or(&task.current);
            let (a, b) = bench.pair(candidate, number)?;
            let (_, improvement) = bench.compared(&a, &b);
            let met = bench.met(&b.measures);
            let change = |log: f64| percent((log * task.claim.direction.sign()).exp_m1());
            let text = improvement.map_or_else(|| "–".to_owned(), change);
            let missed = if met { "" } else { ", misses the objective" };
            say(&format!(
                "{}: {} {text}{missed}",
                candidate.text, task.claim.metric
            ));
            Ok::<_, RigError>((improvement, met))
        },
    )?;
    let winner = tournament.first().map_or(0, |entrant| entrant.candidate);
    let winner = task.candidates.get(winner).unwrap_or(&task.current).clone();
    say(&format!("proof: {}, {PROOF} fresh pairs", winner.text));
    let mut proof = Proof {
        candidate: winner,
        pairs: Vec::new(),
        estimate: None,
        met: 0,
        met_before: 0,
        means: Default::default(),
    };
    let (mut logs, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..PROOF {
        let (a, b) = bench.pair(&proof.candidate, number)?;
        let (pair, improvement) = bench.compared(&a, &b);
        proof.met_before += usize::from(bench.met(&a.measures));
        proof.met += usize::from(bench.met(&b.measures));
        proof.pairs.push(pair);
        logs.extend(improvement);
        before.push(a.measures);
        after.push(b.measures);
    }
    proof.estimate = estimate(&logs, args.seed);
    proof.means = [means(&before), means(&after)];
    let (proposal, why) = proposed(&proof, task.claim.smallest_effect);
    Ok(Report {
        format: 1,
        at,
        took_s: begun.elapsed().as_secs_f64(),
        machine: Machine::here(),
        slo: task.slo.clone(),
        workload: task.claim.row.clone(),
        metric: task.claim.metric.clone(),
        direction: task.claim.direction,
        seed: args.seed,
        current: task.current.clone(),
        candidates: task.candidates.clone(),
        tournament,
        proof,
        proposal,
        why,
        restored: bench.rig.close().is_empty(),
    })
}
