//! `weir-bench versus`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use tokio::signal::unix::{SignalKind, signal};
use weir_lab::{
    host::{
        machine::{Cores, Machine, raise_file_limit},
        probe,
    },
    proxies::compared::Features,
    stdio,
};

use crate::{
    exit::{Exit, Usage},
    study::versus::{
        contender::{Contender, Running},
        idle,
        measure::{self, Bench},
        order,
        report::{Report, number},
        upstreams::{Source, Upstreams},
        wrk::Wrk,
    },
};

/// Compare reverse proxies: weir, nginx and HAProxy with the same upstreams under the same load.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Proxies to compare, separated by commas; without it, those that are installed.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub only: Vec<String>,
    /// Client connections, each number a table of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 512], value_name = "N")]
    pub connections: Vec<usize>,
    /// Turns of each proxy at each number of connections.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub rounds: usize,
    /// Length of a turn.
    #[arg(long, default_value_t = 6, value_name = "S")]
    pub seconds: u64,
    /// Load before the first turn at each number of connections, not measured.
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub warmup: u64,
    /// Idle connections for the memory measurement; 0 leaves it out.
    #[arg(long, default_value_t = 4000, value_name = "N")]
    pub idle: usize,
    /// The weir to measure; without it, the one beside this program.
    #[arg(long, value_name = "PATH")]
    pub weir: Option<PathBuf>,
    /// Further builds of weir to compare with.
    #[arg(long, value_name = "NAME=PATH")]
    pub also: Vec<String>,
    /// What answers behind the proxies.
    #[arg(long, value_enum, default_value_t = Source::Null)]
    pub upstream: Source,
    /// Features that every proxy leaves out, to see what they cost.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub without: Vec<Feature>,
    /// Leave it to the scheduler which core runs what.
    #[arg(long)]
    pub no_pin: bool,
    /// Also write everything that was measured to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep configurations and logs here.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// A feature that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Feature {
    /// The access log.
    Log,
    /// The rate limit.
    Limit,
}

/// Runs the comparison and prints it.
///
/// # Errors
///
/// When a proxy is missing, does not start, or fails requests; when interrupted.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    check(&args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Whichever ends first: dropping the comparison stops what it has started.
        tokio::select! {
            result = compare(args) => result,
            _ = interrupt.recv() => Err(anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow!("terminated")),
        }
    })
}

fn check(args: &Args) -> anyhow::Result<()> {
    let usage = |message: &str| -> anyhow::Result<()> { Err(Usage::new(message).into()) };
    if args.rounds == 0 || args.seconds == 0 {
        return usage("`--rounds` and `--seconds` must be at least 1");
    }
    if args.connections.is_empty() || args.connections.iter().any(|&n| n == 0 || n > 10_000) {
        return usage("`--connections` must be 1 to 10,000");
    }
    if args.idle > 20_000 {
        return usage(
            "`--idle` must be at most 20,000 (the ports of one address are fewer than 30,000)",
        );
    }
    Ok(())
}

async fn compare(args: Args) -> anyhow::Result<ExitCode> {
    let contenders = contenders(&args)?;
    let machine = Machine::here();
    let cores = if args.no_pin {
        Cores::default()
    } else {
        Cores::share(machine.cores)
    };
    // A connection through a proxy takes two of its descriptors; a few are for other purposes.
    let files = raise_file_limit(80_000);
    let features = Features {
        access_log: !args.without.contains(&Feature::Log),
        rate_limit: !args.without.contains(&Feature::Limit),
        max_connections: files.saturating_sub(200),
    };
    let most = args
        .connections
        .iter()
        .copied()
        .chain([args.idle])
        .max()
        .unwrap_or(0) as u64;
    ensure!(
        features.max_connections >= most * 2,
        "{files} open files are allowed and {most} connections need {}: raise `ulimit -n`",
        most * 2 + 200
    );

    let temporary = work_dir(args.keep.as_deref())?;
    let dir = args
        .keep
        .clone()
        .unwrap_or_else(|| temporary.path().to_owned());
    let wrk = Wrk::prepare(&dir, cores.load)?;
    let upstreams = Upstreams::start(args.upstream, 2, &dir, cores.upstreams).await?;
    let mut running = Vec::new();
    for contender in &contenders {
        let proxy = contender
            .start(
                &dir.join(&contender.name),
                &upstreams.addresses,
                features,
                cores.proxy,
            )
            .await?;
        same_answers(contender, &proxy, &upstreams, features.access_log).await?;
        running.push(proxy);
    }

    let mut report = Report {
        machine,
        cores,
        contenders: contenders
            .iter()
            .map(|c| (c.name.clone(), c.version()))
            .collect(),
        baseline: baseline(&contenders),
        features,
        upstream: args.upstream,
        rounds: args.rounds,
        seconds: args.seconds,
        turns: Vec::new(),
        idle: Vec::new(),
    };
    let bench = Bench {
        upstreams: &upstreams,
        wrk: &wrk,
        duration: Duration::from_secs(args.seconds),
        logs: features.access_log,
    };
    load(&args, &bench, &mut running, &mut report).await?;
    drop(running);
    if args.idle > 0 {
        for contender in &contenders {
            let cost = idle::measure(
                contender,
                &dir,
                &upstreams.addresses,
                features,
                cores.proxy,
                args.idle,
            )
            .await?;
            stdio::note(format_args!(
                "{} idle connections · {}: {:.1} KB each after a request, {:.1} KB each silent",
                cost.connections, cost.name, cost.after_request_kb, cost.silent_kb
            ));
            report.idle.push(cost);
        }
    }
    stdio::line(format_args!("{}", report.text()))?;
    if let Some(file) = &args.json {
        write_json(file, &report)?;
    }
    Ok(Exit::Passed.into())
}

