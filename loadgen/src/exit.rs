//! What the exit codes of `weir-bench` mean, and how an error becomes one.

use std::{fmt, process::ExitCode};

use weir_lab::stdio;

/// Exit codes, stable for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for held.
    Passed = 0,
    /// Something went wrong at run time: target down, port in use, disk full.
    Error = 1,
    /// The command line or a configuration file is wrong; nothing was started.
    Usage = 2,
    /// The run is valid and a threshold was missed.
    GateFailed = 3,
    /// Worse than the baseline beyond the declared limits.
    Regression = 4,
    /// The measurement cannot be believed; never passes a gate.
    Invalid = 5,
}

impl Exit {
    /// Of two verdicts on the same runs the one that speaks: *invalid* before *gate failed* before
    /// *regression* before *passed*.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Passed => 0,
            Self::Regression => 1,
            Self::GateFailed => 2,
            Self::Invalid => 3,
            Self::Usage => 4,
            Self::Error => 5,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Marks an error as the user's input being wrong: exit code 2 instead of 1.
///
/// ```
/// use weir_bench::exit::Usage;
/// fn parse() -> anyhow::Result<()> {
///     Err(Usage::new("`--threads` must be at least 1").into())
/// }
/// # assert!(parse().is_err());
/// ```
#[derive(Debug)]
pub struct Usage(String);

impl Usage {
    /// A usage error with a message that says what would be right.
    pub fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints an error, causes included, and says which exit code it deserves.
pub fn report(error: &anyhow::Error) -> ExitCode {
    stdio::note(format_args!("error: {error:#}"));
    if error.chain().any(|cause| cause.is::<Usage>()) {
        Exit::Usage.into()
    } else {
        Exit::Error.into()
    }
}
