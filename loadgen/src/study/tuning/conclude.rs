//! From what was tried to rows: the correction over all claims, the verdicts, the recommendations.

use super::{
    claim::Claim,
    quantity::{Quantity, Unit},
    record::{Arm, Recommendation, Row},
    row::{Tried, TriedArm},
    verdict::{Decision, Evidence, Verdict, decide},
};
use crate::stats::holm;

/// Rows from everything that was tried together. `positive_control`: whether the injected slowdown
/// was found.
#[must_use]
pub fn conclude(tried: Vec<Tried>, positive_control: bool, alpha: f64) -> Vec<Row> {
    let p_values: Vec<f64> = tried
        .iter()
        .flat_map(|tried| &tried.arms)
        .map(|arm| arm.estimate.as_ref().map_or(1.0, |found| found.p_value))
        .collect();
    let mut adjusted = holm(&p_values).into_iter();
    tried
        .into_iter()
        .map(|mut tried| {
            let arms = std::mem::take(&mut tried.arms);
            let arms = arms
                .into_iter()
                .map(|arm| {
                    let p = adjusted.next().unwrap_or(1.0);
                    judged(&tried, arm, p, positive_control, alpha)
                })
                .collect();
            tried.into_row(arms)
        })
        .collect()
}

fn judged(tried: &Tried, arm: TriedArm, p: f64, positive_control: bool, alpha: f64) -> Arm {
    let Decision { verdict, why } = decide(&Evidence {
        bound: tried.binding.bound,
        improvements: &arm.improvements,
        estimate: arm.estimate.as_ref(),
        p_adjusted: p,
        smallest_effect: tried.claim.smallest_effect,
        control: tried.control.as_ref(),
        // The row's own is about its own metric; the general one about response times.
        positive_control: (!tried.claim.exact).then(|| {
            tried
                .positive
                .as_ref()
                .map_or(positive_control, |control| control.found)
        }),
        problems: &tried.problems,
        alpha,
    });
    let sign = tried.claim.direction.sign();
    let change = |log: f64| (log * sign).exp_m1();
    let effect = arm.estimate.as_ref().map(|found| change(found.mean));
    let interval = arm.estimate.as_ref().map(|found| {
        let (one, two) = (change(found.low), change(found.high));
        (one.min(two), one.max(two))
    });
    Arm {
        value: arm.value,
        verdict,
        why,
        pairs: arm.pairs,
        estimate: arm.estimate,
        effect,
        interval,
        p_adjusted: p,
        means: arm.means,
    }
}

/// The arm that the row's verdict is taken from: the first that is confirmed, else one that is
/// harmful, else the first.
fn deciding(arms: &[Arm]) -> Option<&Arm> {
    let of = |wanted: Verdict| arms.iter().find(|arm| arm.verdict == wanted);
    of(Verdict::Confirmed)
        .or_else(|| of(Verdict::Harmful))
        .or_else(|| arms.first())
}

pub(super) fn row(tried: Tried, arms: Vec<Arm>) -> Row {
    let claim = tried.claim.clone();
    let arm = deciding(&arms).cloned();
    let (verdict, why) = match &arm {
        Some(arm) => (arm.verdict, arm.why.clone()),
        None => {
            let decision = decide(&Evidence {
                bound: tried.binding.bound,
                improvements: &[],
                estimate: None,
                p_adjusted: 1.0,
                smallest_effect: claim.smallest_effect,
                control: None,
                positive_control: None,
                problems: &tried.problems,
                alpha: 0.05,
            });
            (decision.verdict, decision.why)
        }
    };
    let why = match verdict {
        Verdict::NotBound => format!("{why}; it binds with {}", claim.needs),
        _ => why,
    };
    let recommendation = recommend(&claim, verdict, &tried, &arms);
    let metric = |side: usize| {
        let arm = arm.as_ref()?;
        arm.means.get(side)?.get(&claim.metric).copied()
    };
    Row {
        row: claim.row.clone(),
        setting: claim.setting.clone(),
        nginx: claim.nginx.clone(),
        verdict,
        why,
        current: claim.current,
        value: arm
            .as_ref()
            .map(|arm| arm.value)
            .or_else(|| claim.recommended.first().copied())
            .unwrap_or(claim.current),
        metric: claim.metric.clone(),
        direction: claim.direction,
        metric_current: metric(0).or_else(|| tried.binding.measured.get(&claim.metric).copied()),
        metric_value: metric(1),
        effect: arm.as_ref().and_then(|arm| arm.effect),
        interval: arm.as_ref().and_then(|arm| arm.interval),
        pairs: arm.as_ref().map_or(0, |arm| arm.pairs.len()),
        recommendation,
        binding: tried.binding,
        arms,
        control: tried.control,
        control_measured: tried.control_measured,
        noise: tried.noise,
        positive_control: tried.positive,
        sizes: tried.sizes,
        search: tried.search,
        series: tried.series,
        time_factor: tried.time_factor,
        notes: tried.notes,
        claim,
    }
}

fn recommend(claim: &Claim, verdict: Verdict, tried: &Tried, arms: &[Arm]) -> Recommendation {
    let keep = |text: String| Recommendation {
        value: claim.current,
        change: false,
        text,
    };
    let current = claim.current;
    match verdict {
        Verdict::NotBound => keep(format!("keep {current}: it was not reached")),
        Verdict::NoEffect => keep(format!("keep {current}: no difference that matters")),
        Verdict::Harmful => keep(format!("keep {current}: the recommended value is worse")),
        Verdict::Invalid => keep(format!("keep {current} until a valid measurement")),
        Verdict::Confirmed => {
            let confirmed = arms
                .iter()
                .find(|arm| arm.verdict == Verdict::Confirmed)
                .map_or(current, |arm| arm.value);
            let amount = tried.search.as_ref().and_then(|found| found.amount);
            match amount {
                Some(amount) => {
                    let value = rounded(current.with(amount));
                    Recommendation {
                        value,
                        change: value != current,
                        text: format!("{value} is enough for this workload ({})", enough(claim)),
                    }
                }
                None if tried.search.is_some() => Recommendation {
                    value: confirmed,
                    change: true,
                    text: format!(
                        "{confirmed} is better; no value tried was enough ({})",
                        enough(claim)
                    ),
                },
                None => Recommendation {
                    value: confirmed,
                    change: true,
                    text: format!("{confirmed} is better than {current}"),
                },
            }
        }
    }
}

fn enough(claim: &Claim) -> String {
    claim
        .enough
        .as_ref()
        .map_or_else(String::new, ToString::to_string)
}

/// Whole numbers where the setting has them.
fn rounded(value: Quantity) -> Quantity {
    match value.unit {
        Unit::Count | Unit::PerSecond => value.with(value.amount.ceil()),
        Unit::Seconds => value,
    }
}
