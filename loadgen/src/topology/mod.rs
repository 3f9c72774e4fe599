//! The processes under test: replicas with declared capacity, and the proxy in front of them.
//!
//! [`Topology::start`] starts them on free loopback ports and waits until they are ready. Dropping
//! a [`Topology`] stops them, whatever happened; children also end by themselves when this process
//! is killed (`--exit-with-parent`).

mod child;
mod configure;
pub mod confine;
mod error;
mod failure;
mod spec;
mod tuning;

pub use child::Child;
pub use confine::Bounds;
pub use error::TopologyError;
pub use spec::{ReplicaSpec, TopologySpec};
pub(crate) use tuning::settings_of;
pub use tuning::{Tuning, raise_limits};

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use weir_api::config::Config;

use crate::{
    report::{BoundsRecord, ReplicaRecord, TopologyRecord},
    run::StopToken,
    sample::Watched,
};

/// Any free loopback port.
const ANY_PORT: &str = "127.0.0.1:0";
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
    // Declared before the replicas: dropped, and so stopped, first.
    proxy: Option<Proxy>,
    replicas: Vec<(Child, SocketAddr)>,
}

/// The running proxy.
#[derive(Debug)]
struct Proxy {
    child: Child,
    listener: SocketAddr,
    admin: SocketAddr,
    config: Config,
    text: String,
    version: String,
}

/// What a child writes to its ports file once it is ready.
#[derive(Debug, Deserialize)]
pub(crate) struct Ports {
    pub(crate) listeners: Vec<SocketAddr>,
    #[serde(default)]
    pub(crate) admin: Option<SocketAddr>,
}

impl Topology {
    /// Starts the replicas, then the proxy, and waits until each is ready.
    ///
    /// # Errors
    ///
    /// When a binary is missing, the proxy configuration is invalid, a process ends early or is
    /// not ready in time, or `stop` was asked for. Whatever was started is stopped again.
    pub fn start(
        spec: &TopologySpec,
        places: &Places,
        stop: &StopToken,
    ) -> Result<Self, TopologyError> {
        let own = std::env::current_exe().map_err(TopologyError::OwnPath)?;
        let weir = if spec.proxy {
            Some(find_weir(places.weir.as_deref(), &own)?)
        } else {
            None
        };
        let mut replicas = Vec::new();
        for number in 1..=spec.replicas {
            let name = format!("replica-{number}");
            let arguments = spec.replica.arguments(&name, ANY_PORT);
            let (program, arguments) = spec.replica_bounds.around(&own, &own, &arguments)?;
            let mut child = Child::start(&name, &program, &arguments, &places.folder)?;
            let ports = child.wait_ready(READY_WITHIN, stop)?;
            let address = child.first_listener(&ports)?;
            replicas.push((child, address));
        }
        let addresses: Vec<_> = replicas.iter().map(|(_, address)| *address).collect();
        let proxy = weir
            .map(|weir| Proxy::start(&weir, spec.proxy_bounds, places, &addresses, stop))
            .transpose()?;
        Ok(Self {
            spec: spec.clone(),
            proxy,
            replicas,
        })
    }

    /// Where load goes: the proxy, or the replica when there is none.
    ///
    /// # Errors
    ///
    /// When there is neither, which a valid [`TopologySpec`] excludes.
    pub fn address(&self) -> Result<SocketAddr, TopologyError> {
        let direct = || self.replicas.first().map(|(_, address)| *address);
        self.proxy
            .as_ref()
            .map(|proxy| proxy.listener)
            .or_else(direct)
            .ok_or(TopologyError::NoReplicas)
    }

    /// The proxy's admin API.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.proxy.as_ref().map(|proxy| proxy.admin)
    }

    /// The proxy's configuration as it was started.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.proxy.as_ref().map(|proxy| &proxy.config)
    }

    /// The text of the proxy's configuration file.
    #[must_use]
    pub fn config_text(&self) -> Option<&str> {
        self.proxy.as_ref().map(|proxy| proxy.text.as_str())
    }

    /// Version of the proxy's binary.
    #[must_use]
    pub fn proxy_version(&self) -> Option<&str> {
        self.proxy.as_ref().map(|proxy| proxy.version.as_str())
    }

    /// Every process, the proxy first.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        let children = self.proxy.iter().map(|proxy| &proxy.child);
        let children = children.chain(self.replicas.iter().map(|(child, _)| child));
        children
            .map(|child| Watched {
                name: child.name().to_owned(),
                pid: child.pid(),
            })
            .collect()
    }

    /// What it is, for `run.json`.
    #[must_use]
    pub fn record(&self) -> TopologyRecord {
        let replica = &self.spec.replica;
        let record = |(_, address): &(Child, SocketAddr)| ReplicaRecord {
            address: address.to_string(),
            slots: replica.slots,
            service_ms: replica.service_time.as_secs_f64() * 1000.0,
        };
        TopologyRecord {
            name: self.spec.name.clone(),
            description: self.spec.description.clone(),
            proxy: self.spec.proxy,
            replicas: self.replicas.iter().map(record).collect(),
            capacity_rps: replica.capacity_rps() * self.replicas.len() as f64,
            bounds: self.bounds(),
        }
    }

    /// The bounds of every process that has any, as the kernel shows them.
    fn bounds(&self) -> Vec<BoundsRecord> {
        let proxy = self.proxy.iter().map(|proxy| &proxy.child);
        let proxy = proxy.filter(|_| !self.spec.proxy_bounds.is_none());
        let replicas = self.replicas.iter().map(|(child, _)| child);
        let replicas = replicas.filter(|_| !self.spec.replica_bounds.is_none());
        proxy
            .chain(replicas)
            .filter_map(|child| confine::read_back(child.name(), child.pid()))
            .collect()
    }

    /// Whether every process still runs; otherwise which one ended, with its last words.
    ///
    /// # Errors
    ///
    /// When one has ended.
    pub fn check(&mut self) -> Result<(), TopologyError> {
        if let Some(proxy) = &mut self.proxy {
            proxy.child.check()?;
        }
        self.replicas
            .iter_mut()
            .try_for_each(|(child, _)| child.check())
    }
}

impl Proxy {
    fn start(
        weir: &Path,
        bounds: Bounds,
        places: &Places,
        replicas: &[SocketAddr],
        stop: &StopToken,
    ) -> Result<Self, TopologyError> {
        let (text, config) = configure::derive(&places.proxy_config, replicas, &places.folder)?;
        let file = places.folder.join("proxy.toml");
        std::fs::write(&file, &text).map_err(|cause| TopologyError::Write {
            path: file.clone(),
            cause,
        })?;
        let arguments = [
            "run".to_owned(),
            "--config".to_owned(),
            file.display().to_string(),
        ];
        let own = std::env::current_exe().map_err(TopologyError::OwnPath)?;
        let (program, arguments) = bounds.around(&own, weir, &arguments)?;
        let mut child = Child::start("weir", &program, &arguments, &places.folder)?;
        let ports = child.wait_ready(READY_WITHIN, stop)?;
        let listener = child.first_listener(&ports)?;
        let admin = ports.admin.ok_or_else(|| TopologyError::PortsFile {
            name: "weir".to_owned(),
            reason: "it names no admin address".to_owned(),
        })?;
        Ok(Self {
            child,
            listener,
            admin,
            config,
            text,
            version: version_of(weir),
        })
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
pub(crate) fn find_weir(given: Option<&Path>, own: &Path) -> Result<PathBuf, TopologyError> {
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
