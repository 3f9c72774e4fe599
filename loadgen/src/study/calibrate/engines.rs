//! `weir-bench engines`: this program's client engines beside `wrk`, `hey`, `h2load` and Locust.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use weir_lab::{
    host::machine::{Cores, Machine},
    stdio,
};
use weir_load::{scenario::Engine, units::Rate};

use super::{
    agreement::Agreement,
    driver::{Driver, Order, Turn},
    inner,
};
use crate::{
    exit::{Exit, Usage},
    results::ceiling::Way,
    study::versus::{
        order::{Spread, interleaved},
        report::number,
        upstreams::{Source, Upstreams},
        wrk::Wrk,
    },
};

/// Compare load generators: the wire and session engines, wrk, and those of hey, h2load and Locust
/// that are installed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Turns of each generator.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub rounds: usize,
    /// Length of a turn.
    #[arg(long, default_value_t = 6, value_name = "S")]
    pub seconds: u64,
    /// Connections, each asking again as soon as it is answered.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub connections: u32,
    /// One round of one second with four connections, and no comparison of latencies: whether
    /// everything works, not how fast it is.
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "connections"])]
    pub quick: bool,
    /// What answers.
    #[arg(long, value_enum, default_value_t = Source::Null)]
    pub upstream: Source,
    /// Leave out generators other than ours and wrk.
    #[arg(long)]
    pub only_wrk: bool,
    /// Leave it to the scheduler which core runs what.
    #[arg(long)]
    pub no_pin: bool,
    /// Also write everything that was measured to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Leave out the comparison of latencies.
    #[arg(long)]
    pub no_agreement: bool,
    /// Be the generator (what the comparison starts for each turn of an engine).
    #[arg(long, hide = true, requires = "target")]
    pub inner: Option<Way>,
    /// Arrivals on a schedule.
    #[arg(long, hide = true, requires = "inner")]
    pub rate: Option<Rate>,
    /// What the generator drives.
    #[arg(long, hide = true)]
    pub target: Option<SocketAddr>,
}

/// Runs the comparison and prints it.
///
/// # Errors
///
/// When wrk is missing, a generator fails, or the comparison is interrupted.
pub fn execute(mut args: Args) -> anyhow::Result<ExitCode> {
    if args.quick {
        (args.rounds, args.seconds, args.connections) = (1, 1, 4);
        args.no_agreement = true;
    }
    if args.rounds == 0 || args.seconds == 0 || args.connections == 0 {
        return Err(
            Usage::new("`--rounds`, `--seconds` and `--connections` must be at least 1").into(),
        );
    }
    if let (Some(way), Some(target)) = (args.inner, args.target) {
        let load = inner::Load {
            connections: args.connections,
            seconds: args.seconds,
            rate: args.rate,
        };
        let flat = inner::drive(way, target, load)?;
        stdio::line(format_args!("{}", serde_json::to_string(&flat)?))?;
        return Ok(Exit::Passed.into());
    }
    until_interrupted(compare(args))
}

/// Runs to the end, or to the first signal; either way everything started is stopped.
pub(crate) fn until_interrupted(
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = work => result,
            _ = interrupt.recv() => Err(anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow!("terminated")),
        }
    })
}

/// Everything that was measured, and under which conditions.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    cores: Cores,
    upstream: Source,
    connections: u32,
    rounds: usize,
    seconds: u64,
    turns: Vec<Turn>,
    agreement: Option<Agreement>,
}

