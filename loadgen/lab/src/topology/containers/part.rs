//! A container of a topology, as the engine shows it.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use weir_load::stop::StopToken;

use super::command::docker;
use crate::error::TopologyError;

/// Lines of a log that an error shows.
const LAST_WORDS: &str = "8";

/// A container of a topology.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Name in reports: `weir`, `replica-1`, …
    pub(super) name: String,
    pub(super) id: String,
    /// Its main process.
    pub(super) pid: u32,
    /// Its address on the bridge.
    pub(super) address: IpAddr,
    healthy: bool,
}

impl Part {
    /// Every container of a project, the proxy first. One that has ended is an error.
    pub(super) fn all(project: &str, stop: &StopToken) -> Result<Vec<Self>, TopologyError> {
        let mut shown = inspect(project, stop)?;
        // One that has not been started is no news while another has ended.
        shown.sort_by_key(|shown| shown["State"]["Status"] == "created");
        let mut parts = shown
            .iter()
            .map(|shown| Self::read(shown).ok_or_else(|| ended(shown, stop)))
            .collect::<Result<Vec<_>, _>>()?;
        // `weir` before `replica-1`, and `replica-2` before `replica-10`.
        parts.sort_by_key(|part| (part.is_replica(), part.name.len(), part.name.clone()));
        Ok(parts)
    }

    /// Reads what `docker inspect` shows of one that runs.
    fn read(shown: &Value) -> Option<Self> {
        let state = &shown["State"];
        let pid = state["Pid"].as_u64().filter(|pid| *pid > 0)?;
        let networks = shown["NetworkSettings"]["Networks"].as_object()?;
        let address = networks
            .values()
            .find_map(|network| network["IPAddress"].as_str()?.parse().ok())?;
        (state["Running"] == true).then_some(Self {
            name: name_of(shown),
            id: shown["Id"].as_str()?.to_owned(),
            pid: u32::try_from(pid).ok()?,
            address,
            healthy: state["Health"]["Status"] == "healthy",
        })
    }

    /// Whether its health check passes.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Whether it is a replica, and not the proxy.
    pub(super) fn is_replica(&self) -> bool {
        self.name != "weir"
    }

    /// A port of it.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// Whether its processes are processes of this machine, as this program sees it.
    pub(super) fn is_here(&self) -> bool {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid));
        let short = self.id.get(..12).unwrap_or(&self.id);
        groups.is_ok_and(|text| text.contains(short))
    }

    /// The end of its log.
    pub(super) fn last_words(&self, stop: &StopToken) -> String {
        last_words(&self.id, stop)
    }
}

/// Stops every container of a project and writes their logs to a folder, as far as that is possible.
pub(super) fn stop_and_save(project: &str, within: &str, folder: &Path) {
    // Also when the user has asked to stop: this is what stopping means.
    let stop = StopToken::new();
    let shown = inspect(project, &stop).unwrap_or_default();
    let mut arguments = vec!["stop", "--time", within];
    arguments.extend(shown.iter().filter_map(|shown| shown["Id"].as_str()));
    if shown.is_empty() {
        return;
    }
    let _ = docker("stop the containers", &arguments, &stop);
    for shown in &shown {
        let id = shown["Id"].as_str().unwrap_or_default();
        let _ = save_log(id, &folder.join(format!("{}.log", name_of(shown))));
    }
}

fn save_log(id: &str, path: &Path) -> io::Result<()> {
    let log = File::create(path)?;
    // Both streams go into one file, as those of a process do.
    let errors = log.try_clone()?;
    let mut command = Command::new("timeout");
    command
        .args(["20", "docker", "logs", id])
        .stdin(Stdio::null());
    command.stdout(log).stderr(errors).status().map(|_| ())
}

/// What the engine shows of every container of a project, running or not.
fn inspect(project: &str, stop: &StopToken) -> Result<Vec<Value>, TopologyError> {
    let ids = ids_of(project, stop)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = vec!["inspect", "--type", "container"];
    arguments.extend(ids.iter().map(String::as_str));
    let text = docker("look at the containers", &arguments, stop)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// Ids of every container of a project, running or not.
pub(super) fn ids_of(project: &str, stop: &StopToken) -> Result<Vec<String>, TopologyError> {
    let filter = format!("label=com.docker.compose.project={project}");
    let arguments = ["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter];
    let text = docker("list the containers", &arguments, stop)?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// `weir`, or `replica-` and the number of the container.
fn name_of(shown: &Value) -> String {
    let label = |name: &str| {
        let value = &shown["Config"]["Labels"][format!("com.docker.compose.{name}")];
        value.as_str().unwrap_or_default().to_owned()
    };
    match label("service").as_str() {
        "api" => format!("replica-{}", label("container-number")),
        other => other.to_owned(),
    }
}

/// What to say about one that has ended.
fn ended(shown: &Value, stop: &StopToken) -> TopologyError {
    let state = &shown["State"];
    let mut status = format!("exit code {}", state["ExitCode"]);
    if state["OOMKilled"] == true {
        status += ", out of memory";
    }
    TopologyError::Ended {
        name: name_of(shown),
        status,
        last_words: last_words(shown["Id"].as_str().unwrap_or_default(), stop),
    }
}

fn last_words(id: &str, stop: &StopToken) -> String {
    // Standard error comes back only where the command fails: both streams in one.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "docker logs --tail \"$1\" \"$2\" 2>&1",
        "sh",
        LAST_WORDS,
        id,
    ]);
    let within = super::command::COMMAND_WITHIN;
    let text = super::command::run("read a log", command, within, stop).unwrap_or_default();
    match text.trim_end() {
        "" => "(nothing in its log)".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(service: &str, number: &str, running: bool) -> Value {
        json!({
            "Id": "0123456789abcdef",
            "State": {
                "Running": running, "Pid": u32::from(running) * 42, "ExitCode": 137, "OOMKilled": !running,
                "Health": {"Status": "healthy"}
            },
            "Config": {"Labels": {
                "com.docker.compose.service": service, "com.docker.compose.container-number": number
            }},
            "NetworkSettings": {"Networks": {"p_default": {"IPAddress": "172.18.0.3"}}}
        })
    }

    #[test]
    fn a_container_is_read_as_the_engine_shows_it() {
        let part = Part::read(&shown("api", "2", true)).unwrap();
        assert_eq!((part.name.as_str(), part.pid), ("replica-2", 42));
        assert_eq!(part.at(8000).to_string(), "172.18.0.3:8000");
        assert!(part.is_healthy() && part.is_replica() && !part.is_here());
        assert!(!Part::read(&shown("weir", "1", true)).unwrap().is_replica());
        assert!(Part::read(&shown("api", "1", false)).is_none());
    }
}
