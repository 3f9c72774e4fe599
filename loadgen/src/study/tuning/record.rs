//! What an experiment found, as `tuning.json` has it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use weir_lab::host::machine::Machine;

use super::{
    claim::Claim,
    documented::UnderProfile,
    plan::Plan,
    quantity::Quantity,
    search::Found,
    verdict::{Control, Verdict},
    workload::{Line, Measures},
};
use crate::{
    lint::Finding,
    stats::Estimate,
    study::{
        pairs::{Direction, Pair},
        rig::ProxyKind,
    },
};

/// The whole result.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this layout.
    pub format: u32,
    /// When it began, RFC 3339, UTC.
    pub at: String,
    /// How long it took, seconds.
    pub took_s: f64,
    /// Version of `weir-bench`.
    pub version: String,
    /// Which proxy was tried.
    pub proxy: ProxyKind,
    /// Its version.
    pub proxy_version: String,
    /// Where.
    pub machine: Machine,
    /// How much was tried.
    pub plan: Plan,
    /// The generator's ceiling, the noise floor and the positive control.
    pub before: Preliminaries,
    /// One row a claim.
    pub rows: Vec<Row>,
    /// The documented raise for a test run, and whether it was put back; none where it was not tried.
    pub raise: Vec<RaiseCase>,
    /// What the documented profile does to each row, by arithmetic.
    pub documented_rows: Vec<UnderProfile>,
    /// Contradictions of that profile with the documented proxy and thresholds.
    pub documented_profile: Vec<Finding>,
    /// What this machine could not decide.
    pub limits: Vec<String>,
}

/// What is known before any claim is tried.
#[derive(Debug, Clone, Serialize)]
pub struct Preliminaries {
    /// Requests per second of the generator's one thread, without a proxy.
    pub ceiling_rps: f64,
    /// Where that is from: a calibration of this machine, or a trial before the claims.
    pub ceiling_from: String,
    /// The same setting on both sides.
    pub aa: Noise,
    /// A known slowdown on one side.
    pub positive_control: PositiveControl,
}

/// A comparison of a setting with itself.
#[derive(Debug, Clone, Serialize)]
pub struct Noise {
    /// The metric.
    pub metric: String,
    /// Pairs of trials.
    pub pairs: Vec<Pair>,
    /// Standard deviation of a pair's log-ratio.
    pub deviation: f64,
    /// The comparison; none for fewer than three pairs.
    pub estimate: Option<Estimate>,
    /// Smallest relative effect that so many pairs could see.
    pub detectable: f64,
    /// Whether it found a difference, which would be a false alarm.
    pub alarmed: bool,
}

/// A slowdown that was put in on purpose.
#[derive(Debug, Clone, Serialize)]
pub struct PositiveControl {
    /// What was done.
    pub injected: String,
    /// The metric.
    pub metric: String,
    /// Relative effect that it should have.
    pub expected: f64,
    /// Relative effect that was measured.
    pub measured: f64,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// Pairs of trials.
    pub pairs: Vec<Pair>,
    /// Whether it was found.
    pub found: bool,
}

/// One claim and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Name of the row.
    pub row: String,
    /// Path of the setting.
    pub setting: String,
    /// nginx's name for it.
    pub nginx: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// The value in use.
    pub current: Quantity,
    /// The value that the effect belongs to.
    pub value: Quantity,
    /// The metric.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// Its mean with the current value; none if it was not measured.
    pub metric_current: Option<f64>,
    /// Its mean with the other value.
    pub metric_value: Option<f64>,
    /// Relative change of the metric, for instance −0.45; none if there are too few pairs.
    pub effect: Option<f64>,
    /// 95 % interval of the effect.
    pub interval: Option<(f64, f64)>,
    /// Number of pairs behind the effect.
    pub pairs: usize,
    /// What to do.
    pub recommendation: Recommendation,
    /// The claim as it was registered.
    pub claim: Claim,
    /// What showed that the workload reached the setting, or did not.
    pub binding: Binding,
    /// Each recommended value on its own.
    pub arms: Vec<Arm>,
    /// The control workload.
    pub control: Option<Control>,
    /// Means of what the control workload measured: with the current value, and with the last
    /// recommended one.
    pub control_measured: Option<[Measures; 2]>,
    /// The noise of this row's metric, if it scatters.
    pub noise: Option<Noise>,
    /// A slowdown that was put in, seen through this row's metric, if it scatters.
    pub positive_control: Option<PositiveControl>,
    /// The workload at other sizes.
    pub sizes: Vec<Size>,
    /// The search for the value that is enough.
    pub search: Option<Found>,
    /// How a typical trial went on: with the current value, and with another.
    pub series: Series,
    /// Times of settings were multiplied by this, to shorten the trials.
    pub time_factor: f64,
    /// Reasons for care that did not decide the verdict.
    pub notes: Vec<String>,
}

