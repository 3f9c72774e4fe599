//! What is under test: replicas with declared capacity, and the proxy in front of them, as processes
//! of this machine or as containers of the shipped Compose files.
//!
//! [`Topology::start`] starts them and waits until they are ready. Dropping a [`Topology`] stops
//! them, whatever happened. Processes also end by themselves when this process is killed
//! (`--exit-with-parent`), and containers are removed then by a process that waits for it.

pub mod containers;
mod failure;
mod processes;
mod spec;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use weir_api::config::Config;
use weir_load::{progress::Watched, stop::StopToken, target::Target};

use self::{containers::Containers, processes::Processes};
use crate::{
    error::TopologyError,
    record::{ReplicaRecord, TopologyRecord},
    tuning::AdminAt,
};
pub use spec::{Kind, ReplicaSpec, TopologySpec};

/// How long a process may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Where programs and files are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The proxy's binary; found beside this program when not given.
    pub weir: Option<PathBuf>,
    /// The proxy configuration to derive from.
    pub proxy_config: PathBuf,
    /// Folder for logs and derived configuration.
    pub folder: PathBuf,
}

/// Running replicas, and the proxy if there is one.
#[derive(Debug)]
pub struct Topology {
    spec: TopologySpec,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    Processes(Processes),
    Containers(Containers),
}

/// The proxy of a running topology.
#[derive(Debug)]
struct Front {
    /// Where load goes.
    address: SocketAddr,
    admin: AdminAt,
    config: Config,
    /// Text of the configuration file.
    text: String,
    version: String,
}

impl Topology {
    /// Starts the replicas, then the proxy, and waits until each is ready.
    ///
    /// # Errors
    ///
    /// When a program is missing, the proxy configuration is invalid, a process or container ends
    /// early or is not ready in time, or `stop` was asked for. Whatever was started is stopped again.
    pub fn start(
        spec: &TopologySpec,
        places: &Places,
        stop: &StopToken,
    ) -> Result<Self, TopologyError> {
        let parts = match &spec.kind {
            Kind::Processes => Parts::Processes(Processes::start(spec, places, stop)?),
            Kind::Containers { compose } => {
                Parts::Containers(Containers::start(spec, compose, places, stop)?)
            }
        };
        Ok(Self {
            spec: spec.clone(),
            parts,
        })
    }

    fn front(&self) -> Option<&Front> {
        match &self.parts {
            Parts::Processes(processes) => processes.front(),
            Parts::Containers(containers) => containers.front(),
        }
    }

    fn replicas(&self) -> Vec<SocketAddr> {
        match &self.parts {
            Parts::Processes(processes) => processes.addresses(),
            Parts::Containers(containers) => containers.addresses(),
        }
    }

    /// Where load goes: the proxy, or the replica when there is none. It is this program's own, so
    /// nobody has to approve it.
    ///
    /// # Errors
    ///
    /// When there is neither, which a valid [`TopologySpec`] excludes.
    pub fn target(&self) -> Result<Target, TopologyError> {
        let direct = || self.replicas().first().copied();
        self.front()
            .map(|front| front.address)
            .or_else(direct)
            .map(Target::own)
            .ok_or(TopologyError::NoReplicas)
    }

    /// The proxy's admin API.
    #[must_use]
    pub fn admin(&self) -> Option<AdminAt> {
        self.front().map(|front| front.admin.clone())
    }

    /// The proxy's configuration as it was started.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.front().map(|front| &front.config)
    }

    /// The text of the proxy's configuration file.
    #[must_use]
    pub fn config_text(&self) -> Option<&str> {
        self.front().map(|front| front.text.as_str())
    }

    /// Version of the proxy's binary.
    #[must_use]
    pub fn proxy_version(&self) -> Option<&str> {
        self.front().map(|front| front.version.as_str())
    }

    /// Every process or container, the proxy first.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        match &self.parts {
            Parts::Processes(processes) => processes.watched(),
            Parts::Containers(containers) => containers.watched(),
        }
    }

    /// What it is, for `run.json`.
    #[must_use]
    pub fn record(&self) -> TopologyRecord {
        let replica = &self.spec.replica;
        let record = |address: &SocketAddr| ReplicaRecord {
            address: address.to_string(),
            slots: replica.slots,
            service_ms: replica.service_time.as_secs_f64() * 1000.0,
        };
        let replicas = self.replicas();
        let (bounds, containers) = match &self.parts {
            Parts::Processes(processes) => (processes.bounds(&self.spec), None),
            Parts::Containers(containers) => (containers.bounds(), Some(containers.record())),
        };
        TopologyRecord {
            name: self.spec.name.clone(),
            description: self.spec.description.clone(),
            proxy: self.spec.proxy,
            capacity_rps: replica.capacity_rps() * replicas.len() as f64,
            replicas: replicas.iter().map(record).collect(),
            bounds,
            containers,
        }
    }

    /// Whether every process or container still runs; otherwise which one ended, with its last words.
    ///
    /// # Errors
    ///
    /// When one has ended.
    pub fn check(&mut self) -> Result<(), TopologyError> {
        match &mut self.parts {
            Parts::Processes(processes) => processes.check(),
            Parts::Containers(containers) => containers.check(),
        }
    }
}

/// What `weir --version` says, without the name.
fn version_of(weir: &Path) -> String {
    let output = std::process::Command::new(weir).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.trim()
        .strip_prefix("weir ")
        .unwrap_or("unknown")
        .to_owned()
}

/// The proxy's binary: as given, or beside this program.
pub fn find_weir(given: Option<&Path>, own: &Path) -> Result<PathBuf, TopologyError> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => own.with_file_name("weir"),
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(TopologyError::NoWeir(path))
    }
}

#[cfg(test)]
mod tests;
