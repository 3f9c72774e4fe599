//! `weir-bench scaling`.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use weir_lab::{
    host::machine::{Machine, raise_file_limit},
    process::owned::find,
    proxies::tuned::Capacity,
};
use weir_load::{stop::StopToken, units::parse_duration};

use super::super::{
    cli::tuning::{as_usage, folder, progress},
    study::rig::{Lab, ProxyKind},
};
use crate::{
    exit::{Exit, Usage},
    results::now_utc,
    study::scaling::{
        measure::{Plan, balance, failing, saturated, sweeps},
        record::ScalingReport,
        report,
    },
};

/// Explain what further replicas buy: efficiency, scalability, bottleneck, slow and failing replicas.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Numbers of replicas; 1 is always among them.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3], value_name = "N,N,…")]
    pub replicas: Vec<usize>,
    /// Proxies besides weir: those that are installed, unless this is given.
    #[arg(long)]
    pub only_weir: bool,
    /// Slots of a stand-in replica.
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub slots: u32,
    /// Time that a request holds its slot.
    #[arg(long, default_value = "10ms", value_parser = parse_duration, value_name = "DURATION")]
    pub service_time: Duration,
    /// Interleaved rounds; at least three for an interval.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub rounds: usize,
    /// Length of a run.
    #[arg(long, default_value = "2s", value_parser = parse_duration, value_name = "DURATION")]
    pub run: Duration,
    /// Leave out the sweep, the slow and the failing replica.
    #[arg(long)]
    pub brief: bool,
    /// Short runs, for a first look.
    #[arg(long)]
    pub quick: bool,
    /// Where run folders go.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub results: PathBuf,
    /// Write the result here instead of into a new folder below `--results`.
    #[arg(long, value_name = "FOLDER", conflicts_with = "results")]
    pub output: Option<PathBuf>,
    /// The proxy's binary [default: beside this program].
    #[arg(long, value_name = "FILE")]
    pub weir: Option<PathBuf>,
}

impl Args {
    fn plan(&self) -> anyhow::Result<Plan> {
        let usage = |text: &str| anyhow::Error::from(Usage::new(text));
        let mut replicas = self.replicas.clone();
        replicas.push(1);
        replicas.sort_unstable();
        replicas.dedup();
        if replicas.first() == Some(&0) || replicas.last().is_some_and(|most| *most > 32) {
            return Err(usage("`--replicas` must be 1 to 32"));
        }
        if !(1..=1000).contains(&self.slots) || self.service_time.is_zero() {
            return Err(usage(
                "`--slots` must be 1 to 1000 and `--service-time` above 0",
            ));
        }
        if self.rounds == 0 || self.run < Duration::from_millis(100) {
            return Err(usage(
                "`--rounds` must be at least 1 and `--run` at least 100ms",
            ));
        }
        let mut proxies = vec![ProxyKind::Direct, ProxyKind::Weir];
        if !self.only_weir {
            for (kind, program) in [(ProxyKind::Nginx, "nginx"), (ProxyKind::Haproxy, "haproxy")] {
                match find(program) {
                    Some(_) => proxies.push(kind),
                    None => {
                        weir_lab::stdio::note(format_args!("left out: {program} is not installed"))
                    }
                }
            }
        }
        // From one request in flight to four times the slots of the largest topology.
        let slots = self.slots * replicas.last().copied().unwrap_or(1) as u32;
        let mut levels: Vec<u32> = (0..)
            .map(|power| 1_u32 << power)
            .take_while(|level| *level < slots * 4)
            .collect();
        levels.push(slots * 4);
        Ok(Plan {
            capacity: Capacity {
                slots: self.slots,
                service_time: self.service_time,
            },
            replicas,
            proxies,
            rounds: if self.quick {
                self.rounds.min(3)
            } else {
                self.rounds
            },
            run: if self.quick {
                self.run.min(Duration::from_millis(400))
            } else {
                self.run
            },
            levels,
        })
    }
}

/// Measures and explains.
///
/// # Errors
///
/// When an argument is wrong, a process does not start, or the user stops it.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let plan = args.plan()?;
    let stop = StopToken::on_signals()?;
    raise_file_limit(20_000);
    let folder = folder(
        args.output.as_deref(),
        &args.results,
        "scaling",
        "saturated",
    )?;
    let lab = Lab::new(&folder, ProxyKind::Weir, args.weir.clone(), stop)?;
    let (begun, at) = (Instant::now(), now_utc());
    let mut say = |text: &str| progress(begun, text);
    let (topologies, efficiency) = saturated(&lab, &plan, &mut say).map_err(as_usage)?;
    let mut report = ScalingReport {
        format: 1,
        at,
        took_s: 0.0,
        machine: Machine::here(),
        capacity: plan.capacity,
        in_flight: plan.in_flight(),
        run_s: plan.run.as_secs_f64(),
        rounds: plan.rounds,
        topologies,
        efficiency,
        sweeps: Vec::new(),
        balance: None,
        failing: Vec::new(),
        tuning: "no rate limit, keepalive 1024 to the replicas, no compression, one proxy thread"
            .to_owned(),
    };
    if !args.brief {
        report.sweeps = sweeps(&lab, &plan, &mut say).map_err(as_usage)?;
        report.balance = Some(balance(&lab, &plan, &mut say).map_err(as_usage)?);
        report.failing = failing(&lab, &plan, &mut say).map_err(as_usage)?;
    }
    report.took_s = begun.elapsed().as_secs_f64();
    let json = serde_json::to_vec_pretty(&report)?;
    std::fs::write(folder.join("scaling.json"), json).context("cannot write scaling.json")?;
    std::fs::write(folder.join("report.html"), report::page(&report)?)
        .context("cannot write report.html")?;
    weir_lab::stdio::say(format_args!("{}", report::text(&report)));
    weir_lab::stdio::say(format_args!(
        "everything: {}",
        folder.join("report.html").display()
    ));
    Ok(Exit::Passed.into())
}
