//! A topology of processes of this machine.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use weir_load::{progress::Watched, stop::StopToken};

use super::{Front, Places, READY_WITHIN, TopologySpec, find_weir, version_of};
use crate::{
    error::TopologyError,
    process::{Bounds, Child, confine},
    proxies::derived::{self, Addresses},
    record::BoundsRecord,
};

/// Any free loopback port.
const ANY_PORT: &str = "127.0.0.1:0";

/// Running replicas, and the proxy if there is one.
#[derive(Debug)]
pub(super) struct Processes {
    // Declared before the replicas: dropped, and so stopped, first.
    proxy: Option<Proxy>,
    pub(super) replicas: Vec<(Child, SocketAddr)>,
}

/// The running proxy.
#[derive(Debug)]
struct Proxy {
    child: Child,
    front: Front,
}

impl Processes {
    /// Starts the replicas, then the proxy, and waits until each is ready.
    pub(super) fn start(
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
        Ok(Self { proxy, replicas })
    }

    pub(super) fn front(&self) -> Option<&Front> {
        self.proxy.as_ref().map(|proxy| &proxy.front)
    }

    /// Where the replicas listen.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|(_, address)| *address).collect()
    }

    /// Every process, the proxy first.
    pub(super) fn watched(&self) -> Vec<Watched> {
        let children = self.proxy.iter().map(|proxy| &proxy.child);
        let children = children.chain(self.replicas.iter().map(|(child, _)| child));
        children
            .map(|child| Watched::process(child.name(), child.pid()))
            .collect()
    }

    /// The bounds of every process that has any, as the kernel shows them.
    pub(super) fn bounds(&self, spec: &TopologySpec) -> Vec<BoundsRecord> {
        let proxy = self.proxy.iter().map(|proxy| &proxy.child);
        let proxy = proxy.filter(|_| !spec.proxy_bounds.is_none());
        let replicas = self.replicas.iter().map(|(child, _)| child);
        let replicas = replicas.filter(|_| !spec.replica_bounds.is_none());
        proxy
            .chain(replicas)
            .filter_map(|child| confine::read_back(child.name(), child.pid()))
            .collect()
    }

    /// Whether every process still runs; otherwise which one ended, with its last words.
    pub(super) fn check(&mut self) -> Result<(), TopologyError> {
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
        let addresses = Addresses::of_processes(replicas, &places.folder);
        let (text, config) = derived::derive(&places.proxy_config, &addresses)?;
        let file: PathBuf = places.folder.join("proxy.toml");
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
        let address = child.first_listener(&ports)?;
        let admin = ports.admin.ok_or_else(|| TopologyError::PortsFile {
            name: "weir".to_owned(),
            reason: "it names no admin address".to_owned(),
        })?;
        Ok(Self {
            child,
            front: Front {
                address,
                admin: admin.into(),
                config,
                text,
                version: version_of(weir),
            },
        })
    }
}
