//! `weir-bench plan`: how many replicas a demand needs, from measured folders.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use weir_lab::stdio;
use weir_load::scenario::Engine;

use crate::{
    exit::{Exit, Usage},
    plan::{Demand, Environment, EvidenceError, Margin, documented, plan, print, read},
    results::ceiling::{Way, stored::ceiling},
};

/// Arguments of `weir-bench plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of searches, runs, sweeps and comparisons, such as results/latest.
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// What is to be served, such as 500/s, 50M/h or 43M/day; repeat it [default: the documented
    /// targets].
    #[arg(long, value_name = "DEMAND")]
    target_rate: Vec<Demand>,
    /// Multiply every demand by this, for growth and peaks.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    headroom: f64,
    /// Use a replica up to this share of its capacity.
    #[arg(long, default_value = "70%", value_parser = parse_share, value_name = "PERCENT")]
    utilisation: f64,
    /// Replicas behind a target that this program did not start itself.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    replicas: Option<u32>,
    /// Efficiency of the second replica when it was not measured, 0.5 to 1; named as an assumption.
    #[arg(long, value_name = "E")]
    assume_efficiency: Option<f64>,
    /// CPUs that one replica may use in production.
    #[arg(long, default_value_t = 1.0, value_name = "CPUS")]
    replica_cpus: f64,
    /// CPUs that the proxy may use [default: the cores of the machine that was measured].
    #[arg(long, value_name = "CPUS")]
    proxy_cpus: Option<f64>,
    /// Different client addresses that the load comes from: what rate limits by address admit.
    #[arg(long, value_name = "N")]
    clients: Option<f64>,
    /// How the plan is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write it to this file as well: JSON when it ends in .json, otherwise Markdown.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables for a terminal.
    Table,
    /// Markdown.
    Markdown,
    /// JSON.
    Json,
}

/// Reads `70%` as 0.7.
fn parse_share(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is not a share: write 1 to 100 with a %, such as 70%"))
}

/// Plans and prints.
///
/// # Errors
///
/// [`Usage`] when an argument is not acceptable or the folders say nothing about one replica.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let positive = |flag: &str, value: Option<f64>| match value {
        Some(value) if !(value.is_finite() && value > 0.0) => Err(Usage::new(format!(
            "`{flag}` must be a number above 0, not {value}"
        ))),
        _ => Ok(()),
    };
    positive("--headroom", Some(args.headroom))?;
    positive("--replica-cpus", Some(args.replica_cpus))?;
    positive("--proxy-cpus", args.proxy_cpus)?;
    positive("--clients", args.clients)?;
    if args
        .assume_efficiency
        .is_some_and(|e| !(0.5..=1.0).contains(&e))
    {
        return Err(Usage::new(
            "`--assume-efficiency` is X2 / (2 × X1), from 0.5 (a second replica adds nothing) to 1",
        )
        .into());
    }
    let mut evidence = Vec::new();
    for folder in &args.folders {
        evidence.push(read(folder, args.replicas).map_err(|error| match error {
            EvidenceError::Io { .. } => anyhow::Error::from(error),
            _ => Usage::new(error).into(),
        })?);
    }
    let cores = evidence.iter().find_map(|one| one.costs.cores);
    let engine = evidence.iter().find_map(|one| one.costs.engine.clone());
    let environment = Environment {
        replica_cpus: args.replica_cpus,
        proxy_cpus: args
            .proxy_cpus
            .unwrap_or_else(|| cores.map_or(1.0, |cores| cores as f64)),
        clients: args.clients,
        generator_rps: match engine.as_deref() {
            Some("wire") => ceiling(Way::plain(Engine::Wire)),
            Some("session") => ceiling(Way::plain(Engine::Session)),
            _ => None,
        },
    };
    let margin = Margin {
        headroom: args.headroom,
        utilisation: args.utilisation,
    };
    let demands = if args.target_rate.is_empty() {
        documented()
    } else {
        args.target_rate
    };
    let plan = plan(
        evidence,
        demands,
        margin,
        environment,
        args.assume_efficiency,
    )
    .map_err(Usage::new)?;
    let json = || serde_json::to_string_pretty(&plan);
    if let Some(path) = &args.output {
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let text = if is_json {
            json()? + "\n"
        } else {
            print::markdown(&plan)
        };
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    match args.format {
        Format::Table => stdio::text(print::text(&plan))?,
        Format::Markdown => stdio::text(print::markdown(&plan))?,
        Format::Json => stdio::line(json()?)?,
    }
    Ok(Exit::Passed.into())
}
