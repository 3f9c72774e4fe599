//! The load itself, with everything that is watched while it is on.

use std::{path::Path, sync::Arc, time::Duration};

use weir_lab::sample::Sampler;
use weir_load::{
    progress::Progress,
    run::{Outcome, RunOptions, drive},
    stop::StopToken,
};

use super::{
    MeasureError, Order, Setup, clock::MeasuredClock, place::failed, stage::Stage,
    watching::Profiling,
};
use crate::results::ProfileRecord;

/// What came of the load.
pub(super) struct Driven {
    pub(super) outcome: Outcome,
    /// Cores that other programs kept busy.
    pub(super) other_cores: Option<f64>,
    /// The flame graph, if one was asked for.
    pub(super) profile: Option<ProfileRecord>,
}

/// Drives the load and samples processes. Blocks until it is over.
pub(super) fn run(
    order: &Order,
    setup: &Setup,
    stage: &Stage,
    folder: &Path,
    progress: Arc<dyn Progress>,
    stop: &StopToken,
) -> Result<Driven, MeasureError> {
    let watching = &setup.watching;
    let own = stage.watched(setup);
    progress.begins(&own);
    let tracker = watching.tracker(own.clone())?;
    let profiling = watching.profile(order, &own, folder)?;
    let sampler =
        Sampler::spawn(tracker, watching.sample_every).map_err(failed("sample processes"))?;
    let clock = Arc::new(MeasuredClock::new(progress));
    let options = RunOptions {
        abort: order.thresholds.rules.clone(),
        ..setup.options.clone()
    };
    let mut outcome = drive(
        &order.scenario,
        stage.target(),
        &options,
        clock.clone(),
        stop,
    )?;
    let length = Duration::from_secs_f64(outcome.summary.duration_s.max(0.0));
    let sampled = clock
        .measured_start()
        .map(|from| sampler.finish(from, length))
        .unwrap_or_default();
    outcome.summary.processes = sampled.processes;
    Ok(Driven {
        outcome,
        other_cores: sampled.other_cores,
        profile: profiling.map(Profiling::finish),
    })
}
