//! What a run drives, once it is up. Processes that the run starts itself and a target that runs
//! already differ here, and nowhere after.

use std::{path::Path, time::Duration};

use weir_api::admin::SettingsView;
use weir_lab::{
    error::TopologyError,
    record::{TopologyRecord, TuningRecord},
    topology::{Places, Topology},
    tuning::{Tuning, settings_of},
};
use weir_load::{progress::Watched, stop::StopToken, target::Target};

use super::{MeasureError, Order, Setup, Subject};
use crate::lint::{Facts, raise::raise_limits};

/// Time to live of the override; it is renewed three times as often.
const OVERRIDE_TTL: Duration = Duration::from_secs(30);

/// What a run drives, ready for load.
pub(super) struct Stage {
    target: Target,
    facts: Facts,
    // Declared before the topology: an override goes back while the proxy still answers.
    tuning: Option<Tuning>,
    settings: Option<SettingsView>,
    topology: Option<Topology>,
}

/// What is left of a stage after the run.
pub(super) struct Struck {
    pub(super) facts: Facts,
    pub(super) targets: Vec<String>,
    /// The first process that ended though it should run.
    pub(super) ended: Option<TopologyError>,
    pub(super) tuning: Option<TuningRecord>,
    pub(super) settings: Option<SettingsView>,
    pub(super) topology: Option<TopologyRecord>,
    pub(super) proxy_config: Option<String>,
    pub(super) proxy_version: Option<String>,
}

impl Stage {
    /// Starts what has to be started, raises limits, and waits until everything is ready.
    pub(super) fn set(
        order: &Order,
        setup: &Setup,
        folder: &Path,
        stop: &StopToken,
    ) -> Result<Self, MeasureError> {
        let facts = |topology: Option<&Topology>| {
            Facts::new(
                &order.scenario,
                order.thresholds.clone(),
                setup.options.source_addresses,
                topology.and_then(Topology::config),
            )
        };
        let spec = match &order.subject {
            Subject::Running(target) => {
                return Ok(Self {
                    target: target.clone(),
                    facts: facts(None),
                    tuning: None,
                    settings: None,
                    topology: None,
                });
            }
            Subject::Topology(spec) => spec,
        };
        let topology = Topology::start(spec, &places(setup, folder), stop)?;
        let facts = facts(Some(&topology));
        let tuning = apply_tuning(setup, &facts, &topology, &order.scenario.name)?;
        let settings = match (&tuning, topology.admin()) {
            (Some(tuning), _) => Some(tuning.during().clone()),
            (None, Some(admin)) => Some(settings_of(admin)?),
            (None, None) => None,
        };
        Ok(Self {
            target: topology.target()?,
            facts,
            tuning,
            settings,
            topology: Some(topology),
        })
    }

    /// Where load goes.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Every process whose resources are sampled: those under test, those that the user named, and
    /// the generator itself.
    pub(super) fn watched(&self, setup: &Setup) -> Vec<Watched> {
        let started = self.topology.as_ref().map(Topology::watched);
        let mut watched = started.unwrap_or_default();
        watched.extend(setup.watch.iter().cloned());
        watched.push(Watched::generator());
        watched
    }

    /// The first process that ended though it should run.
    pub(super) fn ended(&mut self) -> Option<TopologyError> {
        let topology = self.topology.as_mut()?;
        topology.check().err()
    }

    /// Puts limits back and stops what was started.
    pub(super) fn strike(mut self) -> Struck {
        let topology = &mut self.topology;
        let ended = topology
            .as_mut()
            .and_then(|topology| topology.check().err());
        let tuning = self.tuning.map(Tuning::put_back);
        Struck {
            facts: self.facts,
            targets: self
                .target
                .base_urls()
                .iter()
                .map(ToString::to_string)
                .collect(),
            ended,
            tuning,
            settings: self.settings,
            topology: topology.as_ref().map(Topology::record),
            proxy_config: topology
                .as_ref()
                .and_then(|topology| topology.config_text().map(str::to_owned)),
            proxy_version: topology
                .as_ref()
                .and_then(|topology| topology.proxy_version().map(str::to_owned)),
        }
    }
}

/// Where the processes of a run find and leave things.
pub(crate) fn places(setup: &Setup, folder: &Path) -> Places {
    Places {
        weir: setup.weir.clone(),
        proxy_config: setup.proxy_config.clone(),
        folder: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
    }
}

/// Raises the limits that stand in the way of the load, if there are any.
pub(crate) fn apply_tuning(
    setup: &Setup,
    facts: &Facts,
    topology: &Topology,
    scenario: &str,
) -> Result<Option<Tuning>, TopologyError> {
    let Some(admin) = topology.admin().filter(|_| setup.raise_limits) else {
        return Ok(None);
    };
    let reason = format!("load test: {scenario}");
    raise_limits(facts)
        .map(|settings| Tuning::apply(admin, settings, &reason, OVERRIDE_TTL))
        .transpose()
}
