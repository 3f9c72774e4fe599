//! Trying one claim: does it bind, how noisy is it, what do the pairs say, what does the control
//! say, and which value is enough.

use std::time::Instant;

use serde_json::Value;

use super::{
    claim::Claim,
    plan::Plan,
    quantity::Quantity,
    record::{Binding, Noise, PositiveControl, Row, Series, Size, means},
    search::{Effort, Found, smallest},
    verdict::Control,
    workload::{Measures, Trial, Workload},
};
use crate::{
    stats::{Estimate, Goal, detectable_effect, estimate, pairs_needed, upper_deviation},
    study::{
        pairs::{Pair, Side, interleave},
        rig::{Lab, Rig, RigError, base_settings, merge},
    },
};

/// How far a search may go beyond the largest recommended value.
const SEARCH_BEYOND: f64 = 8.0;
/// A generator above this share of its ceiling cannot be believed.
const CEILING: f64 = 0.8;

/// Everything that was measured for a claim; the verdict comes when all claims have been tried.
#[derive(Debug)]
pub struct Tried {
    /// The claim.
    pub claim: Claim,
    /// Whether it bound.
    pub binding: Binding,
    /// Pairs and measures of each recommended value, in the claim's order.
    pub arms: Vec<TriedArm>,
    /// The control.
    pub control: Option<Control>,
    /// What the control workload measured: with the current value, and with the last recommended one.
    pub control_measured: Option<[Measures; 2]>,
    /// Noise of the metric.
    pub noise: Option<Noise>,
    /// A slowdown that was put in, seen through this row's metric.
    pub positive: Option<PositiveControl>,
    /// Other sizes.
    pub sizes: Vec<Size>,
    /// The search.
    pub search: Option<Found>,
    /// Typical trials.
    pub series: Series,
    /// Factor of times.
    pub time_factor: f64,
    /// Why the measurement cannot be believed.
    pub problems: Vec<String>,
    /// Reasons for care.
    pub notes: Vec<String>,
}

/// One recommended value, tried.
#[derive(Debug)]
pub struct TriedArm {
    /// The value as it stands in the claim.
    pub value: Quantity,
    /// The metric of each pair.
    pub pairs: Vec<Pair>,
    /// Improvements, as log-ratios.
    pub improvements: Vec<f64>,
    /// Their mean.
    pub estimate: Option<Estimate>,
    /// Whether it was enough in every pair, by the claim's condition.
    pub enough: bool,
    /// Means with the current value and with this one.
    pub means: [Measures; 2],
}

/// Makes the trials of one claim on one rig.
struct Bench<'a> {
    lab: &'a Lab,
    rig: Rig,
    claim: &'a Claim,
    factor: f64,
    base: Value,
    problems: Vec<String>,
    busiest_rps: f64,
}

