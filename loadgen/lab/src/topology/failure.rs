//! Replicas that crash and come back, on purpose.

use std::{net::SocketAddr, path::Path};

use weir_load::stop::StopToken;

use super::{Parts, READY_WITHIN, Topology, processes::Processes};
use crate::{error::TopologyError, process::Child};

impl Topology {
    /// Where a replica listens, by name (`replica-1`, …).
    ///
    /// # Errors
    ///
    /// When there is no replica of that name, or replicas are containers.
    pub fn replica_address(&self, name: &str) -> Result<SocketAddr, TopologyError> {
        match &self.parts {
            Parts::Processes(processes) => processes.replica_address(name),
            Parts::Containers(_) => Err(TopologyError::NotInContainers),
        }
    }

    /// Kills a replica as a crash would (SIGKILL): open connections break, nobody listens any more.
    ///
    /// # Errors
    ///
    /// When there is no replica of that name, or replicas are containers.
    pub fn kill_replica(&mut self, name: &str) -> Result<(), TopologyError> {
        let processes = self.processes()?;
        let at = processes.position(name)?;
        if let Some((child, _)) = processes.replicas.get_mut(at) {
            child.kill();
        }
        Ok(())
    }

    /// Starts a killed replica again, on the same address, and waits until it listens. Its output
    /// goes to a file of its own, so that the last words of the killed one stay.
    ///
    /// # Errors
    ///
    /// When there is no replica of that name, it does not start, or replicas are containers.
    pub fn restart_replica(
        &mut self,
        name: &str,
        folder: &Path,
        stop: &StopToken,
    ) -> Result<(), TopologyError> {
        let spec = self.spec.clone();
        let processes = self.processes()?;
        let at = processes.position(name)?;
        let address = processes.replica_address(name)?;
        let own = std::env::current_exe().map_err(TopologyError::OwnPath)?;
        let arguments = spec.replica.arguments(name, &address.to_string());
        let (program, arguments) = spec.replica_bounds.around(&own, &own, &arguments)?;
        let mut child = Child::start(&format!("{name}-restarted"), &program, &arguments, folder)?;
        child.wait_ready(READY_WITHIN, stop)?;
        if let Some(replica) = processes.replicas.get_mut(at) {
            *replica = (child, address);
        }
        Ok(())
    }

    fn processes(&mut self) -> Result<&mut Processes, TopologyError> {
        match &mut self.parts {
            Parts::Processes(processes) => Ok(processes),
            Parts::Containers(_) => Err(TopologyError::NotInContainers),
        }
    }
}

impl Processes {
    fn replica_address(&self, name: &str) -> Result<SocketAddr, TopologyError> {
        let at = self.position(name)?;
        let replica = self.replicas.get(at);
        replica
            .map(|(_, address)| *address)
            .ok_or(TopologyError::NoReplicas)
    }

    fn position(&self, name: &str) -> Result<usize, TopologyError> {
        let names: Vec<_> = (1..=self.replicas.len())
            .map(|number| format!("replica-{number}"))
            .collect();
        names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| TopologyError::NoReplica {
                name: name.to_owned(),
                known: names.join(", "),
            })
    }
}