async fn compare(args: Args) -> anyhow::Result<ExitCode> {
    let dir = tempfile::tempdir()?;
    let machine = Machine::here();
    let cores = if args.no_pin {
        Cores::default()
    } else {
        Cores::share(machine.cores)
    };
    // No proxy here: its core is the generator's, and the server has the other.
    let core = cores.proxy;
    let drivers = drivers(&args, dir.path(), core)?;
    let servers = Upstreams::start(args.upstream, 1, dir.path(), cores.upstreams).await?;
    let target = *servers.addresses.first().context("no server runs")?;
    let mut turns: Vec<Turn> = Vec::new();
    for (round, index) in interleaved(drivers.len(), args.rounds) {
        let Some(driver) = drivers.get(index) else {
            continue;
        };
        let order = Order {
            target,
            connections: args.connections,
            seconds: args.seconds,
            rate: None,
            core,
            every_latency: None,
        };
        let turn = driver.turn(&order, round).await?;
        stdio::note(format_args!(
            "round {}/{} · {:<8} {:>8} requests/s  {:>5.2} µs CPU/request",
            round + 1,
            args.rounds,
            turn.name,
            number(turn.flat.rate, 0),
            turn.cpu_us
        ));
        turns.push(turn);
    }
    drop(servers);
    let agreement = if args.no_agreement {
        None
    } else {
        let cores = (core, cores.upstreams);
        Some(Agreement::ask(&drivers, args.seconds, dir.path(), cores).await?)
    };
    let report = Report {
        machine,
        cores,
        upstream: args.upstream,
        connections: args.connections,
        rounds: args.rounds,
        seconds: args.seconds,
        turns,
        agreement,
    };
    stdio::line(format_args!("{}", report.text(&drivers)))?;
    if let Some(agreement) = &report.agreement {
        stdio::line(format_args!("\n{}", agreement.text()))?;
    }
    if let Some(file) = &args.json {
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        stdio::line(format_args!("all figures: {}", file.display()))?;
    }
    Ok(Exit::Passed.into())
}

/// Everybody who takes part; who does not is named.
fn drivers(args: &Args, dir: &Path, core: Option<usize>) -> anyhow::Result<Vec<Driver>> {
    let mut drivers = vec![
        Driver::Own(Way::plain(Engine::Wire)),
        Driver::Own(Way::plain(Engine::Session)),
        Driver::Wrk(Wrk::prepare(dir, core)?),
    ];
    if args.only_wrk {
        return Ok(drivers);
    }
    drivers.extend(Driver::others(dir)?);
    for name in ["h2load", "hey", "locust"] {
        if !drivers.iter().any(|driver| driver.name() == name) {
            stdio::note(format_args!(
                "note: {name} is not installed and not compared"
            ));
        }
    }
    Ok(drivers)
}

impl Report {
    fn spread(&self, name: &str, figure: impl Fn(&Turn) -> Option<f64>) -> Option<Spread> {
        Spread::of(
            self.turns
                .iter()
                .filter(|t| t.name == name)
                .filter_map(figure),
        )
    }

    fn text(&self, drivers: &[Driver]) -> String {
        let busy = if self.machine.is_busy() {
            format!(
                "note: the load average was {:.2} at the start; other work disturbs these figures\n",
                self.machine.load_1min
            )
        } else {
            String::new()
        };
        let core = |core: Option<usize>| core.map_or_else(|| "any".to_owned(), |c| c.to_string());
        format!(
            "{}, {} cores, Linux {}\n{} connections, one thread each, 256-byte answers; cores: generator {}, server {}\n\
             {} rounds of {} s each, taking turns; medians, (min–max), and × wrk\n{busy}\n{}",
            self.machine.cpu,
            self.machine.cores,
            self.machine.kernel,
            self.connections,
            core(self.cores.proxy),
            core(self.cores.upstreams),
            self.rounds,
            self.seconds,
            self.table(drivers)
        )
    }

    fn table(&self, drivers: &[Driver]) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header([
            "generator",
            "requests/s",
            "CPU µs/req",
            "requests/CPU second",
            "p50 ms",
            "p99 ms",
        ]);
        for driver in drivers {
            let name = driver.name();
            let cell = |figure: &dyn Fn(&Turn) -> Option<f64>, digits: usize, ratio: bool| {
                let Some(spread) = self.spread(&name, figure) else {
                    return "–".to_owned();
                };
                let mut text = format!(
                    "{}\n({}–{})",
                    number(spread.median, digits),
                    number(spread.min, digits),
                    number(spread.max, digits)
                );
                if let Some(base) = self.spread("wrk", figure).filter(|_| ratio) {
                    text += &format!("\n× {:.2}", spread.median / base.median);
                }
                text
            };
            table.add_row([
                name.clone(),
                cell(&|t| Some(t.flat.rate), 0, true),
                cell(&|t| Some(t.cpu_us), 2, true),
                cell(&|t| Some(t.per_core()), 0, true),
                cell(&|t| t.flat.p50_ms, 2, false),
                cell(&|t| t.flat.p99_ms, 2, false),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}