impl Bench<'_> {
    /// One trial with a value of the setting.
    fn trial(&mut self, workload: &Workload, value: Quantity) -> Result<Trial, RigError> {
        let value = if self.factor == 1.0 {
            value
        } else {
            value.scaled(self.factor)
        };
        let (prepared, surroundings) = workload.prepare(&self.rig)?;
        let mut patch = self.claim.patch(value);
        if let Some(surroundings) = surroundings {
            merge(&mut patch, &surroundings);
        }
        let why = format!("tuning: {} = {value}", self.claim.row);
        self.rig.switch(self.lab, &patch, &why)?;
        let mut settings = self.base.clone();
        merge(&mut settings, &patch);
        let trial = workload.run(self.lab, &mut self.rig, &prepared, &settings)?;
        let rps = trial.measures.get("requests_per_second");
        self.busiest_rps = self.busiest_rps.max(rps.copied().unwrap_or(0.0));
        let failed = trial.measures.get("failed").copied().unwrap_or(0.0);
        let requests = trial.measures.get("requests").copied().unwrap_or(0.0);
        if failed * 100.0 > requests {
            self.problems.push(format!(
                "{failed} of {requests} requests of a trial failed for another reason than the setting"
            ));
        }
        Ok(trial)
    }

    fn metric(&self, trial: &Trial) -> f64 {
        let metric = trial.measures.get(&self.claim.metric);
        metric.copied().unwrap_or(f64::NAN)
    }

    /// What is added to counts that may be 0, so that they have a logarithm: half a request.
    fn floor(&self, trial: &Trial) -> f64 {
        let requests = trial.measures.get("requests").copied().unwrap_or(0.0);
        if self.claim.exact && self.claim.current.duration().is_none() {
            0.5 / requests.max(1.0)
        } else {
            0.0
        }
    }

    /// Pairs of the current value and another.
    fn pairs(
        &mut self,
        workload: &Workload,
        value: Quantity,
        count: usize,
    ) -> Result<Vec<(Trial, Trial)>, RigError> {
        let current = self.claim.current;
        self.pairs_of([(workload, current), (workload, value)], count)
    }

    /// Pairs that differ in workload, value, or both.
    fn pairs_of(
        &mut self,
        [a, b]: [(&Workload, Quantity); 2],
        count: usize,
    ) -> Result<Vec<(Trial, Trial)>, RigError> {
        interleave(count, |_, side| {
            let (workload, value) = match side {
                Side::A => a,
                Side::B => b,
            };
            self.trial(workload, value)
        })
    }

    fn arm(&self, value: Quantity, trials: &[(Trial, Trial)], seed: u64) -> TriedArm {
        let floor = trials.first().map_or(0.0, |(a, _)| self.floor(a));
        let pairs: Vec<_> = trials
            .iter()
            .map(|(a, b)| Pair {
                a: self.metric(a),
                b: self.metric(b),
            })
            .collect();
        let improvements: Vec<_> = pairs
            .iter()
            .filter_map(|pair| pair.improvement(self.claim.direction, floor))
            .collect();
        let condition = self.claim.enough.as_ref();
        let enough = |(_, b): &(Trial, Trial)| {
            condition.is_some_and(|condition| condition.holds(&b.measures) == Some(true))
        };
        TriedArm {
            value,
            enough: !trials.is_empty() && trials.iter().all(enough),
            estimate: estimate(&improvements, seed),
            improvements,
            pairs,
            means: [
                means(trials.iter().map(|(a, _)| &a.measures)),
                means(trials.iter().map(|(_, b)| &b.measures)),
            ],
        }
    }
}

/// What a row may know from before.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Requests per second of the generator without a proxy.
    pub ceiling_rps: f64,
    /// When everything must be over.
    pub deadline: Instant,
}

/// Tries one claim. `say` hears what is being done.
///
/// # Errors
///
/// When the rig fails or the user asks to stop; what is wrong with the evidence is in the result.
pub fn try_claim(
    lab: &Lab,
    claim: &Claim,
    plan: &Plan,
    known: &Known,
    say: &mut dyn FnMut(&str),
) -> Result<Tried, RigError> {
    let shorten = |workload: Workload| {
        if plan.quick {
            workload.quick()
        } else {
            workload
        }
    };
    let (binding, control) = (shorten(claim.binding), shorten(claim.control));
    say("starting replica and proxy");
    let rig = Rig::start(lab, &claim.row, binding.rig())?;
    let mut bench = Bench {
        lab,
        rig,
        claim,
        factor: if plan.quick {
            claim.quick_factor()
        } else {
            1.0
        },
        base: base_settings()?,
        problems: Vec::new(),
        busiest_rps: 0.0,
    };
    // The first trial warms proxy and replica up; a workload that does not bind in it gets a second chance.
    say("warming up, and looking whether the workload reaches the setting");
    let long = binding.lasts(claim.current.duration()).as_secs_f64() * bench.factor > 5.0;
    let mut current = Vec::new();
    if !long {
        bench.trial(&binding, claim.current)?;
        current.push(bench.trial(&binding, claim.current)?);
    }
    let holds = |trial: &Trial| claim.binds.holds(&trial.measures) == Some(true);
    let mut tried = Tried::nothing_yet(claim.clone(), bench.factor);
    let reaches = long || current.iter().any(holds) || {
        current.push(bench.trial(&binding, claim.current)?);
        current.iter().any(holds)
    };
    if reaches {
        measure(
            &mut bench,
            plan,
            known,
            &binding,
            &control,
            &mut tried,
            &mut current,
            say,
        )?;
    }
    let held = current.iter().filter(|trial| holds(trial)).count();
    tried.binding = Binding {
        condition: claim.binds.to_string(),
        measured: means(current.iter().map(|trial| &trial.measures)),
        held,
        trials: current.len(),
        bound: held * 2 > current.len(),
    };
    if let Some(trial) = current.into_iter().next_back() {
        tried.series.current = trial.lines;
    }
    if bench.busiest_rps > known.ceiling_rps * CEILING {
        bench.problems.push(format!(
            "the generator ran at {:.0} requests/s, above {:.0} % of its ceiling of {:.0}",
            bench.busiest_rps,
            CEILING * 100.0,
            known.ceiling_rps
        ));
    } else if bench.busiest_rps > known.ceiling_rps * 0.5 {
        tried
            .notes
            .push("the generator ran above half of its ceiling".to_owned());
    }
    bench.problems.dedup();
    tried.problems = std::mem::take(&mut bench.problems);
    let left = bench.rig.close();
    tried.problems.extend(
        left.into_iter()
            .map(|problem| format!("the setting is not verified as put back: {problem}")),
    );
    Ok(tried)
}

