//! Where trials are made, and how they can fail.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::runtime::Runtime;

use weir_lab::error::TopologyError;
use weir_load::stop::StopToken;

/// Which proxy is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// This project's proxy, tuned live.
    Weir,
    /// nginx, by reloading its configuration.
    Nginx,
    /// HAProxy; it is compared, but not tuned.
    #[value(skip)]
    Haproxy,
    /// No proxy: the first replica directly.
    #[value(skip)]
    Direct,
}

impl ProxyKind {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Direct => "direct",
        }
    }
}

/// A trial could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// Processes or the admin API.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A socket or a file.
    #[error("{what}: {cause}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// nginx cannot be used.
    #[error("nginx: {0}")]
    Nginx(String),
    /// Another proxy cannot be used.
    #[error("{name}: {reason}")]
    Other {
        /// Which one.
        name: &'static str,
        /// Why not.
        reason: String,
    },
    /// The rig's own configuration is not accepted: a defect of this program.
    #[error("the configuration of the experiment is not accepted: {0}")]
    Config(String),
    /// The user asked to stop.
    #[error("stopped on request")]
    Stopped,
}

impl RigError {
    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::Io { what, cause }
    }
}

/// Where trials are made, shared by all of them.
#[derive(Debug)]
pub struct Lab {
    /// The generator's one thread.
    pub runtime: Runtime,
    /// Asks everything to end.
    pub stop: StopToken,
    /// Folder for configurations and logs.
    pub folder: PathBuf,
    /// Which proxy.
    pub proxy: ProxyKind,
    /// The proxy's binary, if it is not beside this program.
    pub weir: Option<PathBuf>,
}

impl Lab {
    /// A lab that keeps what its processes write below `results`.
    ///
    /// # Errors
    ///
    /// When the folder or the runtime cannot be made.
    pub fn new(
        results: &Path,
        proxy: ProxyKind,
        weir: Option<PathBuf>,
        stop: StopToken,
    ) -> io::Result<Self> {
        let folder = results.join("processes");
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            stop,
            folder,
            proxy,
            weir,
        })
    }

    /// Runs something asynchronous, unless the user asks to stop.
    pub(crate) fn wait_for<T>(
        &self,
        work: impl Future<Output = Result<T, RigError>>,
    ) -> Result<T, RigError> {
        let stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.stopped() => Err(RigError::Stopped),
                result = work => result,
            }
        })
    }
}

/// Looks again and again until something is there.
pub(crate) fn until<T>(
    lab: &Lab,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<Option<T>, RigError> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        if lab.stop.is_stopped() {
            return Err(RigError::Stopped);
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
