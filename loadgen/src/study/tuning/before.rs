//! Before any claim: the generator's own ceiling, the noise of this machine today, and a slowdown
//! that was put in on purpose and must be found.

use std::{path::Path, time::Duration};

use weir_load::{scenario::Engine, units::format_duration};

use super::workload::Span;
use super::{
    plan::Plan,
    record::{Noise, PositiveControl, Preliminaries},
    verdict::{Control, ControlOutcome, Decision, Evidence, Verdict, decide},
    workload::{Prepared, Trial, Workload},
};
use crate::{
    results::ceiling::{Calibration, Way, stored},
    stats::{Goal, detectable_effect, estimate, pairs_needed, upper_deviation},
    study::{
        pairs::{Direction, Pair, Side, interleave},
        rig::{Lab, Rig, RigError},
    },
};

/// Time that a replica takes in these trials.
const SERVICE: Duration = Duration::from_millis(10);
/// What is put in: with what else a request takes, a little more than 5 %.
const INJECTED: Duration = Duration::from_micros(700);
/// The effect that must be found.
const PLANTED: f64 = 0.05;
const METRIC: &str = "p50_ms";
const IN_FLIGHT: u32 = 8;

/// The steady load of these trials.
fn load(duration: Duration, service_time: Duration) -> Workload {
    Workload::Exchange {
        in_flight: IN_FLIGHT,
        duration: Span(duration),
        service_time: Span(service_time),
    }
}

struct Steady<'a> {
    lab: &'a Lab,
    rig: Rig,
    duration: Duration,
}

impl<'a> Steady<'a> {
    fn start(lab: &'a Lab, name: &str, duration: Duration) -> Result<Self, RigError> {
        let workload = load(duration, SERVICE);
        let rig = Rig::start(lab, name, workload.rig())?;
        let mut steady = Self { lab, rig, duration };
        steady.trial(SERVICE)?;
        Ok(steady)
    }

    fn trial(&mut self, service_time: Duration) -> Result<Trial, RigError> {
        let workload = load(self.duration, service_time);
        workload.run(
            self.lab,
            &mut self.rig,
            &Prepared::default(),
            &serde_json::Value::Null,
        )
    }

    /// Pairs of the metric with a service time on side B; on both sides the setting is switched,
    /// to what it is.
    fn pairs(&mut self, count: usize, other: Duration) -> Result<Vec<Pair>, RigError> {
        let pairs = interleave(count, |_, side| {
            let keep = crate::study::rig::base::patch("upstream.api.keepalive", 32.into());
            self.rig
                .switch(self.lab, &keep, "tuning: no change, for the noise")?;
            self.trial(match side {
                Side::A => SERVICE,
                Side::B => other,
            })
        })?;
        let metric = |trial: &Trial| trial.measures.get(METRIC).copied().unwrap_or(f64::NAN);
        Ok(pairs
            .iter()
            .map(|(a, b)| Pair {
                a: metric(a),
                b: metric(b),
            })
            .collect())
    }
}

fn improvements(pairs: &[Pair]) -> Vec<f64> {
    pairs
        .iter()
        .filter_map(|pair| pair.improvement(Direction::Lower, 0.0))
        .collect()
}

/// Calibration, A/A and positive control.
///
/// # Errors
///
/// When the rig fails or the user asks to stop.
pub fn preliminaries(
    lab: &Lab,
    plan: &Plan,
    say: &mut dyn FnMut(&str),
) -> Result<Preliminaries, RigError> {
    let duration = Duration::from_millis(if plan.quick { 300 } else { 600 });
    let most = if plan.quick { 8 } else { 16 };
    let mut steady = Steady::start(lab, "before", duration)?;
    let (ceiling_rps, ceiling_from) = match calibrated(Path::new(stored::FILE)) {
        Some(known) => {
            say(&format!("the generator's ceiling is from {}", known.1));
            known
        }
        None => {
            say("calibration: the generator's own ceiling, without a proxy");
            let from = "a trial without a proxy, before the claims (`weir-bench calibrate` measures it longer and keeps it)";
            (steady.ceiling()?, from.to_owned())
        }
    };
    say("A/A: the same setting on both sides");
    let pairs = steady.pairs(if plan.quick { 5 } else { 8 }, SERVICE)?;
    let logs = improvements(&pairs);
    let found = estimate(&logs, 1);
    let deviation = found.map_or(f64::NAN, |found| found.deviation);
    let goal = Goal {
        effect: PLANTED.ln_1p(),
        alpha: plan.alpha,
        power: plan.power,
    };
    let careful = upper_deviation(deviation, pairs.len());
    let needed = pairs_needed(careful, &goal, most).unwrap_or(most).max(5);
    let aa = Noise {
        metric: METRIC.to_owned(),
        pairs,
        deviation,
        estimate: found,
        detectable: detectable_effect(careful, needed, &goal).exp_m1(),
        alarmed: found.is_some_and(|found| found.p_value < plan.alpha),
    };
    say(&format!(
        "positive control: {} put in, {needed} pairs",
        format_duration(INJECTED)
    ));
    let pairs = steady.pairs(needed, SERVICE + INJECTED)?;
    let _ = steady.rig.close();
    Ok(Preliminaries {
        ceiling_rps,
        ceiling_from,
        positive_control: positive(pairs, plan.alpha),
        aa,
    })
}