/// What to do about a setting.
#[derive(Debug, Clone, Serialize)]
pub struct Recommendation {
    /// The value; the current one where nothing speaks for another.
    pub value: Quantity,
    /// Whether it differs from the current value and is supported by a confirmed claim.
    pub change: bool,
    /// The recommendation in words.
    pub text: String,
}

/// Whether a workload reached the setting.
#[derive(Debug, Clone, Serialize)]
pub struct Binding {
    /// The condition.
    pub condition: String,
    /// Means of what was measured with the current value.
    pub measured: Measures,
    /// Trials in which it held.
    pub held: usize,
    /// Trials.
    pub trials: usize,
    /// Whether it held in most of them.
    pub bound: bool,
}

/// One recommended value against the current one.
#[derive(Debug, Clone, Serialize)]
pub struct Arm {
    /// The value.
    pub value: Quantity,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// The metric of every pair.
    pub pairs: Vec<Pair>,
    /// Log-ratios, positive for improvements.
    pub estimate: Option<Estimate>,
    /// Relative change of the metric.
    pub effect: Option<f64>,
    /// 95 % interval of the effect.
    pub interval: Option<(f64, f64)>,
    /// p-value after Holm's correction over all claims that were tried together.
    pub p_adjusted: f64,
    /// Means of everything that was measured: with the current value, and with this one.
    pub means: [Measures; 2],
}

/// A trial of the workload at another size.
#[derive(Debug, Clone, Serialize)]
pub struct Size {
    /// The size.
    pub size: String,
    /// With the current value.
    pub current: Measures,
    /// With the last recommended value.
    pub value: Measures,
}

/// Lines of two typical trials.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Series {
    /// With the current value.
    pub current: Vec<Line>,
    /// With the last recommended value.
    pub value: Vec<Line>,
}

/// One way in which a raised limit may end.
#[derive(Debug, Clone, Serialize)]
pub struct RaiseCase {
    /// How the holder of the raise ended.
    pub ending: String,
    /// Whether the raised limit was in force before that.
    pub raised: bool,
    /// Requests of a volley of 150 admitted while it was.
    pub admitted_raised: f64,
    /// The same afterwards; 21 with the documented limit.
    pub admitted_after: f64,
    /// From the end of the holder until the original settings were in force, seconds.
    pub back_after_s: f64,
    /// Whether every setting is what it was.
    pub restored: bool,
}

/// Means of several trials, figure by figure.
#[must_use]
pub(crate) fn means<'a>(trials: impl IntoIterator<Item = &'a Measures>) -> Measures {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for trial in trials {
        for (name, value) in trial {
            let entry = sums.entry(name.clone()).or_default();
            *entry = (entry.0 + value, entry.1 + 1.0);
        }
    }
    sums.into_iter()
        .map(|(name, (sum, count))| (name, sum / count))
        .collect()
}

impl Report {
    /// The layout that this version writes.
    pub const FORMAT: u32 = 1;

    /// The patch that gives the confirmed values to a proxy; none if nothing was confirmed.
    #[must_use]
    pub fn patch(&self) -> Option<Value> {
        let mut patch = Value::Null;
        for row in self.rows.iter().filter(|row| row.recommendation.change) {
            crate::study::rig::merge(&mut patch, &row.claim.patch(row.recommendation.value));
        }
        match patch {
            Value::Object(_) => Some(patch),
            _ => None,
        }
    }
}
