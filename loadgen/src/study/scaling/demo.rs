//! One replica against two, saturated: throughput X₁ and X₂ and the efficiency E = X₂ / (2·X₁).
//!
//! Both topologies stand side by side and take turns (A B B A …), so that drift of the machine
//! cancels; the unit of evidence is a pair of runs. A closed model without think time keeps every
//! slot of every replica busy and the same number of requests waiting, so throughput is capacity.

use std::{sync::Arc, time::Duration};

use weir_lab::{
    error::TopologyError,
    topology::{Topology, TopologySpec},
    tuning::Tuning,
};
use weir_load::{
    run::{RunError, drive},
    scenario::{Closed, Engine, Load, Scenario, ThinkTime},
    stop::StopToken,
    summary::{Reasons, Validity, Verdict},
    target::Target,
};

use crate::{
    judge::Thresholds,
    lint::Facts,
    measure::{MeasureError, Setup, apply_tuning, places},
    page::{ScalingPair, ScalingRecord},
    results::{FolderError, RunFolder},
    stats::student,
    view::LiveProgress,
};

/// Requests in flight for each slot of the larger topology: slots busy, and as many waiting again,
/// so that no slot idles while an answer travels.
const IN_FLIGHT_PER_SLOT: u32 = 4;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalingPlan {
    /// Pairs of runs.
    pub pairs: u32,
    /// Warm-up of each run, not counted.
    pub warmup: Duration,
    /// Measured part of each run.
    pub measured: Duration,
}

impl ScalingPlan {
    /// Three pairs: the fewest that have an interval worth the name.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            pairs: 3,
            warmup: Duration::from_millis(700),
            measured: Duration::from_millis(2500),
        }
    }

    /// One pair.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            pairs: 1,
            ..Self::usual()
        }
    }

    /// Time that all runs take together.
    #[must_use]
    pub fn total(&self) -> Duration {
        (self.warmup + self.measured) * self.pairs * 2
    }
}