#[allow(clippy::too_many_arguments)]
fn measure(
    bench: &mut Bench<'_>,
    plan: &Plan,
    known: &Known,
    binding: &Workload,
    control: &Workload,
    tried: &mut Tried,
    current: &mut Vec<Trial>,
    say: &mut dyn FnMut(&str),
) -> Result<(), RigError> {
    let claim = bench.claim;
    let mut count = plan.pairs(claim);
    if !claim.exact {
        say("the current value against itself: how noisy is this row?");
        let trials = bench.pairs(binding, claim.current, plan.aa_pairs)?;
        let (noise, needed) = noise_of(bench, &trials, plan, count, claim.smallest_effect);
        match needed {
            Some(needed) => count = needed.max(plan.aa_pairs),
            None => tried.notes.push(format!(
                "{count} pairs are what the budget allows; they show effects from {:.1} % on",
                noise.detectable * 100.0
            )),
        }
        tried.noise = Some(noise);
        if let Some((slowed, injected, expected)) = binding.slowed() {
            say(&format!("positive control: {injected}"));
            let pairs = count.clamp(4, plan.aa_pairs.max(4));
            let sides = [(binding, claim.current), (&slowed, claim.current)];
            let trials = bench.pairs_of(sides, pairs)?;
            let arm = bench.arm(claim.current, &trials, 98);
            tried.positive = Some(positive(claim, arm, injected, expected, plan.alpha));
        }
    }
    let values = claim.recommended.clone();
    for (index, value) in values.iter().enumerate() {
        say(&format!("{count} pairs: {} against {value}", claim.current));
        let trials = bench.pairs(binding, *value, count)?;
        tried
            .arms
            .push(bench.arm(*value, &trials, index as u64 + 1));
        for (a, b) in trials {
            current.push(a);
            tried.series.value = b.lines;
        }
    }
    let last = values.last().copied().unwrap_or(claim.current);
    say("the control workload, where the setting must make no difference");
    bench.trial(control, claim.current)?;
    let mut pairs = plan.control_pairs;
    if !claim.exact {
        pairs = pairs.max(count.min(8));
    }
    let trials = bench.pairs(control, last, pairs)?;
    let differences: Vec<_> = trials
        .iter()
        .map(|(a, b)| bench.metric(b) - bench.metric(a))
        .collect();
    let typical = tried.arms.first().map_or(0.0, |arm| {
        arm.pairs.iter().map(|pair| pair.a.abs()).sum::<f64>() / arm.pairs.len().max(1) as f64
    });
    let matters = claim.smallest_effect * typical;
    tried.control = Some(Control::of(&differences, matters, plan.alpha));
    tried.control_measured = Some([
        means(trials.iter().map(|(a, _)| &a.measures)),
        means(trials.iter().map(|(_, b)| &b.measures)),
    ]);

    if plan.sizes && Instant::now() < known.deadline {
        for (size, workload) in binding.sizes(&claim.series, claim.current.amount) {
            say(&format!("for the evidence: {size}"));
            let a = bench.trial(&workload, claim.current)?;
            let b = bench.trial(&workload, last)?;
            tried.sizes.push(Size {
                size,
                current: a.measures,
                value: b.measures,
            });
        }
    }
    let in_time = plan.search > 0 && Instant::now() < known.deadline;
    if let Some(enough) = claim.enough.as_ref().filter(|_| in_time) {
        say(&format!("which value is enough ({enough})?"));
        let effort = Effort {
            precision: 0.01,
            trials: plan.search,
        };
        let most = last.amount * SEARCH_BEYOND;
        let current = claim.current;
        let (low, high) = bounds_of_search(claim, &tried.arms);
        let found = smallest(low, high, most, effort, |amount| {
            let trial = bench.trial(binding, current.with(amount))?;
            let measured = trial.measures.get(&enough.measure).copied();
            let holds = enough.holds(&trial.measures) == Some(true);
            Ok::<_, RigError>((measured.unwrap_or(f64::NAN), holds))
        })?;
        tried.search = Some(found);
    }
    Ok(())
}

