//! What to measure, and how: the input of a measurement.

use std::path::PathBuf;

use weir_lab::topology::TopologySpec;
use weir_load::{
    progress::Watched,
    run::RunOptions,
    scenario::{Load, Scenario},
    target::Target,
    units::format_duration,
};

use super::Watching;
use crate::{judge::Thresholds, results::ceiling::Way, view::About};

/// Where things are and how to run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where run folders go.
    pub results: PathBuf,
    /// What becomes of the results.
    pub keep: Keep,
    /// The proxy's binary; found beside this program when not given.
    pub weir: Option<PathBuf>,
    /// The proxy configuration to derive from.
    pub proxy_config: PathBuf,
    /// Options of the generator.
    pub options: RunOptions,
    /// Whether limits in the way of the load are raised for the run.
    pub raise_limits: bool,
    /// Processes to sample beside those that the measurement starts itself.
    pub watch: Vec<Watched>,
    /// What else is watched beside the load.
    pub watching: Watching,
}

impl Default for Setup {
    /// What the command line has when nothing is said.
    fn default() -> Self {
        Self {
            results: "results".into(),
            keep: Keep::default(),
            weir: None,
            proxy_config: "config/proxy.toml".into(),
            options: RunOptions::default(),
            raise_limits: true,
            watch: Vec::new(),
            watching: Watching::default(),
        }
    }
}

/// What becomes of the results of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keep {
    /// A new folder under [`Setup::results`], named after time, scenario, size and commit; `latest`
    /// points to it.
    #[default]
    Named,
    /// Exactly this folder; files of an earlier run in it are replaced, and `latest` stays.
    Exactly(PathBuf),
    /// Nothing is written.
    Nothing,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Order {
    /// The load.
    pub scenario: Scenario,
    /// What it goes to.
    pub subject: Subject,
    /// What the result is judged by.
    pub thresholds: Thresholds,
    /// A word for the data set or the size; by default the topology, or the size of the load.
    pub label: Option<String>,
}

/// What a run drives.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Processes that the run starts and stops.
    Topology(TopologySpec),
    /// Something that is running already.
    Running(Target),
}

impl Order {
    /// How the load travels.
    #[must_use]
    pub fn way(&self) -> Way {
        let target = match &self.subject {
            Subject::Topology(_) => None,
            Subject::Running(target) => Some(target),
        };
        Way::of(&self.scenario, target)
    }

    /// The third part of the run folder's name.
    #[must_use]
    pub fn label(&self) -> String {
        match (&self.label, &self.subject) {
            (Some(label), _) => label.clone(),
            (None, Subject::Topology(topology)) => topology.name.clone(),
            (None, Subject::Running(_)) => size_of(&self.scenario),
        }
    }

    /// What the load goes to, for people.
    #[must_use]
    pub fn subject_text(&self) -> String {
        match &self.subject {
            Subject::Topology(topology) => topology.name.clone(),
            Subject::Running(target) => target.to_string(),
        }
    }
}

impl Order {
    /// What a screen says about the run before it begins.
    #[must_use]
    pub fn about(&self) -> About {
        About {
            scenario: self.scenario.name.clone(),
            subject: self.subject_text(),
            load: load_text(&self.scenario),
            open: matches!(self.scenario.load, Load::Open(_)),
        }
    }
}

/// The load in a few words.
fn load_text(scenario: &Scenario) -> String {
    let load = match &scenario.load {
        Load::Closed(closed) => format!("{} users", closed.users),
        Load::Open(_) => format!(
            "{:.0} requests/s over up to {} connections",
            scenario.intended_rate().unwrap_or_default().get(),
            scenario.connections
        ),
    };
    format!(
        "{load} for {} after {} of warm-up, {} engine",
        format_duration(scenario.duration),
        format_duration(scenario.warmup),
        scenario.engine.name()
    )
}

/// The size of a load in one word.
fn size_of(scenario: &Scenario) -> String {
    match &scenario.load {
        Load::Closed(closed) => format!("{}-users", closed.users),
        Load::Open(_) => format!(
            "{:.0}-per-s",
            scenario.intended_rate().map_or(0.0, |rate| rate.get())
        ),
    }
}
