//! `weir-bench autotune`.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use serde_json::Value;

use super::{
    space::{Candidate, Dimension, current_of, space_of},
    tournament::{Entrant, halve},
};
use crate::{
    exit::{Exit, Usage},
    experiment::{
        claim::{Claim, Condition},
        command::{as_usage, claims_of, folder, progress},
        pairs::{Pair, Side, order},
        print::{number, percent},
        rig::{Lab, ProxyKind, Rig, RigError, base_settings, merge},
        workload::{Measures, Trial},
    },
    judge::wrapped,
    report::now_utc,
    run::StopToken,
    stats::{Estimate, estimate},
    units::parse_duration,
    versus::machine::{Machine, raise_file_limit},
};

/// Pairs of the proof.
const PROOF: usize = 6;
/// Share of the time that the tournament may take.
const TOURNAMENT: f64 = 0.6;

/// Search the live settings for values that meet an objective, and prove what was found.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The objective, a measure of the workload: "p95_ms <= 100". Repeat it for several.
    #[arg(long, required = true, value_name = "CONDITION")]
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

/// The result, as `autotune.json` has it.
#[derive(Debug, Serialize)]
struct Report {
    format: u32,
    at: String,
    took_s: f64,
    machine: Machine,
    slo: Vec<Condition>,
    metric: String,
    current: Candidate,
    candidates: Vec<Candidate>,
    /// Winner first.
    tournament: Vec<Entrant>,
    proof: Proof,
    /// The proposed settings as a patch; null: keep the current ones.
    proposal: Value,
    why: String,
    /// Whether every setting was verified as put back.
    restored: bool,
}

/// The winner against the current values, in fresh pairs.
#[derive(Debug, Serialize)]
struct Proof {
    candidate: Candidate,
    pairs: Vec<Pair>,
    /// Improvements as log-ratios.
    estimate: Option<Estimate>,
    /// Pairs in which the winner met the objective.
    met: usize,
    /// Pairs in which the current values met it.
    met_before: usize,
}

/// What is searched.
struct Task {
    claim: Claim,
    slo: Vec<Condition>,
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
        let known = claim.binding.measures();
        let mut slo = Vec::new();
        for text in &args.slo {
            let condition =
                Condition::parse(text).map_err(|text| usage(format!("`--slo`: {text}")))?;
            if !known.contains(&condition.measure.as_str()) {
                return Err(usage(format!(
                    "`--slo`: the workload `{}` does not measure `{}`; it measures {}",
                    claim.binding.name(),
                    condition.measure,
                    known.join(", ")
                )));
            }
            slo.push(condition);
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
        let holds = |condition: &Condition| condition.holds(measures) == Some(true);
        self.task.slo.iter().all(holds)
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
    print(&report);
    crate::stdio::say(format_args!("everything: {}", file.display()));
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
            let text = improvement.map_or_else(|| "–".to_owned(), |log| percent(log.exp_m1()));
            let missed = if met { "" } else { ", misses the objective" };
            say(&format!("{}: {text}{missed}", candidate.text));
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
    };
    let mut logs = Vec::new();
    for number in 0..PROOF {
        let (a, b) = bench.pair(&proof.candidate, number)?;
        let (pair, improvement) = bench.compared(&a, &b);
        proof.met_before += usize::from(bench.met(&a.measures));
        proof.met += usize::from(bench.met(&b.measures));
        proof.pairs.push(pair);
        logs.extend(improvement);
    }
    proof.estimate = estimate(&logs, args.seed);
    let (proposal, why) = proposed(&proof, task.claim.smallest_effect);
    Ok(Report {
        format: 1,
        at,
        took_s: begun.elapsed().as_secs_f64(),
        machine: Machine::here(),
        slo: task.slo.clone(),
        metric: task.claim.metric.clone(),
        current: task.current.clone(),
        candidates: task.candidates.clone(),
        tournament,
        proof,
        proposal,
        why,
        restored: bench.rig.close().is_empty(),
    })
}