/// Requests per second that the generator reaches according to a calibration of this machine, and
/// which one; none if there is none. The trials drive connections as the wire engine does.
fn calibrated(file: &Path) -> Option<(f64, String)> {
    let calibration = Calibration::read(file)?;
    let way = Way::plain(Engine::Wire);
    let ceiling = calibration.ceilings.get(&way.to_string())?;
    let from = format!(
        "the calibration of {} ({}, engine {way})",
        calibration.at,
        file.display()
    );
    Some((ceiling.rate, from))
}

fn positive(pairs: Vec<Pair>, alpha: f64) -> PositiveControl {
    let found = estimate(&improvements(&pairs), 2);
    let base = pairs.iter().map(|pair| pair.a).sum::<f64>() / pairs.len().max(1) as f64;
    PositiveControl {
        injected: format!(
            "{} more at the replica, on top of {}",
            format_duration(INJECTED),
            format_duration(SERVICE)
        ),
        metric: METRIC.to_owned(),
        expected: INJECTED.as_secs_f64() * 1e3 / base.max(f64::EPSILON),
        // Slower is a negative improvement.
        measured: found.map_or(f64::NAN, |found| (-found.mean).exp_m1()),
        interval: found.map(|found| ((-found.high).exp_m1(), (-found.low).exp_m1())),
        found: found.is_some_and(|found| found.p_value < alpha && found.mean < 0.0),
        pairs,
    }
}

impl Steady<'_> {
    /// Requests per second at a replica, with nothing in between.
    fn ceiling(&mut self) -> Result<f64, RigError> {
        super::workload::ceiling(self.lab, &mut self.rig, self.duration)
    }
}

/// One A/A experiment.
#[derive(Debug, Clone, serde::Serialize)]
pub struct NullExperiment {
    /// Its verdict: anything but `confirmed` and `harmful` is right.
    pub verdict: Verdict,
    /// Relative effect that it saw.
    pub effect: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
    /// p-value.
    pub p_value: f64,
    /// Pairs.
    pub pairs: Vec<Pair>,
}

impl NullExperiment {
    /// Whether it found a difference where there is none.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        matches!(self.verdict, Verdict::Confirmed | Verdict::Harmful)
    }
}

/// Real, short experiments on one warm proxy in which nothing differs, each judged like a claim.
///
/// # Errors
///
/// When the rig fails or the user asks to stop.
pub fn null_experiments(
    lab: &Lab,
    count: usize,
    pairs: usize,
    trial: Duration,
    mut say: impl FnMut(usize, &NullExperiment),
) -> Result<Vec<NullExperiment>, RigError> {
    let mut steady = Steady::start(lab, "aa", trial)?;
    let mut experiments = Vec::new();
    for number in 1..=count {
        let pairs = steady.pairs(pairs, SERVICE)?;
        let experiment = judged(pairs, number as u64);
        say(number, &experiment);
        experiments.push(experiment);
    }
    let _ = steady.rig.close();
    Ok(experiments)
}

fn judged(pairs: Vec<Pair>, seed: u64) -> NullExperiment {
    let logs = improvements(&pairs);
    let found = estimate(&logs, seed);
    let control = Control {
        difference: 0.0,
        bound: 1.0,
        pairs: 0,
        outcome: ControlOutcome::Clean,
    };
    let Decision { verdict, .. } = decide(&Evidence {
        bound: true,
        improvements: &logs,
        estimate: found.as_ref(),
        p_adjusted: found.map_or(1.0, |found| found.p_value),
        smallest_effect: PLANTED,
        control: Some(&control),
        positive_control: None,
        problems: &[],
        alpha: 0.05,
    });
    NullExperiment {
        verdict,
        effect: found.map_or(f64::NAN, |found| (-found.mean).exp_m1()),
        interval: found.map(|found| ((-found.high).exp_m1(), (-found.low).exp_m1())),
        p_value: found.map_or(1.0, |found| found.p_value),
        pairs,
    }
}

/// Wrong verdicts that so many A/A experiments may give before the declared rate is in doubt: the
/// 99 % quantile of the binomial distribution.
#[must_use]
pub fn wrong_allowed(count: usize, rate: f64) -> usize {
    let mut term = (1.0 - rate).powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut sum = term;
    let mut wrong = 0;
    while sum < 0.99 && wrong < count {
        term *= (count - wrong) as f64 / (wrong + 1) as f64 * rate / (1.0 - rate);
        sum += term;
        wrong += 1;
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_experiments_may_be_wrong_a_few_times() {
        // Binomial(20, 0.05): P(≤ 3) = 0.984, P(≤ 4) = 0.997.
        assert_eq!(wrong_allowed(20, 0.05), 4);
        assert_eq!(wrong_allowed(100, 0.05), 11);
        assert_eq!(wrong_allowed(1, 0.05), 1);
    }

    #[test]
    fn a_slowdown_is_found_and_its_absence_is_not() {
        let slower: Vec<_> = (0..6)
            .map(|i| {
                let noise = f64::from(i % 3) * 0.02;
                Pair {
                    a: 11.0 + noise,
                    b: 11.6 - noise,
                }
            })
            .collect();
        let control = positive(slower, 0.05);
        assert!(control.found && control.measured > 0.03, "{control:?}");
        let same: Vec<_> = (0..6)
            .map(|i| {
                let noise = f64::from(i % 2) * 0.1;
                Pair {
                    a: 11.0 + noise,
                    b: 11.1 - noise,
                }
            })
            .collect();
        assert!(!positive(same.clone(), 0.05).found);
        assert!(!judged(same, 1).is_wrong());
    }
}
