//! What searches, sweeps and the like run against, from the command line.

use std::path::PathBuf;

use anyhow::Context as _;
use weir_lab::{provenance::Commit, topology::TopologySpec};
use weir_load::{
    run::RunOptions,
    scenario::{Engine, Overrides, Scenario},
    stop::StopToken,
    target::Target,
};

use crate::{
    exit::Usage,
    judge::Thresholds,
    measure::{Keep, Order, Setup, Subject, setup_args::EngineName},
    results::RunFolder,
};

/// Arguments that say what is driven and where results go.
#[derive(Debug, Clone, clap::Args)]
pub struct SubjectArgs {
    /// Scenario whose requests are sent: a name in config/scenarios, or a file.
    #[arg(long, short, default_value = "rate")]
    pub scenario: String,
    /// Base URL to drive; repeat it to share the load among several.
    #[arg(long, short, required_unless_present = "topology", value_name = "URL")]
    target: Vec<String>,
    /// Start this topology and drive it: direct, one, two, docker (in containers), a file, or a number
    /// of replicas. It stays up for all runs; limits in the way are raised and put back.
    #[arg(long, conflicts_with = "target", value_name = "NAME")]
    topology: Option<String>,
    /// Host that is not this machine but may be loaded: you vouch for it.
    #[arg(long, value_name = "HOST")]
    target_approved: Vec<String>,
    /// Client engine [default: that of the scenario].
    #[arg(long, value_enum)]
    engine: Option<EngineName>,
    /// Most requests in flight of an open model [default: that of the scenario].
    #[arg(long = "max-connections", value_name = "N")]
    connections: Option<u32>,
    /// Seed of everything random [default: that of the scenario].
    #[arg(long)]
    seed: Option<u64>,
    /// Generator threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Source addresses in 127.0.0.0/8 to spread connections over.
    #[arg(long, default_value_t = 1, value_name = "N")]
    source_addresses: u32,
    /// Where result folders go.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub results: PathBuf,
    /// Write to exactly this folder instead of a new one under --results.
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// With `--topology`: the proxy's binary [default: beside this program].
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
    /// With `--topology`: the proxy configuration to derive from.
    #[arg(long, value_name = "FILE", default_value = "config/proxy.toml")]
    proxy: PathBuf,
    /// With `--topology`: leave rate limits as they are configured.
    #[arg(long)]
    keep_limits: bool,
}

impl SubjectArgs {
    /// The scenario, with what the command line changes in it.
    ///
    /// # Errors
    ///
    /// [`Usage`] when it is not valid.
    pub fn scenario(&self) -> anyhow::Result<Scenario> {
        let mut scenario = Scenario::load(&self.scenario).map_err(Usage::new)?;
        if let Some(connections) = self.connections {
            if connections == 0 {
                return Err(Usage::new("`--max-connections` must be at least 1").into());
            }
            scenario.connections = connections;
        }
        let overrides = Overrides {
            seed: self.seed,
            engine: self.engine.map(|engine| match engine {
                EngineName::Session => Engine::Session,
                EngineName::Wire => Engine::Wire,
            }),
            ..Overrides::default()
        };
        Ok(overrides.apply(scenario).map_err(Usage::new)?)
    }

    /// What is driven, and how; `heaviest` is the scenario that limits are raised for, and
    /// `thresholds` are what each run is held against.
    ///
    /// # Errors
    ///
    /// [`Usage`] when the target or the topology is not acceptable.
    pub fn order(
        &self,
        heaviest: Scenario,
        thresholds: Thresholds,
    ) -> anyhow::Result<(Order, Setup)> {
        let subject = match &self.topology {
            Some(topology) => Subject::Topology(TopologySpec::load(topology).map_err(Usage::new)?),
            None => {
                let target = Target::new(&self.target, &self.target_approved);
                Subject::Running(target.map_err(Usage::new)?)
            }
        };
        let order = Order {
            scenario: heaviest,
            subject,
            thresholds,
            label: None,
        };
        let setup = Setup {
            results: self.results.clone(),
            keep: Keep::Named,
            weir: self.weir.clone(),
            proxy_config: self.proxy.clone(),
            options: RunOptions {
                threads: self.threads,
                source_addresses: self.source_addresses,
                ..RunOptions::default()
            },
            raise_limits: !self.keep_limits,
            ..Setup::default()
        };
        Ok((order, setup))
    }

    /// The folder for results; `latest` does not point to it before [`Self::finish`].
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn folder(&self, what: &str, order: &Order) -> anyhow::Result<RunFolder> {
        let folder = match &self.output {
            Some(path) => RunFolder::at(path),
            None => {
                let name = format!("{what}-{}", order.scenario.name);
                let label = match &order.subject {
                    Subject::Topology(topology) => topology.name.clone(),
                    Subject::Running(_) => "target".to_owned(),
                };
                RunFolder::create(&self.results, &name, &label, &Commit::here())
            }
        };
        folder.context("making the folder for results")
    }

    /// Points `latest` at a finished folder, unless the user named it.
    ///
    /// # Errors
    ///
    /// When the link cannot be made.
    pub fn finish(&self, folder: &RunFolder) -> anyhow::Result<()> {
        if self.output.is_none() {
            crate::results::write_latest(&self.results, folder)?;
        }
        Ok(())
    }

    /// Removes a folder in which nothing came about, unless the user named it.
    pub fn discard(&self, folder: &RunFolder) {
        if self.output.is_none() {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }

    /// A token that Ctrl-C stops.
    ///
    /// # Errors
    ///
    /// When signal handlers cannot be installed.
    pub fn stop_token() -> anyhow::Result<StopToken> {
        StopToken::on_signals().context("installing signal handlers")
    }
}
