//! `weir-bench profile`: a flame graph of any process.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use weir_lab::{
    profile::{Event, Order, profile},
    sample::{SelectError, process_name},
    stdio,
};
use weir_load::units::parse_duration;

use crate::exit::Usage;

/// Arguments of `weir-bench profile`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Process with this id.
    #[arg(long, value_name = "PID")]
    pid: u32,
    /// How long to watch it.
    #[arg(long = "for", value_parser = parse_duration, value_name = "DURATION", default_value = "10s")]
    length: Duration,
    /// The picture, SVG: open it in a browser, click to zoom, Ctrl-F to search.
    #[arg(long, short, value_name = "FILE", default_value = "flame.svg")]
    output: PathBuf,
    /// What is sampled.
    #[arg(long, value_enum, default_value_t = Event::CpuClock)]
    event: Event,
}

/// Runs `weir-bench profile`.
///
/// # Errors
///
/// [`Usage`] when there is no such process or no time; other errors when `perf` is missing, not
/// permitted or fails, or the process was idle.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    if args.length.is_zero() {
        return Err(Usage::new("--for must be above 0").into());
    }
    let Some(name) = process_name(args.pid) else {
        return Err(Usage::new(SelectError::NoProcess(args.pid)).into());
    };
    let graph = profile(&Order {
        pid: args.pid,
        name,
        delay: Duration::ZERO,
        length: args.length,
        svg: args.output,
        event: args.event,
    })?;
    stdio::line(format!(
        "{} samples: {}",
        graph.samples,
        graph.svg.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