/// The scaling measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ScalingError {
    /// The processes.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The load.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A scenario file.
    #[error(transparent)]
    Scenario(#[from] weir_load::scenario::ScenarioError),
    /// Anything else of a measurement.
    #[error(transparent)]
    Measure(#[from] MeasureError),
}

/// One of the two sides.
struct Side {
    topology: Topology,
    tuning: Option<Tuning>,
    target: Target,
}

/// Measures one replica against two (`specs`). Summaries of the runs go to `folder`.
///
/// # Errors
///
/// When the processes cannot be started, a run cannot be made, or the user stops it.
pub fn measure_scaling(
    specs: [&TopologySpec; 2],
    setup: &Setup,
    plan: ScalingPlan,
    folder: &RunFolder,
    stop: &StopToken,
) -> Result<ScalingRecord, ScalingError> {
    let slots = specs
        .iter()
        .map(|spec| spec.replica.slots * spec.replicas)
        .max()
        .unwrap_or(1);
    let scenario = saturating(Scenario::load("rate")?, slots * IN_FLIGHT_PER_SLOT, plan);
    let mut sides = Vec::new();
    for spec in specs {
        sides.push(Side::start(spec, &scenario, setup, folder, stop)?);
    }
    let mut pairs = Vec::new();
    let mut reasons = Reasons::default();
    for number in 1..=plan.pairs {
        // A B, then B A: a drift that goes one way hurts each side as often as the other.
        let order = if number % 2 == 1 { [0, 1] } else { [1, 0] };
        let mut rps = [0.0; 2];
        for index in order {
            let Some(side) = sides.get(index) else {
                continue;
            };
            let name = ["one", "two"].get(index).copied().unwrap_or_default();
            let label = format!("[pair {number}/{}] saturated  {name:<6}", plan.pairs);
            let progress = Arc::new(LiveProgress::new(label));
            let outcome = drive(&scenario, &side.target, &setup.options, progress, stop)?;
            if stop.is_stopped() {
                return Err(TopologyError::Stopped.into());
            }
            let summary = outcome.summary;
            reasons.note(&format!("pair {number}, {name}"), &summary);
            folder.write_json(&format!("saturated-{number}-{name}.json"), &summary)?;
            if let Some(slot) = rps.get_mut(index) {
                *slot = summary.throughput_rps;
            }
        }
        let [one_rps, two_rps] = rps;
        pairs.push(ScalingPair {
            one_rps,
            two_rps,
            efficiency: two_rps / (2.0 * one_rps.max(f64::EPSILON)),
        });
    }
    let mut validity = reasons.validity();
    for mut side in sides {
        side.topology.check()?;
        if let Some(record) = side
            .tuning
            .take()
            .map(Tuning::put_back)
            .filter(|record| !record.restored)
        {
            validity.reasons.push(format!(
                "limits not verified as put back: {}",
                record.problem
            ));
            validity.verdict = validity.verdict.max(Verdict::Suspect);
        }
    }
    Ok(scaling_record(
        pairs,
        validity,
        &explanation(specs, &scenario, plan),
    ))
}

impl Side {
    fn start(
        spec: &TopologySpec,
        scenario: &Scenario,
        setup: &Setup,
        folder: &RunFolder,
        stop: &StopToken,
    ) -> Result<Self, ScalingError> {
        let mut places = places(setup, folder.path());
        places.folder = places.folder.join(&spec.name);
        std::fs::create_dir_all(&places.folder).map_err(|cause| TopologyError::Write {
            path: places.folder.clone(),
            cause,
        })?;
        let topology = Topology::start(spec, &places, stop)?;
        let addresses = setup.options.source_addresses;
        let facts = Facts::new(
            scenario,
            Thresholds::default(),
            addresses,
            topology.config(),
        );
        let tuning = apply_tuning(setup, &facts, &topology, &scenario.name)?;
        let target = topology.target()?;
        Ok(Self {
            topology,
            tuning,
            target,
        })
    }
}

/// The requests of a scenario as a closed model without think time.
fn saturating(mut scenario: Scenario, in_flight: u32, plan: ScalingPlan) -> Scenario {
    scenario.name = "saturated".to_owned();
    scenario.load = Load::Closed(Closed::steady(in_flight, ThinkTime::None));
    scenario.connections = in_flight;
    scenario.engine = Engine::Wire;
    scenario.warmup = plan.warmup;
    scenario.duration = plan.measured;
    scenario
}

fn explanation(specs: [&TopologySpec; 2], scenario: &Scenario, plan: ScalingPlan) -> String {
    let [one, two] = specs;
    format!(
        "{} interleaved pairs of runs of {} s: {} requests always in flight (closed model, no think time), more than the {} and {} slots of one and two replicas, so throughput is their capacity as seen through the proxy. Each replica is a stand-in with {} slots × {} ms, at most {:.0} requests/s by declaration. An efficiency of 1 means that the second replica adds as much as the first gives; two points cannot fit a scaling law.",
        plan.pairs,
        plan.measured.as_secs_f64(),
        scenario.lanes(),
        one.replica.slots * one.replicas,
        two.replica.slots * two.replicas,
        one.replica.slots,
        one.replica.service_time.as_secs_f64() * 1000.0,
        one.replica.capacity_rps(),
    )
}

/// Sums up pairs: means, and a 95 % interval of the efficiency from the logarithms of the pairs.
#[must_use]
pub fn scaling_record(
    pairs: Vec<ScalingPair>,
    validity: Validity,
    explanation: &str,
) -> ScalingRecord {
    let count = pairs.len().max(1) as f64;
    let mean = |value: fn(&ScalingPair) -> f64| pairs.iter().map(value).sum::<f64>() / count;
    let logs: Vec<f64> = pairs
        .iter()
        .map(|pair| pair.efficiency.max(f64::MIN_POSITIVE).ln())
        .collect();
    let center = logs.iter().sum::<f64>() / count;
    let squares: f64 = logs.iter().map(|log| (log - center).powi(2)).sum();
    // Two pairs have an interval that says nothing.
    let interval = (pairs.len() >= 3).then(|| {
        let t = student::quantile(0.975, count - 1.0);
        let half = t * (squares / (count - 1.0) / count).sqrt();
        ((center - half).exp(), (center + half).exp())
    });
    ScalingRecord {
        one_rps: mean(|pair| pair.one_rps),
        two_rps: mean(|pair| pair.two_rps),
        efficiency: if pairs.is_empty() { 0.0 } else { center.exp() },
        interval,
        pairs,
        validity,
        explanation: explanation.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(efficiencies: &[f64]) -> ScalingRecord {
        let pair = |e: &f64| ScalingPair {
            one_rps: 700.0,
            two_rps: 1400.0 * e,
            efficiency: *e,
        };
        let valid = Validity {
            verdict: Verdict::Valid,
            reasons: Vec::new(),
        };
        scaling_record(efficiencies.iter().map(pair).collect(), valid, "")
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows_with_agreement() {
        let wide = record(&[0.90, 0.97, 1.02]);
        let (low, high) = wide.interval.unwrap();
        assert!(low < wide.efficiency && wide.efficiency < high);
        let (tight_low, tight_high) = record(&[0.97, 0.971, 0.969]).interval.unwrap();
        assert!(tight_high - tight_low < high - low);
    }

    #[test]
    fn fewer_than_three_pairs_have_no_interval() {
        assert_eq!(record(&[0.97, 0.98]).interval, None);
        assert_eq!(record(&[0.97]).efficiency, 0.97_f64.ln().exp());
        assert_eq!(record(&[]).efficiency, 0.0);
    }
}
