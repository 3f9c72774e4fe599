//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::exit::EXIT_USAGE;
use crate::output;

/// A reverse-proxy load balancer that can be tuned while it runs.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Signals: SIGTERM and SIGINT finish the requests in flight and exit; SIGQUIT hands the sockets to a process that
was started with --upgrade and, when that serves, does the same (without such a process it changes nothing);
SIGHUP reads the file again; SIGUSR1 opens the logs anew.
Exit codes: 0 fine, 1 failed at run time (a port in use, …), 2 wrong usage or invalid configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy in the foreground.
    Run(RunArgs),
    /// Check a configuration file and say what it does, or what is wrong with it and where.
    Check {
        /// The file to check.
        file: PathBuf,
    },
    /// Read and change the settings of running proxies.
    Ctl(super::ctl::CtlArgs),
    /// Explain the settings: unit, range, default, when a change applies, nginx's name.
    Settings(super::explain::SettingsArgs),
    /// Make tokens for the admin API.
    Token {
        #[command(subcommand)]
        command: super::token::TokenCommand,
    },
    /// Print a script that completes the command line in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Shells with completions.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Options of `weir run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// The configuration file (TOML).
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// When ready, write the addresses in use to this file, as JSON:
    /// {"listeners":["ADDRESS:PORT"],"admin":"ADDRESS:PORT","pid":N}. Useful with port 0.
    #[arg(long, value_name = "FILE")]
    pub(crate) ports_file: Option<PathBuf>,
    /// Take the listening sockets over from the process that runs now. Start the new process with
    /// this: it opens everything else and waits at server.upgrade_socket for 10 s. Then send SIGQUIT
    /// to the old one: it hands its sockets over, and when the new one serves it drains. No connection
    /// is refused meanwhile, and if the new process fails the old one goes on.
    #[arg(long)]
    pub(crate) upgrade: bool,
    /// Exit, as on SIGTERM, when process PID, the one that starts this, is not its parent any more.
    /// For test harnesses.
    #[arg(long, value_name = "PID")]
    pub(crate) exit_with_parent: Option<u32>,
}

impl Cli {
    pub(crate) fn execute(self) -> ExitCode {
        match self.command {
            Command::Run(args) => super::run::run(&args),
            Command::Check { file } => check(&file),
            Command::Ctl(args) => super::ctl::run(args),
            Command::Settings(args) => super::explain::run(&args),
            Command::Token { command } => super::token::run(command),
            Command::Completions { shell } => completions(shell),
        }
    }
}

fn completions(shell: Shell) -> ExitCode {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    output::print_as_is(&String::from_utf8_lossy(&script)).code(0)
}

fn check(file: &std::path::Path) -> ExitCode {
    match weir_proxy::config::check(file) {
        Ok(summary) => output::print(&summary.to_string()).code(0),
        Err(problems) => {
            output::complain(&problems);
            ExitCode::from(EXIT_USAGE)
        }
    }
}
