//! Why a run could not be made.

use std::{io, time::Duration};

use crate::target::TargetError;

/// Why a run could not be made; failed requests are not errors of the run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The target may not be driven, or its address is wrong.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Nothing answers where the target should be.
    #[error(
        "nothing accepts connections at {url} ({cause}); start the target, or correct `--target`"
    )]
    TargetDown {
        /// Base URL.
        url: String,
        /// What the system said.
        cause: String,
    },
    /// The login that every user needs does not work.
    #[error("login at {url} failed: {cause}")]
    Login {
        /// URL of the login.
        url: String,
        /// What came back, and what was expected.
        cause: String,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Options(String),
    /// The start time passed before everything was connected and logged in.
    #[error(
        "the start time passed {:.1} s before everything was connected and logged in; start earlier, or choose a later `--start-at`",
        .by.as_secs_f64()
    )]
    Late {
        /// How long ago it was.
        by: Duration,
    },
    /// Connections could not be opened before the start.
    #[error("only {opened} of {wanted} connections could be opened: {cause}")]
    Connections {
        /// How many there are.
        opened: u32,
        /// How many the scenario asks for.
        wanted: u32,
        /// What the system said.
        cause: String,
    },
    /// A thread or a runtime could not be started, or a recording not be kept.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
