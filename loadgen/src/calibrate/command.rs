//! `weir-bench calibrate`.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::{
    driver::{Driver, Turn},
    engines::until_interrupted,
    stored::{Calibration, Ceiling, FILE},
};
use crate::{
    exit::{Exit, Usage},
    scenario::Engine,
    versus::{
        machine::{Cores, Machine},
        order::{Spread, interleaved},
        report::number,
        upstreams::{Source, Upstreams},
    },
};

/// Find the generator's own ceiling on this machine, and keep it for later runs to compare with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs of each engine.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub rounds: usize,
    /// Length of a run.
    #[arg(long, default_value_t = 3, value_name = "S")]
    pub seconds: u64,
    /// Connections, each asking again as soon as it is answered.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub connections: u32,
    /// Where the result is kept.
    #[arg(long, default_value = FILE, value_name = "FILE")]
    pub output: PathBuf,
}

/// Calibrates this machine; exit code 5, and nothing kept, if the runs differ too much.
///
/// # Errors
///
/// When an engine fails, the result cannot be written, or it is interrupted.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    if args.rounds == 0 || args.seconds == 0 || args.connections == 0 {
        return Err(
            Usage::new("`--rounds`, `--seconds` and `--connections` must be at least 1").into(),
        );
    }
    until_interrupted(calibrate(args))
}

async fn calibrate(args: Args) -> anyhow::Result<ExitCode> {
    let machine = Machine::here();
    if machine.is_busy() {
        eprintln!(
            "note: the load average is {:.2}: the ceiling will come out too low",
            machine.load_1min
        );
    }
    let dir = tempfile::tempdir()?;
    let cores = Cores::share(machine.cores);
    let servers = Upstreams::start(Source::Null, 1, dir.path(), cores.upstreams).await?;
    let target = *servers.addresses.first().context("no server runs")?;
    let drivers = [Engine::Wire, Engine::Session].map(Driver::Own);
    let mut turns: Vec<Turn> = Vec::new();
    for (round, index) in interleaved(drivers.len(), args.rounds) {
        let Some(driver) = drivers.get(index) else {
            continue;
        };
        turns.push(
            driver
                .turn(target, args.connections, args.seconds, cores.proxy, round)
                .await?,
        );
    }
    let mut ceilings = BTreeMap::new();
    for driver in &drivers {
        let of = |figure: fn(&Turn) -> f64| {
            Spread::of(turns.iter().filter(|t| t.name == driver.name()).map(figure))
        };
        let (Some(rate), Some(cpu)) = (of(|t| t.flat.rate), of(|t| t.cpu_us)) else {
            continue;
        };
        println!(
            "{:<8} {:>8} requests/s on one thread ({}–{}), {:.1} µs CPU/request",
            driver.name(),
            number(rate.median, 0),
            number(rate.min, 0),
            number(rate.max, 0),
            cpu.median
        );
        let ceiling = Ceiling {
            rate: rate.median,
            min: rate.min,
            max: rate.max,
            cpu_us: cpu.median,
            runs: args.rounds,
        };
        ceilings.insert(driver.name().to_owned(), ceiling);
    }
    if let Some((engine, _)) = ceilings.iter().find(|(_, ceiling)| !ceiling.is_steady()) {
        eprintln!(
            "the runs of {engine} differ too much to call any of them the ceiling: nothing was kept; \
             calibrate again when this machine is quiet"
        );
        return Ok(Exit::Invalid.into());
    }
    let calibration = Calibration {
        at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu: machine.cpu,
        cores: machine.cores,
        connections: args.connections,
        ceilings,
    };
    calibration.write(&args.output)?;
    println!(
        "kept in {}; runs above 50 % of it carry a warning, above 80 % they are invalid",
        args.output.display()
    );
    Ok(Exit::Passed.into())
}
