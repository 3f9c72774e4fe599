//! Subcommands of `weir-bench`. Each one's arguments and code live in its own module.

pub mod autotune;
pub mod baseline;
pub mod calibrate;
pub mod compare;
pub mod demo;
pub mod drive;
pub mod environment;
pub mod folders;
pub mod gate;
pub mod import;
pub mod lint;
pub mod merge;
pub mod overhead;
pub mod plan;
pub mod profile;
pub mod recovery;
pub mod replica;
pub mod report;
pub mod run;
pub mod sample;
pub mod scaling;
pub mod search;
pub mod suite;
pub mod sweep;
pub mod tuning;
pub mod versus;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use weir_lab::stdio;

/// A load generator that judges its target, and itself.
#[derive(Debug, Parser)]
#[command(name = "weir-bench", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Drive a topology or a target that is already running, judge it, and report it.
    Run(Box<crate::cli::run::Args>),
    /// Show the whole idea: direct, one and two replicas, judged and compared, in two minutes.
    Demo(crate::cli::demo::Args),
    /// Find contradictions between a scenario, a proxy configuration and the thresholds, by arithmetic.
    Lint(crate::cli::lint::Args),
    /// Judge run folders again, with their own thresholds or with others.
    Gate(crate::cli::gate::Args),
    /// Save runs under a name, for later ones to be compared with; list, show and remove them.
    Baseline(crate::cli::baseline::Args),
    /// Compare runs with a baseline or with other runs; exit code 4 on a regression.
    Compare(crate::cli::compare::Args),
    /// Write a scenario out of a HAR recording, an OpenAPI document or an access log.
    Import(crate::cli::import::Args),
    /// Make the report of a run folder again.
    Report(crate::cli::report::Args),
    /// Watch processes without any load: CPU, memory, descriptors, sockets, and whether they leak.
    Sample(crate::cli::sample::Args),
    /// Draw a flame graph of what a process spends its CPU time on.
    Profile(crate::cli::profile::Args),
    /// Find the highest rate, or the most users, with which the objectives hold.
    Search(crate::cli::search::Args),
    /// Measure throughput and latency at several levels of load, in interleaved order.
    Sweep(crate::cli::sweep::Args),
    /// Plan capacity: how many replicas a demand needs, from measured folders.
    Plan(crate::cli::plan::Args),
    /// Join the shards of a run into one run folder, without loss.
    Merge(crate::cli::merge::Args),
    /// Measure what the proxy costs against direct, in interleaved pairs of runs.
    Overhead(crate::cli::overhead::Args),
    /// Kill a replica under load, start it again, and see how long the rest takes to recover.
    Recovery(crate::cli::recovery::Args),
    /// Run the micro-benchmark suite: latency, concurrency, light, heavy, mixed, sustained, burst.
    Suite(crate::cli::suite::Args),
    /// Serve the documented endpoints with a declared capacity: a stand-in for an API replica.
    Replica(crate::cli::replica::Args),
    /// Search the live settings for values that meet an objective, and prove what was found.
    Autotune(Box<crate::cli::autotune::Args>),
    /// Explain what further replicas buy: efficiency, scalability, bottleneck, slow and failing replicas.
    Scaling(crate::cli::scaling::Args),
    /// Check the documented tuning table: every claim tried on this machine, proven or refuted.
    Tuning(Box<crate::cli::tuning::Args>),
    /// Compare reverse proxies: weir, nginx and HAProxy under the same load on this machine.
    Versus(crate::cli::versus::Args),
    /// Compare load generators: the wire and session engines beside wrk, hey, h2load and Locust.
    Engines(crate::study::calibrate::engines::Args),
    /// Be narrowed to some cores and memory, then become another program (what topologies start).
    #[command(hide = true)]
    Confined(weir_lab::process::confine::Args),
    /// Wait for the end of another process, then remove its containers (what topologies start).
    #[command(hide = true)]
    ContainersKeeper(weir_lab::topology::containers::project::Args),
    /// Find the generator's own ceiling on this machine, and keep it.
    Calibrate(crate::cli::calibrate::Args),
    /// Drive for minutes and judge the generator itself: memory and its growth, lateness, failures.
    SelfCheck(crate::study::calibrate::selfcheck::Args),
}

impl Cli {
    /// Reads the command line, and the environment where the command line is silent. Ends the
    /// process with a message when they make no sense, or help is asked for.
    #[must_use]
    pub fn from_command_line() -> Self {
        let words: Vec<_> = std::env::args_os().collect();
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for warning in environment::misspelt(&Self::command(), &words, names) {
            stdio::note(format_args!("warning: {warning}"));
        }
        let lookup = |name: &str| std::env::var(name).ok();
        let (words, taken) = environment::complete(&Self::command(), words, lookup);
        let mut cli = Self::try_parse_from(words).unwrap_or_else(|error| {
            if error.use_stderr() {
                for taken in &taken {
                    stdio::note(format_args!(
                        "{} is {} from the environment",
                        taken.flag, taken.variable
                    ));
                }
            }
            error.exit()
        });
        if let Command::Run(args) = &mut cli.command {
            args.environment = taken;
        }
        cli
    }

    /// Runs the chosen subcommand.
    ///
    /// # Errors
    ///
    /// Whatever the subcommand reports; see [`crate::exit`] for the exit codes.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(args) => crate::cli::run::execute(*args),
            Command::Demo(args) => crate::cli::demo::execute(args),
            Command::Lint(args) => crate::cli::lint::execute(args),
            Command::Gate(args) => crate::cli::gate::execute(args),
            Command::Baseline(args) => crate::cli::baseline::execute(args),
            Command::Compare(args) => crate::cli::compare::execute(args),
            Command::Import(args) => crate::cli::import::execute(args),
            Command::Report(args) => crate::cli::report::execute(args),
            Command::Sample(args) => crate::cli::sample::execute(args),
            Command::Profile(args) => crate::cli::profile::execute(args),
            Command::Search(args) => crate::cli::search::execute(args),
            Command::Sweep(args) => crate::cli::sweep::execute(args),
            Command::Plan(args) => crate::cli::plan::execute(args),
            Command::Merge(args) => crate::cli::merge::execute(args),
            Command::Overhead(args) => crate::cli::overhead::execute(args),
            Command::Recovery(args) => crate::cli::recovery::execute(args),
            Command::Suite(args) => crate::cli::suite::execute(args),
            Command::Replica(args) => crate::cli::replica::execute(args),
            Command::Autotune(args) => crate::cli::autotune::execute(*args),
            Command::Scaling(args) => crate::cli::scaling::execute(args),
            Command::Tuning(args) => crate::cli::tuning::execute(*args),
            Command::Versus(args) => crate::cli::versus::execute(args),
            Command::Engines(args) => crate::study::calibrate::engines::execute(args),
            Command::Calibrate(args) => crate::cli::calibrate::execute(args),
            Command::Confined(args) => weir_lab::process::confine::execute(args),
            Command::ContainersKeeper(args) => {
                weir_lab::topology::containers::project::execute(args)
            }
            Command::SelfCheck(args) => crate::study::calibrate::selfcheck::execute(args),
        }
    }
}
