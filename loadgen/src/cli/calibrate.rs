//! `weir-bench calibrate`.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::Context;
use weir_lab::{
    host::machine::{Cores, Machine},
    stdio,
};

use crate::{
    exit::{Exit, Usage},
    results::ceiling::{
        Way,
        stored::{Calibration, Ceiling, FILE},
    },
    study::{
        calibrate::{
            driver::{Driver, Order, Turn},
            engines::until_interrupted,
        },
        versus::{
            order::{Spread, interleaved},
            report::number,
            upstreams::{Source, Upstreams},
        },
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
    /// What to calibrate: engines, `+h2` for HTTP/2, `+tls` for TLS; several with commas, or `all`.
    #[arg(
        long,
        default_value = "wire,session,wire+h2,session+h2",
        value_name = "WAYS"
    )]
    pub ways: String,
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
    let ways = ways(&args.ways)?;
    until_interrupted(calibrate(args, ways))
}

fn ways(text: &str) -> Result<Vec<Way>, Usage> {
    if text == "all" {
        return Ok(Way::all());
    }
    let ways = text.split(',').map(|way| way.trim().parse());
    ways.collect::<Result<_, String>>()
        .map_err(|error| Usage::new(format!("`--ways`: {error}, or `all`")))
}

/// One server for each kind of transport that is calibrated.
struct Servers {
    clear: Upstreams,
    secure: Option<Upstreams>,
}

impl Servers {
    async fn start(
        ways: &[Way],
        dir: &std::path::Path,
        core: Option<usize>,
    ) -> anyhow::Result<Self> {
        let clear = Upstreams::start(Source::Null, 1, dir, core).await?;
        let secure = if ways.iter().any(|way| way.is_secure()) {
            let dir = dir.join("tls");
            std::fs::create_dir_all(&dir)?;
            Some(Upstreams::secure(&dir, core).await?)
        } else {
            None
        };
        Ok(Self { clear, secure })
    }

    fn target(&self, way: Way) -> anyhow::Result<std::net::SocketAddr> {
        let servers = match &self.secure {
            Some(secure) if way.is_secure() => secure,
            _ => &self.clear,
        };
        servers.addresses.first().copied().context("no server runs")
    }
}

async fn calibrate(args: Args, ways: Vec<Way>) -> anyhow::Result<ExitCode> {
    let machine = Machine::here();
    if machine.is_busy() {
        stdio::note(format_args!(
            "note: the load average is {:.2}: the ceiling will come out too low",
            machine.load_1min
        ));
    }
    let dir = tempfile::tempdir()?;
    let cores = Cores::share(machine.cores);
    let servers = Servers::start(&ways, dir.path(), cores.upstreams).await?;
    let mut turns: Vec<Turn> = Vec::new();
    for (round, index) in interleaved(ways.len(), args.rounds) {
        let Some(&way) = ways.get(index) else {
            continue;
        };
        let order = Order {
            target: servers.target(way)?,
            connections: args.connections,
            seconds: args.seconds,
            rate: None,
            core: cores.proxy,
            every_latency: None,
        };
        turns.push(Driver::Own(way).turn(&order, round).await?);
    }
    let mut ceilings = BTreeMap::new();
    for way in ways.iter().map(Way::to_string) {
        let of = |figure: fn(&Turn) -> f64| {
            Spread::of(turns.iter().filter(|t| t.name == way).map(figure))
        };
        let (Some(rate), Some(cpu)) = (of(|t| t.flat.rate), of(|t| t.cpu_us)) else {
            continue;
        };
        stdio::line(format_args!(
            "{:<14} {:>8} requests/s on one thread ({}–{}), {:.1} µs CPU/request",
            way,
            number(rate.median, 0),
            number(rate.min, 0),
            number(rate.max, 0),
            cpu.median
        ))?;
        let ceiling = Ceiling {
            rate: rate.median,
            min: rate.min,
            max: rate.max,
            cpu_us: cpu.median,
            runs: args.rounds,
        };
        ceilings.insert(way, ceiling);
    }
    if let Some((engine, _)) = ceilings.iter().find(|(_, ceiling)| !ceiling.is_steady()) {
        stdio::note(format_args!(
            "the runs of {engine} differ too much to call any of them the ceiling: nothing was kept; \
             calibrate again when this machine is quiet"
        ));
        return Ok(Exit::Invalid.into());
    }
    let calibration = Calibration {
        at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: Calibration::build(),
        cpu: machine.cpu,
        cores: machine.cores,
        connections: args.connections,
        ceilings,
    };
    let calibration = calibration.with_others_of(&args.output);
    calibration.write(&args.output)?;
    stdio::line(format_args!(
        "kept in {}; runs above 50 % of it carry a warning, above 80 % they are invalid",
        args.output.display()
    ))?;
    Ok(Exit::Passed.into())
}
