//! nginx, switched by writing another configuration and reloading it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use weir_lab::{
    process::{
        free_address,
        owned::{Owned, find, last_lines},
    },
    proxies::tuned::{self, RigSpec},
};

use super::{Lab, RigError, base_settings, merge, servers_patch, until};

/// How long nginx may take to start or to reload.
const WITHIN: Duration = Duration::from_secs(20);
/// New connections in a row that must be answered by the new configuration.
const IN_A_ROW: usize = 3;

#[derive(Debug)]
pub(super) struct Nginx {
    process: Owned,
    listener: SocketAddr,
    folder: PathBuf,
    /// The settings without a switch, in the shape of weir's.
    base: Value,
    generation: u64,
}

impl Nginx {
    pub(super) fn start(
        lab: &Lab,
        spec: RigSpec,
        replicas: &[SocketAddr],
        folder: &Path,
    ) -> Result<Self, RigError> {
        let program = find("nginx").ok_or_else(|| {
            RigError::Nginx("it is not installed (looked in PATH and /usr/sbin)".to_owned())
        })?;
        let mut base = base_settings()?;
        merge(&mut base, &servers_patch(replicas));
        merge(
            &mut base,
            &serde_json::json!({
                "compression": { "enabled": spec.compressed },
                "rate_limit": { "api_limit": { "enabled": spec.limited } },
            }),
        );
        if let Some(idle) = spec.keepalive {
            merge(
                &mut base,
                &super::super::rig::base::patch("upstream.api.keepalive", idle.into()),
            );
        }
        let listener = free_address().map_err(RigError::io("cannot find a free port"))?;
        let folder = std::path::absolute(folder).map_err(RigError::io("cannot find a folder"))?;
        write(&folder, &base, listener, 0)?;
        let text = |path: &Path| path.display().to_string();
        let arguments = [
            "-p".to_owned(),
            text(&folder),
            "-e".to_owned(),
            text(&folder.join("error.log")),
            "-c".to_owned(),
            text(&folder.join("nginx.conf")),
        ];
        let output = folder.join("nginx.log");
        let process = Owned::start("nginx", &program, &arguments, None, &output)
            .map_err(|error| RigError::Nginx(format!("{error:#}")))?;
        let mut nginx = Self {
            process,
            listener,
            folder,
            base,
            generation: 0,
        };
        nginx.wait(lab)?;
        Ok(nginx)
    }

    pub(super) fn listener(&self) -> SocketAddr {
        self.listener
    }

    /// Settings other than the base become those of the patch; returns when only new workers serve.
    pub(super) fn reload(&mut self, lab: &Lab, patch: &Value) -> Result<(), RigError> {
        let mut settings = self.base.clone();
        merge(&mut settings, patch);
        let mut known = self.base.clone();
        for pointer in tuned::KNOWN_TO_NGINX {
            if let (Some(slot), Some(value)) =
                (known.pointer_mut(pointer), settings.pointer(pointer))
            {
                *slot = value.clone();
            }
        }
        if known != settings {
            return Err(RigError::Nginx(format!(
                "there is no counterpart for every setting of {patch}"
            )));
        }
        self.generation += 1;
        write(&self.folder, &settings, self.listener, self.generation)?;
        let pid = i32::try_from(self.process.pid()).unwrap_or(i32::MAX);
        kill(Pid::from_raw(pid), Signal::SIGHUP)
            .map_err(|error| RigError::Nginx(format!("cannot be told to reload: {error}")))?;
        self.wait(lab)
    }

    /// The workers: the children of the master.
    pub(super) fn workers(&self) -> Vec<u32> {
        let master = self.process.pid();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        children
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    fn wait(&mut self, lab: &Lab) -> Result<(), RigError> {
        let (listener, generation) = (self.listener, self.generation.to_string());
        let current =
            || (0..IN_A_ROW).all(|_| ask(listener).is_some_and(|answer| answer == generation));
        let ready = until(lab, WITHIN, || {
            // A worker that drains still counts as a child.
            (current() && self.workers().len() == 1).then_some(())
        })?;
        if ready.is_some() {
            return Ok(());
        }
        if let Err(error) = self.process.still_running() {
            return Err(RigError::Nginx(format!("{error:#}")));
        }
        Err(RigError::Nginx(format!(
            "did not take the configuration over within {} s: {}",
            WITHIN.as_secs(),
            last_lines(&self.folder.join("error.log"), 3)
        )))
    }
}

fn write(
    folder: &Path,
    settings: &Value,
    listen: SocketAddr,
    generation: u64,
) -> Result<(), RigError> {
    fs::write(
        folder.join("nginx.conf"),
        tuned::nginx(settings, listen, generation, folder),
    )
    .map_err(RigError::io("cannot write nginx.conf"))
}

/// Which configuration answers on a new connection.
fn ask(address: SocketAddr) -> Option<String> {
    let second = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, second).ok()?;
    stream.set_read_timeout(Some(second)).ok()?;
    stream
        .write_all(b"GET /__generation HTTP/1.0\r\nHost: weir.test\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}
