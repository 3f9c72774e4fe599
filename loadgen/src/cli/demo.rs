//! `weir-bench demo`: the whole idea on real processes and real traffic, in two minutes.

use std::{path::PathBuf, process::ExitCode};

use clap::Args as ClapArgs;
use weir_load::stop::StopToken;

use crate::{
    exit::Exit,
    measure::Setup,
    study::demo::{Lengths, Platform, demonstrate},
};

/// Arguments of `weir-bench demo`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// What to run it on: processes, or containers of the shipped Compose files (docker), which takes
    /// a minute and a half longer.
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub topology: Platform,
    /// Where run folders go.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub results: PathBuf,
    /// The proxy's binary [default: beside this program].
    #[arg(long, value_name = "FILE")]
    pub weir: Option<PathBuf>,
    /// The proxy configuration to derive from; its limits are raised for the runs and put back.
    #[arg(long, value_name = "FILE", default_value = "config/proxy.toml")]
    pub proxy: PathBuf,
    /// Thresholds that win over those of the scenarios.
    #[arg(long, value_name = "FILE")]
    pub thresholds: Option<PathBuf>,
    /// About half a minute instead of two; too short for firm conclusions.
    #[arg(long)]
    pub quick: bool,
}

/// Runs the demonstration.
///
/// # Errors
///
/// When a run cannot be made, the limits are not back afterwards, or the user stops it.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let stop = StopToken::on_signals()?;
    let setup = Setup {
        results: args.results,
        weir: args.weir,
        proxy_config: args.proxy,
        ..Setup::default()
    };
    let lengths = if args.quick {
        Lengths::quick()
    } else {
        Lengths::usual()
    };
    let done = demonstrate(
        &setup,
        args.topology,
        lengths,
        args.thresholds.as_deref(),
        &stop,
    )?;
    let lost = done
        .runs
        .iter()
        .filter_map(|run| run.record.tuning.as_ref())
        .find(|t| !t.restored);
    match lost {
        Some(tuning) => Err(anyhow::anyhow!(
            "the raised limits are not verified as put back: {}",
            tuning.problem
        )),
        None => Ok(Exit::from(done.gate).into()),
    }
}
