//! A target that stays up for several short runs: searches and sweeps probe it again and again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use weir_lab::record::{TopologyRecord, TuningRecord};
use weir_load::{progress::Progress, scenario::Scenario, stop::StopToken, summary::Summary};

use super::{MeasureError, Order, Setup, load, stage::Stage, validity};
use crate::judge::{self, Row};

/// A target with its limits raised, ready for one run after another.
pub struct Warm {
    stage: Stage,
    order: Order,
    setup: Setup,
    folder: PathBuf,
}

/// One run on a warm target.
#[derive(Debug, Clone)]
pub struct Probed {
    /// Its key figures.
    pub summary: Summary,
    /// The verdict, one row a threshold.
    pub rows: Vec<Row>,
}

/// What is left of a warm target.
#[derive(Debug, Clone)]
pub struct Cooled {
    /// Base URLs that were driven.
    pub targets: Vec<String>,
    /// The processes that were started.
    pub topology: Option<TopologyRecord>,
    /// What was changed, and whether it was put back.
    pub tuning: Option<TuningRecord>,
    /// Settings of the proxy while runs were made.
    pub proxy_settings: Option<Value>,
    /// Version of the proxy.
    pub proxy_version: Option<String>,
}

impl Warm {
    /// Starts what has to be started and raises limits as the scenario of the order needs it, which
    /// should be the heaviest that will be run. Logs of processes go to `folder`.
    ///
    /// # Errors
    ///
    /// When a process cannot be started or the limits not be raised.
    pub fn set(
        order: Order,
        setup: Setup,
        folder: &Path,
        stop: &StopToken,
    ) -> Result<Self, MeasureError> {
        Ok(Self {
            stage: Stage::set(&order, &setup, folder, stop)?,
            order,
            setup,
            folder: folder.to_owned(),
        })
    }

    /// Makes one run and holds it against the thresholds of the order. Whether its numbers may be
    /// believed is part of the summary.
    ///
    /// # Errors
    ///
    /// When the run could not be made at all.
    pub fn probe(
        &mut self,
        scenario: &Scenario,
        progress: Arc<dyn Progress>,
        stop: &StopToken,
    ) -> Result<Probed, MeasureError> {
        self.order.scenario = scenario.clone();
        let driven = load::run(
            &self.order,
            &self.setup,
            &self.stage,
            &self.folder,
            progress,
            stop,
        )?;
        let mut summary = driven.outcome.summary;
        validity::complete(
            &mut summary,
            self.order.way(),
            self.setup.options.threads,
            driven.other_cores,
            self.stage.ended(),
            None,
        );
        let rows = judge::judge_exactly(
            &summary,
            driven.outcome.recording.totals(),
            &self.order.thresholds,
            None,
        );
        Ok(Probed { summary, rows })
    }

    /// Puts limits back and stops what was started.
    #[must_use]
    pub fn strike(self) -> Cooled {
        let struck = self.stage.strike();
        Cooled {
            targets: struck.targets,
            topology: struck.topology,
            tuning: struck.tuning,
            proxy_settings: struck.settings.map(|settings| settings.effective),
            proxy_version: struck.proxy_version,
        }
    }
}
