//! Replicas that crash and come back, on purpose.

use std::{net::SocketAddr, path::Path};

use super::{Child, READY_WITHIN, Topology, TopologyError};
use crate::run::StopToken;

impl Topology {
    /// Where a replica listens, by name (`replica-1`, …).
    ///
    /// # Errors
    ///
    /// When there is no replica of that name.
    pub fn replica_address(&self, name: &str) -> Result<SocketAddr, TopologyError> {
        self.position(name)
            .and_then(|at| self.replicas.get(at))
            .map(|(_, address)| *address)
            .ok_or_else(|| self.unknown(name))
    }

    /// Kills a replica as a crash would (SIGKILL): open connections break, nobody listens any more.
    ///
    /// # Errors
    ///
    /// When there is no replica of that name.
    pub fn kill_replica(&mut self, name: &str) -> Result<(), TopologyError> {
        let at = self.position(name).ok_or_else(|| self.unknown(name))?;
        if let Some((child, _)) = self.replicas.get_mut(at) {
            child.kill();
        }
        Ok(())
    }

    /// Starts a killed replica again, on the same address, and waits until it listens. Its output
    /// goes to a file of its own, so that the last words of the killed one stay.
    ///
    /// # Errors
    ///
    /// When there is no replica of that name, or it does not start.
    pub fn restart_replica(
        &mut self,
        name: &str,
        folder: &Path,
        stop: &StopToken,
    ) -> Result<(), TopologyError> {
        let at = self.position(name).ok_or_else(|| self.unknown(name))?;
        let address = self.replica_address(name)?;
        let own = std::env::current_exe().map_err(TopologyError::OwnPath)?;
        let arguments = self.spec.replica.arguments(name, &address.to_string());
        let (program, arguments) = self.spec.replica_bounds.around(&own, &own, &arguments)?;
        let mut child = Child::start(&format!("{name}-restarted"), &program, &arguments, folder)?;
        child.wait_ready(READY_WITHIN, stop)?;
        if let Some(replica) = self.replicas.get_mut(at) {
            *replica = (child, address);
        }
        Ok(())
    }

    /// Names of the replicas.
    fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.replicas.len()).map(|number| format!("replica-{number}"))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names().position(|known| known == name)
    }

    fn unknown(&self, name: &str) -> TopologyError {
        TopologyError::NoReplica {
            name: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        }
    }
}
