//! HAProxy, to compare topologies with.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use weir_lab::{
    process::{
        free_address,
        owned::{Owned, find},
    },
    proxies::tuned,
};

use super::{Lab, RigError, until};

const WITHIN: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Haproxy {
    process: Owned,
    listener: SocketAddr,
}

impl Haproxy {
    pub(super) fn start(
        lab: &Lab,
        replicas: &[SocketAddr],
        folder: &Path,
    ) -> Result<Self, RigError> {
        let failed = |error: String| RigError::Other {
            name: "haproxy",
            reason: error,
        };
        let program = find("haproxy").ok_or_else(|| failed("it is not installed".to_owned()))?;
        let listener = free_address().map_err(RigError::io("cannot find a free port"))?;
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, tuned::haproxy(listener, replicas))
            .map_err(RigError::io("cannot write haproxy.cfg"))?;
        let arguments = ["-db", "-f", &file.display().to_string()].map(str::to_owned);
        let output = folder.join("haproxy.log");
        let mut process = Owned::start("haproxy", &program, &arguments, None, &output)
            .map_err(|error| failed(format!("{error:#}")))?;
        let ready = until(lab, WITHIN, || {
            TcpStream::connect_timeout(&listener, Duration::from_secs(1)).ok()
        })?;
        process
            .still_running()
            .map_err(|error| failed(format!("{error:#}")))?;
        if ready.is_none() {
            return Err(failed("it does not listen".to_owned()));
        }
        Ok(Self { process, listener })
    }

    pub(super) fn listener(&self) -> SocketAddr {
        self.listener
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }
}
