//! A topology that stands ready for several loads, one after the other.

use std::{path::Path, sync::Arc, time::Duration};

use weir_lab::{
    error::TopologyError,
    record::{TopologyRecord, TuningRecord},
    sample::Sampler,
    topology::{Topology, TopologySpec},
    tuning::Tuning,
};
use weir_load::{
    progress::{Progress, Watched},
    run::{Outcome, drive},
    scenario::Scenario,
    stop::StopToken,
    target::Target,
};

use super::{
    MeasureError, Setup, apply_tuning, clock::MeasuredClock, place::failed, places, validity,
};
use crate::{judge::Thresholds, lint::Facts, results::ceiling::Way};

/// Time between two samples of a process.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// A topology, or a target that runs already, with limits raised.
#[derive(Debug)]
pub(crate) struct Side {
    // Declared before the topology: an override goes back while the proxy still answers.
    tuning: Option<Tuning>,
    pub(crate) topology: Option<Topology>,
    pub(crate) target: Target,
}

impl Side {
    /// Starts a topology; its logs go to `folder`. Limits in the way of the heaviest of the
    /// scenarios are raised until [`Self::put_back`].
    pub(crate) fn start(
        spec: &TopologySpec,
        scenarios: &[&Scenario],
        setup: &Setup,
        folder: &Path,
        stop: &StopToken,
    ) -> Result<Self, MeasureError> {
        std::fs::create_dir_all(folder).map_err(failed("make a folder for logs"))?;
        let topology = Topology::start(spec, &places(setup, folder), stop)?;
        let addresses = setup.options.source_addresses;
        let facts = |scenario: &&Scenario| {
            Facts::new(
                scenario,
                Thresholds::default(),
                addresses,
                topology.config(),
            )
        };
        // Users who never pause have no highest rate: nothing is heavier.
        let peak = |facts: &Facts| facts.offered.peak_rps.unwrap_or(f64::INFINITY);
        let heaviest = scenarios
            .iter()
            .map(|scenario| (facts(scenario), scenario.name.as_str()))
            .max_by(|(a, _), (b, _)| peak(a).total_cmp(&peak(b)));
        let tuning = match heaviest {
            Some((facts, name)) => apply_tuning(setup, &facts, &topology, name)?,
            None => None,
        };
        Ok(Self {
            target: topology.target()?,
            tuning,
            topology: Some(topology),
        })
    }

    /// Something that runs already.
    pub(crate) fn running(target: Target) -> Self {
        Self {
            tuning: None,
            topology: None,
            target,
        }
    }

    /// Drives a load, samples the processes, and completes the verdict on the measurement.
    pub(crate) fn run(
        &mut self,
        scenario: &Scenario,
        setup: &Setup,
        progress: Arc<dyn Progress>,
        stop: &StopToken,
    ) -> Result<Outcome, MeasureError> {
        let mut watched = self
            .topology
            .as_ref()
            .map(Topology::watched)
            .unwrap_or_default();
        watched.push(Watched::generator());
        let mut outcome = run_watched(scenario, &self.target, watched, setup, progress, stop)?;
        if let Some(error) = self.ended() {
            validity::note_death(&mut outcome.summary, &error);
        }
        Ok(outcome)
    }

    /// The first process that ended though it should run.
    pub(crate) fn ended(&mut self) -> Option<TopologyError> {
        self.topology
            .as_mut()
            .and_then(|topology| topology.check().err())
    }

    /// What it is, for a record.
    pub(crate) fn record(&self) -> Option<TopologyRecord> {
        self.topology.as_ref().map(Topology::record)
    }

    /// Puts raised limits back.
    pub(crate) fn put_back(&mut self) -> Option<TuningRecord> {
        self.tuning.take().map(Tuning::put_back)
    }
}

/// Drives a load and samples these processes, the generator among them.
pub(crate) fn run_watched(
    scenario: &Scenario,
    target: &Target,
    watched: Vec<Watched>,
    setup: &Setup,
    progress: Arc<dyn Progress>,
    stop: &StopToken,
) -> Result<Outcome, MeasureError> {
    let sampler = Sampler::start(watched, SAMPLE_EVERY).map_err(failed("sample processes"))?;
    let clock = Arc::new(MeasuredClock::new(progress));
    let mut outcome = drive(scenario, target, &setup.options, clock.clone(), stop)?;
    let length = Duration::from_secs_f64(outcome.summary.duration_s.max(0.0));
    let sampled = clock
        .measured_start()
        .map(|from| sampler.finish(from, length))
        .unwrap_or_default();
    outcome.summary.processes = sampled.processes;
    validity::complete(
        &mut outcome.summary,
        Way::of(scenario, Some(target)),
        setup.options.threads,
        sampled.other_cores,
        None,
        None,
    );
    Ok(outcome)
}
