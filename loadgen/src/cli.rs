//! Subcommands of `weir-bench`. Each one's arguments and code live in its own module.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{environment, stdio};

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
    Run(Box<crate::run::command::Args>),
    /// Show the whole idea: direct, one and two replicas, judged and compared, in two minutes.
    Demo(crate::demo::command::Args),
    /// Find contradictions between a scenario, a proxy configuration and the thresholds, by arithmetic.
    Lint(crate::lint::command::Args),
    /// Judge run folders again, with their own thresholds or with others.
    Gate(crate::judge::command::Args),
    /// Save runs under a name, for later ones to be compared with; list, show and remove them.
    Baseline(crate::baseline::command::Args),
    /// Compare runs with a baseline or with other runs; exit code 4 on a regression.
    Compare(crate::compare::command::Args),
    /// Write a scenario out of a HAR recording, an OpenAPI document or an access log.
    Import(crate::import::command::Args),
    /// Make the report of a run folder again.
    Report(crate::report::command::Args),
    /// Watch processes without any load: CPU, memory, descriptors, sockets, and whether they leak.
    Sample(crate::sample::command::Args),
    /// Draw a flame graph of what a process spends its CPU time on.
    Profile(crate::profile::command::Args),
    /// Find the highest rate, or the most users, with which the objectives hold.
    Search(crate::search::command::Args),
    /// Measure throughput and latency at several levels of load, in interleaved order.
    Sweep(crate::sweep::command::Args),
    /// Plan capacity: how many replicas a demand needs, from measured folders.
    Plan(crate::plan::command::Args),
    /// Join the shards of a run into one run folder, without loss.
    Merge(crate::merge::command::Args),
    /// Measure what the proxy costs against direct, in interleaved pairs of runs.
    Overhead(crate::overhead::command::Args),
    /// Kill a replica under load, start it again, and see how long the rest takes to recover.
    Recovery(crate::recovery::command::Args),
    /// Run the micro-benchmark suite: latency, concurrency, light, heavy, mixed, sustained, burst.
    Suite(crate::suite::command::Args),
    /// Serve the documented endpoints with a declared capacity: a stand-in for an API replica.
    Replica(crate::replica::command::Args),
    /// Search the live settings for values that meet an objective, and prove what was found.
    Autotune(Box<crate::experiment::autotune::command::Args>),
    /// Explain what further replicas buy: efficiency, scalability, bottleneck, slow and failing replicas.
    Scaling(crate::experiment::scaling::command::Args),
    /// Check the documented tuning table: every claim tried on this machine, proven or refuted.
    Tuning(Box<crate::experiment::command::Args>),
    /// Compare reverse proxies: weir, nginx and HAProxy under the same load on this machine.
    Versus(crate::versus::command::Args),
    /// Compare load generators: the wire and session engines beside wrk, hey, h2load and Locust.
    Engines(crate::calibrate::engines::Args),
    /// Be narrowed to some cores and memory, then become another program (what topologies start).
    #[command(hide = true)]
    Confined(crate::topology::confine::Args),
    /// Wait for the end of another process, then remove its containers (what topologies start).
    #[command(hide = true)]
    ContainersKeeper(crate::topology::containers::project::Args),
    /// Find the generator's own ceiling on this machine, and keep it.
    Calibrate(crate::calibrate::command::Args),
    /// Drive for minutes and judge the generator itself: memory and its growth, lateness, failures.
    SelfCheck(crate::calibrate::selfcheck::Args),
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
            Command::Run(args) => crate::run::command::execute(*args),
            Command::Demo(args) => crate::demo::command::execute(args),
            Command::Lint(args) => crate::lint::command::execute(args),
            Command::Gate(args) => crate::judge::command::execute(args),
            Command::Baseline(args) => crate::baseline::command::execute(args),
            Command::Compare(args) => crate::compare::command::execute(args),
            Command::Import(args) => crate::import::command::execute(args),
            Command::Report(args) => crate::report::command::execute(args),
            Command::Sample(args) => crate::sample::command::execute(args),
            Command::Profile(args) => crate::profile::command::execute(args),
            Command::Search(args) => crate::search::command::execute(args),
            Command::Sweep(args) => crate::sweep::command::execute(args),
            Command::Plan(args) => crate::plan::command::execute(args),
            Command::Merge(args) => crate::merge::command::execute(args),
            Command::Overhead(args) => crate::overhead::command::execute(args),
            Command::Recovery(args) => crate::recovery::command::execute(args),
            Command::Suite(args) => crate::suite::command::execute(args),
            Command::Replica(args) => crate::replica::command::execute(args),
            Command::Autotune(args) => crate::experiment::autotune::command::execute(*args),
            Command::Scaling(args) => crate::experiment::scaling::command::execute(args),
            Command::Tuning(args) => crate::experiment::command::execute(*args),
            Command::Versus(args) => crate::versus::command::execute(args),
            Command::Engines(args) => crate::calibrate::engines::execute(args),
            Command::Calibrate(args) => crate::calibrate::command::execute(args),
            Command::Confined(args) => crate::topology::confine::execute(args),
            Command::ContainersKeeper(args) => crate::topology::containers::project::execute(args),
            Command::SelfCheck(args) => crate::calibrate::selfcheck::execute(args),
        }
    }
}