/// Proposes the winner only if it meets the objective in every fresh pair, and either the current
/// values do not, or it is better by as much as matters, beyond chance.
fn proposed(proof: &Proof, smallest_effect: f64) -> (Value, String) {
    let better = proof
        .estimate
        .is_some_and(|found| found.excludes_zero() && found.mean >= smallest_effect.ln_1p());
    let (met, met_before) = (proof.met == PROOF, proof.met_before == PROOF);
    let why = match (met, met_before, better) {
        (true, false, _) => format!(
            "it meets the objective in all {PROOF} fresh pairs, the current values in {}",
            proof.met_before
        ),
        (true, true, true) => {
            "both meet the objective, and it is better by as much as matters, beyond chance"
                .to_owned()
        }
        (true, true, false) => {
            "they meet the objective, and no candidate is better beyond chance".to_owned()
        }
        (false, ..) => "no candidate met the objective in every fresh pair".to_owned(),
    };
    let propose = met && (!met_before || better);
    let proposal = if propose {
        proof.candidate.patch.clone()
    } else {
        Value::Null
    };
    (proposal, why)
}

fn print(report: &Report) {
    let slo: Vec<_> = report.slo.iter().map(ToString::to_string).collect();
    crate::stdio::say(format_args!(
        "\nObjective: {}; decided by {}",
        slo.join(" and "),
        report.metric
    ));
    for entrant in &report.tournament {
        if let Some(candidate) = report.candidates.get(entrant.candidate) {
            let line = format!(
                "{}: improvement {} in {} pairs, objective met in {}",
                candidate.text,
                percent(entrant.mean().exp_m1()),
                entrant.improvements.len(),
                entrant.met
            );
            crate::stdio::say(format_args!("{}", wrapped(&line, "  - ", "    ")));
        }
    }
    let proof = &report.proof;
    let interval = proof.estimate.map_or_else(String::new, |found| {
        let (low, high) = found.ratio_interval();
        let mean = percent(found.ratio() - 1.0);
        format!(
            ", improvement {mean} (95 %: {} to {})",
            percent(low - 1.0),
            percent(high - 1.0)
        )
    });
    let count = proof.pairs.len().max(1) as f64;
    let mean = |side: fn(&Pair) -> f64| proof.pairs.iter().map(side).sum::<f64>() / count;
    let line = format!(
        "{}: {} {} → {}{interval}; objective met in {} of {} pairs, with the current values in {}",
        proof.candidate.text,
        report.metric,
        number(mean(|pair| pair.a)),
        number(mean(|pair| pair.b)),
        proof.met,
        proof.pairs.len(),
        proof.met_before
    );
    crate::stdio::say(format_args!("{}", wrapped(&line, "Proof: ", "  ")));
    if report.proposal.is_null() {
        crate::stdio::say(format_args!(
            "{}",
            wrapped(&report.why, "Keep the current values: ", "  ")
        ));
    } else {
        crate::stdio::say(format_args!("{}", wrapped(&report.why, "Proposed: ", "  ")));
        crate::stdio::say(format_args!("  PATCH /v1/settings {}", report.proposal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::estimate_at;

    #[test]
    fn only_what_is_proven_is_proposed() {
        let proposes = |improvements: &[f64], met, met_before| {
            let proof = Proof {
                candidate: Candidate {
                    patch: serde_json::json!({"compression": {"level": 1}}),
                    text: "compression.level = 1".into(),
                },
                pairs: Vec::new(),
                estimate: estimate_at(improvements, 0.95, 200, 1),
                met,
                met_before,
            };
            !proposed(&proof, 0.05).0.is_null()
        };
        let (better, noise) = ([0.2, 0.21, 0.19, 0.2], [0.2, -0.21, 0.19, -0.2]);
        assert!(proposes(&better, PROOF, PROOF));
        assert!(proposes(&noise, PROOF, 2));
        assert!(!proposes(&noise, PROOF, PROOF));
        assert!(!proposes(&better, PROOF - 1, 0));
        assert!(!proposes(&[], PROOF, PROOF));
    }
}
