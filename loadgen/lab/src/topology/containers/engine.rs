//! The Docker engine and Compose of this machine.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use weir_load::stop::StopToken;

use super::command::{docker, run};
use crate::error::TopologyError;

/// The longest that starting all containers may take, waiting for their health included.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// Variables of the Compose files and of Compose itself. A run is what its topology says, whatever
/// the environment holds.
const VARIABLES: [&str; 10] = [
    "API_IMAGE",
    "WEIR_IMAGE",
    "WEIR_PORT",
    "WEIR_CONFIG",
    "SLOTS",
    "SERVICE_TIME",
    "CPU_WORK",
    "COMPOSE_FILE",
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_PROFILES",
];

/// An engine that answers, and Compose.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    compose: Compose,
    /// `Docker` and its version.
    pub(super) version: String,
    /// Compose and its version.
    pub(super) compose_version: String,
}

/// How Compose is called here.
#[derive(Debug, Clone, Copy)]
enum Compose {
    Standalone,
    Plugin,
}

impl Engine {
    /// Finds both.
    pub(super) fn find(stop: &StopToken) -> Result<Self, TopologyError> {
        let there = Command::new("docker")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        there.map_err(TopologyError::NoDocker)?;
        if let Ok(host) = std::env::var("DOCKER_HOST")
            && !host.is_empty()
            && !host.starts_with("unix:")
        {
            return Err(TopologyError::EngineElsewhere(format!(
                "DOCKER_HOST={host}"
            )));
        }
        let asked = ["version", "--format", "{{.Server.Version}}"];
        let version = docker("reach the engine", &asked, stop).map_err(|error| match error {
            TopologyError::Engine { message, .. } => TopologyError::NoEngine(message),
            other => other,
        })?;
        let found = [Compose::Standalone, Compose::Plugin]
            .into_iter()
            .find_map(|compose| Some((compose, compose.version()?)));
        let (compose, compose_version) = found.ok_or(TopologyError::NoCompose)?;
        Ok(Self {
            compose,
            version: format!("Docker {}", version.trim()),
            compose_version,
        })
    }

    /// Starts the containers of a project, and waits until those that others depend on are healthy.
    pub(super) fn up(&self, order: &Up<'_>, stop: &StopToken) -> Result<(), TopologyError> {
        let mut command = self.compose.program();
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command
            .env("WEIR_IMAGE", order.weir_image)
            .env("API_IMAGE", order.api_image)
            // Any free port: the run goes to the container itself.
            .env("WEIR_PORT", "127.0.0.1:")
            .env("SLOTS", order.slots.to_string())
            .env("SERVICE_TIME", order.service_time)
            .args(["-p", order.project, "-f"])
            .arg(order.file)
            .arg("-f")
            .arg(order.overlay)
            .args(["up", "-d", "--no-build", "--scale"])
            .arg(format!("api={}", order.replicas))
            .args(order.services);
        run("start the containers", command, UP_WITHIN, stop).map(|_| ())
    }
}

/// What is started.
pub(super) struct Up<'a> {
    pub(super) project: &'a str,
    pub(super) file: &'a Path,
    pub(super) overlay: &'a Path,
    pub(super) weir_image: &'a str,
    pub(super) api_image: &'a str,
    pub(super) slots: u32,
    pub(super) service_time: &'a str,
    pub(super) replicas: u32,
    /// Only these; all when empty.
    pub(super) services: &'a [&'a str],
}

impl Compose {
    fn program(self) -> Command {
        match self {
            Self::Standalone => Command::new("docker-compose"),
            Self::Plugin => {
                let mut command = Command::new("docker");
                command.arg("compose");
                command
            }
        }
    }

    /// What it says of itself; none when it is not there.
    fn version(self) -> Option<String> {
        let mut command = self.program();
        command.args(["version", "--short"]).stdin(Stdio::null());
        let output = command.output().ok().filter(|out| out.status.success())?;
        let name = match self {
            Self::Standalone => "docker-compose",
            Self::Plugin => "docker compose",
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(format!("{name} {}", text.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_of_the_shipped_file_comes_from_the_environment() {
        let file = include_str!("../../../../../docker/compose.prod.yml");
        let read = file.split("${").skip(1).map(|after| {
            let ends = |c: char| !c.is_ascii_uppercase() && c != '_';
            after.split(ends).next().unwrap_or_default()
        });
        let read: Vec<_> = read.collect();
        assert!(read.contains(&"SERVICE_TIME"), "{read:?}");
        for name in read {
            assert!(VARIABLES.contains(&name), "{name}");
        }
    }
}
