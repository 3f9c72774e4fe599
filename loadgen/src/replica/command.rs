//! The subcommand.

use std::process::ExitCode;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the subcommand.
///
/// # Errors
///
/// When it fails.
pub fn execute(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("in the making")
}