/// Where the search begins: between the largest value that was not always enough in its pairs, and
/// the smallest above it that was; without one, the largest recommended value.
fn bounds_of_search(claim: &Claim, arms: &[TriedArm]) -> (f64, f64) {
    let (current, last) = (claim.current.amount, claim.recommended.last());
    let last = last.map_or(current, |value| value.amount);
    if last <= current {
        return (current, last);
    }
    let amounts = |enough: bool| {
        let of = arms.iter().filter(move |arm| arm.enough == enough);
        of.map(|arm| arm.value.amount)
    };
    let low = amounts(false).fold(current, f64::max);
    let high = amounts(true).filter(|amount| *amount > low);
    (low, high.reduce(f64::min).unwrap_or(last.max(low)))
}

/// Whether a slowdown that was put in was found, as a worsening of the claim's metric.
fn positive(
    claim: &Claim,
    arm: TriedArm,
    injected: String,
    expected: f64,
    alpha: f64,
) -> PositiveControl {
    let found = arm.estimate;
    PositiveControl {
        injected,
        metric: claim.metric.clone(),
        expected,
        measured: found.map_or(f64::NAN, |found| (-found.mean).exp_m1()),
        interval: found.map(|found| ((-found.high).exp_m1(), (-found.low).exp_m1())),
        found: found.is_some_and(|found| found.p_value < alpha && found.mean < 0.0),
        pairs: arm.pairs,
    }
}

/// The noise of a row, and the pairs that its smallest effect needs, if the budget has them.
fn noise_of(
    bench: &Bench<'_>,
    trials: &[(Trial, Trial)],
    plan: &Plan,
    most: usize,
    smallest_effect: f64,
) -> (Noise, Option<usize>) {
    let arm = bench.arm(bench.claim.current, trials, 99);
    let deviation = arm.estimate.map_or(f64::NAN, |found| found.deviation);
    let goal = Goal {
        effect: smallest_effect.ln_1p(),
        alpha: plan.alpha,
        power: plan.power,
    };
    let careful = upper_deviation(deviation, trials.len());
    let needed = pairs_needed(careful, &goal, most);
    let pairs = needed.unwrap_or(most);
    let noise = Noise {
        metric: bench.claim.metric.clone(),
        pairs: arm.pairs,
        deviation,
        detectable: detectable_effect(careful, pairs, &goal).exp_m1(),
        alarmed: arm.estimate.is_some_and(|found| found.p_value < plan.alpha),
        estimate: arm.estimate,
    };
    (noise, needed)
}

impl Tried {
    /// A claim of which nothing was measured.
    pub(super) fn nothing_yet(claim: Claim, time_factor: f64) -> Self {
        Self {
            binding: Binding {
                condition: claim.binds.to_string(),
                measured: Measures::new(),
                held: 0,
                trials: 0,
                bound: false,
            },
            claim,
            arms: Vec::new(),
            control: None,
            control_measured: None,
            noise: None,
            positive: None,
            sizes: Vec::new(),
            search: None,
            series: Series::default(),
            time_factor,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The row of the result, once the verdicts are known.
    pub(super) fn into_row(self, arms: Vec<super::record::Arm>) -> Row {
        super::conclude::row(self, arms)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_search_begins_where_the_pairs_ended() {
        let table = include_str!("../../../../config/tuning.toml");
        let claims = super::super::file::parse(table, "tuning.toml").unwrap();
        let claim = claims
            .iter()
            .find(|claim| claim.row == "keepalive")
            .unwrap();
        let arm = |value: f64, enough| TriedArm {
            value: claim.current.with(value),
            pairs: Vec::new(),
            improvements: Vec::new(),
            estimate: None,
            enough,
            means: Default::default(),
        };
        let bounds = |arms: &[TriedArm]| bounds_of_search(claim, arms);
        assert_eq!(bounds(&[arm(64.0, false), arm(128.0, true)]), (64.0, 128.0));
        assert_eq!(bounds(&[arm(64.0, true), arm(128.0, true)]), (32.0, 64.0));
        assert_eq!(
            bounds(&[arm(64.0, false), arm(128.0, false)]),
            (128.0, 128.0)
        );
        // A larger value that was not enough casts doubt on a smaller one that was.
        assert_eq!(
            bounds(&[arm(64.0, true), arm(128.0, false)]),
            (128.0, 128.0)
        );
    }
}
