//! Why the processes under test could not be started.

use std::{io, path::PathBuf, time::Duration};

use weir_api::client::ClientError;

/// Why the processes under test could not be started, or tuned.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// No such topology.
    #[error(
        "there is no topology `{name}`: it is neither a file nor one of {known}, nor a number of replicas"
    )]
    Unknown {
        /// As given.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A topology file is not what it should be.
    #[error("{path}: {reason}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what would be right.
        reason: String,
    },
    /// The proxy's binary is missing.
    #[error(
        "there is no `weir` at {0}: run `make build` first, or name the binary with `--weir PATH`"
    )]
    NoWeir(PathBuf),
    /// The path of this program is not known.
    #[error("cannot find the path of this program: {0}")]
    OwnPath(io::Error),
    /// No replica of this name.
    #[error("there is no `{name}` in this topology: it has {known}")]
    NoReplica {
        /// As given.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// More cores are asked for than there are.
    #[error(
        "a process of this topology is to have {wanted} cores, but this program may use only {allowed}"
    )]
    TooFewCores {
        /// As the topology says.
        wanted: u32,
        /// Those that this process may use.
        allowed: usize,
    },
    /// A topology without replicas.
    #[error("a topology needs at least one replica")]
    NoReplicas,
    /// The proxy configuration to derive from is invalid.
    #[error("proxy configuration: {0}")]
    ProxyConfig(String),
    /// A file could not be written.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A process could not be started.
    #[error("cannot start {name} ({path}): {cause}")]
    Start {
        /// Which one.
        name: String,
        /// Its program.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A process ended though it should run.
    #[error("{name} ended early ({status}); its last words:\n{last_words}")]
    Ended {
        /// Which one.
        name: String,
        /// How.
        status: String,
        /// End of its log.
        last_words: String,
    },
    /// A process is not ready in time.
    #[error("{name} was not ready within {} s; its last words:\n{last_words}", .within.as_secs())]
    NotReady {
        /// Which one.
        name: String,
        /// How long it had.
        within: Duration,
        /// End of its log.
        last_words: String,
    },
    /// A ports file does not say what is needed.
    #[error("the ports file of {name} is not usable: {reason}")]
    PortsFile {
        /// Whose.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The user asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// The proxy's admin API refused or did not answer.
    #[error("cannot {what}: {cause}")]
    Admin {
        /// What was attempted.
        what: &'static str,
        /// Why not.
        cause: ClientError,
    },
    /// Something that only works on processes.
    #[error("this does not work on containers: choose a topology of processes, such as `two`")]
    NotInContainers,
    /// The Compose file of a topology is not there.
    #[error(
        "there is no {0}: run this in the folder that holds docker/ (the repository), or name another file with `compose` in the topology"
    )]
    NoComposeFile(PathBuf),
    /// No `docker` program.
    #[error(
        "a topology of containers needs the `docker` program, which cannot be started ({0}): install Docker, or choose a topology of processes, such as `two`"
    )]
    NoDocker(io::Error),
    /// No Compose.
    #[error(
        "a topology of containers needs Compose, and neither `docker-compose` nor `docker compose` can be started: install one of them (on Debian: apt-get install docker-compose)"
    )]
    NoCompose,
    /// The engine does not answer.
    #[error("no Docker engine answers: {0}")]
    NoEngine(String),
    /// The engine is on another machine.
    #[error(
        "the Docker engine does not run on this machine ({0}): containers there can be neither reached nor sampled"
    )]
    EngineElsewhere(String),
    /// The base image of the images is missing.
    #[error(
        "there is no image {0}, which the images of the topology are built on: `docker pull {0}`, or without a registry `docker/local-images.sh --runtime`, makes it"
    )]
    NoBaseImage(String),
    /// Docker or Compose refused something.
    #[error("cannot {what}: {message}")]
    Engine {
        /// What was attempted.
        what: &'static str,
        /// Their words.
        message: String,
    },
    /// A thread or a runtime could not be started.
    #[error("cannot start the thread that renews the override: {0}")]
    Thread(io::Error),
}

impl TopologyError {
    /// Whether the user's input is wrong, as opposed to something that happened.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Unknown { .. }
                | Self::Spec { .. }
                | Self::NoReplica { .. }
                | Self::NoWeir(_)
                | Self::NoReplicas
                | Self::TooFewCores { .. }
                | Self::NotInContainers
                | Self::NoComposeFile(_)
                | Self::NoDocker(_)
                | Self::NoCompose
                | Self::NoBaseImage(_)
                | Self::ProxyConfig(_)
        )
    }
    /// Whether it came before anything was started, so that no log says more.
    #[must_use]
    pub fn is_before_start(&self) -> bool {
        self.is_usage()
            || matches!(
                self,
                Self::Stopped | Self::NoEngine(_) | Self::EngineElsewhere(_)
            )
    }
}