/// The measured part: every number of connections, every round, everyone in turn.
async fn load(
    args: &Args,
    bench: &Bench<'_>,
    running: &mut [Running],
    report: &mut Report,
) -> anyhow::Result<()> {
    for &connections in &args.connections {
        if args.warmup > 0 {
            for proxy in running.iter() {
                bench
                    .wrk
                    .run(proxy.address, connections, Duration::from_secs(args.warmup))
                    .await?;
                proxy.truncate_log();
            }
        }
        for (round, index) in order::interleaved(running.len(), args.rounds) {
            let Some(proxy) = running.get_mut(index) else {
                continue;
            };
            let turn = measure::turn(bench, proxy, connections, round).await?;
            stdio::note(format_args!(
                "{connections} connections · round {}/{} · {:<10} {:>8} requests/s  {:>6.1} µs CPU/request  busy {:.2}",
                round + 1,
                args.rounds,
                turn.name,
                number(turn.rate, 0),
                turn.cpu_us(),
                turn.busy_cores
            ));
            report.turns.push(turn);
        }
    }
    Ok(())
}

/// Who takes part: those named, or those that are there; then further builds of weir.
fn contenders(args: &Args) -> anyhow::Result<Vec<Contender>> {
    let weir = args.weir.as_deref();
    let mut chosen = Vec::new();
    if args.only.is_empty() {
        chosen.push(Contender::named("weir", weir)?);
        for name in ["nginx", "haproxy"] {
            match Contender::named(name, None) {
                Ok(contender) => chosen.push(contender),
                Err(error) => stdio::note(format_args!("left out: {error}")),
            }
        }
    } else {
        for name in &args.only {
            chosen.push(Contender::named(name, weir)?);
        }
    }
    for text in &args.also {
        chosen.push(Contender::other_weir(text)?);
    }
    Ok(chosen)
}

fn baseline(contenders: &[Contender]) -> String {
    contenders
        .iter()
        .find(|c| c.name == "nginx")
        .or(contenders.first())
        .map(|c| c.name.clone())
        .unwrap_or_default()
}

/// Every proxy must do the same job before it is measured: pass a 200 and its body through
/// unchanged, again and again (so that both servers have their turn), and log what it did.
async fn same_answers(
    contender: &Contender,
    proxy: &Running,
    upstreams: &Upstreams,
    logs: bool,
) -> anyhow::Result<()> {
    let server = upstreams
        .addresses
        .first()
        .context("no upstream server runs")?;
    let expected = probe::get(*server).await?;
    for _ in 0..8 {
        let answer = probe::get(proxy.address)
            .await
            .with_context(|| format!("{} does not pass requests on", contender.name))?;
        ensure!(
            answer == expected,
            "{} changes the answer's body",
            contender.name
        );
    }
    if logs {
        let logged = proxy.logged().await?;
        ensure!(
            logged.lines >= 8,
            "{} logged {} of 8 requests to {}",
            contender.name,
            logged.lines,
            proxy.access_log.display()
        );
    }
    Ok(())
}

/// A place for configurations and logs. In memory if possible: access logs are written at hundreds
/// of megabytes a minute, and a disk that writes them back would disturb the figures.
fn work_dir(keep: Option<&Path>) -> anyhow::Result<tempfile::TempDir> {
    if let Some(keep) = keep {
        std::fs::create_dir_all(keep)
            .with_context(|| format!("cannot create {}", keep.display()))?;
    }
    let memory = Path::new("/dev/shm");
    tempfile::Builder::new()
        .prefix("weir-versus-")
        .tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .context("cannot create a temporary directory")
}

fn write_json(file: &Path, report: &Report) -> anyhow::Result<()> {
    if let Some(parent) = file.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    std::fs::write(file, serde_json::to_vec_pretty(report)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    stdio::line(format_args!("all figures: {}", file.display()))?;
    Ok(())
}
