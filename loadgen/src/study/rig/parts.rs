//! The processes of a rig.

use std::{net::SocketAddr, path::Path, time::Duration};

use weir_lab::{
    error::TopologyError,
    process::Child,
    proxies::tuned::{self, RigSpec},
    topology::find_weir,
};

use super::{Lab, RigError, haproxy::Haproxy, nginx::Nginx};
use crate::study::rig::client::Connection;

/// How long a child may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) enum Proxy {
    Weir {
        child: Child,
        listener: SocketAddr,
        admin: SocketAddr,
    },
    Nginx(Nginx),
    Haproxy(Haproxy),
    Direct(SocketAddr),
}

#[derive(Debug)]
pub(super) struct Replica {
    // Only kept running.
    _child: Child,
    pub(super) address: SocketAddr,
    /// For statistics and faults; opened before anything is counted.
    pub(super) side: Connection,
}

impl Replica {
    pub(super) fn start(
        lab: &Lab,
        own: &Path,
        number: usize,
        spec: RigSpec,
        folder: &Path,
    ) -> Result<Self, RigError> {
        let name = format!("replica-{number}");
        let words = ["replica", "--listen", "127.0.0.1:0", "--name", &name];
        let mut arguments = words.map(str::to_owned).to_vec();
        match spec.capacity {
            None => arguments.push("--fast".to_owned()),
            Some(capacity) => arguments.extend([
                "--slots".to_owned(),
                capacity.slots.to_string(),
                "--service-time".to_owned(),
                weir_load::units::format_duration(capacity.service_time),
            ]),
        }
        let mut child = Child::start(&name, own, &arguments, folder)?;
        let ports = child.wait_ready(READY_WITHIN, &lab.stop)?;
        let address = child.first_listener(&ports)?;
        let side = lab.wait_for(async {
            let connection = Connection::open(address, None).await;
            connection.map_err(RigError::io("cannot reach a replica"))
        })?;
        Ok(Self {
            _child: child,
            address,
            side,
        })
    }
}

impl Proxy {
    pub(super) fn weir(
        lab: &Lab,
        own: &Path,
        spec: RigSpec,
        replicas: &[SocketAddr],
        folder: &Path,
    ) -> Result<Self, RigError> {
        let program = find_weir(lab.weir.as_deref(), own)?;
        let file = folder.join("proxy.toml");
        std::fs::write(&file, tuned::weir(spec, replicas, folder))
            .map_err(RigError::io("cannot write the proxy's configuration"))?;
        let arguments = ["run", "--config", &file.display().to_string()].map(str::to_owned);
        let mut child = Child::start("weir", &program, &arguments, folder)?;
        let ports = child.wait_ready(READY_WITHIN, &lab.stop)?;
        let listener = child.first_listener(&ports)?;
        let admin = ports.admin.ok_or_else(|| TopologyError::PortsFile {
            name: "weir".to_owned(),
            reason: "it names no admin address".to_owned(),
        })?;
        Ok(Self::Weir {
            child,
            listener,
            admin,
        })
    }
}
