//! The command line of `weir ctl`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use weir_api::{client::Terms, units::parse_duration};

use super::input::{self, Assignment};

/// Options of `weir ctl`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CtlArgs {
    /// Admin API of a proxy: ADDRESS:PORT, https://HOST:PORT or unix:/PATH; repeat it for several.
    /// Without it $WEIR_NODE counts (several separated by commas), then 127.0.0.1:9900.
    #[arg(long, value_name = "NODE", global = true)]
    pub(super) node: Vec<String>,
    /// File that holds the token to show; without it $WEIR_TOKEN counts.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) token_file: Option<PathBuf>,
    /// Certificates (PEM) that may have signed the proxy's; without it those of the system.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) ca: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER_HELP: &str = "\
PATH is a setting as in the configuration file, timeouts.connect or timeouts/connect. VALUE is JSON if it
reads as JSON, otherwise text; null means the default.
With several nodes a change is first checked on all of them, and made only if all of them accept it.
Exit codes: 0 done; 1 failed, for instance a node that cannot be reached; 2 wrong usage, or a value that is
not allowed.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the settings in force, all of them or those at PATH.
    Get {
        /// A setting, or a table of settings.
        path: Option<String>,
    },
    /// Change settings until the proxy stops, or for good with `save`.
    Set {
        /// Settings with their new values.
        #[arg(required = true, value_name = "PATH=VALUE", value_parser = input::assignment)]
        assignments: Vec<Assignment>,
        #[command(flatten)]
        how: How,
    },
    /// Show what `apply` would change.
    Diff {
        /// A TOML or JSON file with live settings, or what `get --json` printed; "-" is standard input.
        file: PathBuf,
    },
    /// Change every setting that a file has.
    Apply {
        /// A TOML or JSON file with live settings, or what `get --json` printed; "-" is standard input.
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Change settings for a time: `override PATH=VALUE… --ttl 10m`, or look after such changes.
    Override(OverrideArgs),
    /// Show who changed what, when and why.
    Revisions {
        /// How many, the newest first.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Bring the lasting settings back to those of an older revision, as a new one.
    Rollback {
        /// The revision's number.
        revision: u64,
        #[command(flatten)]
        how: How,
    },
    /// Write the lasting settings (without overrides) to the proxy's configuration file.
    Save {
        #[command(flatten)]
        how: How,
    },
    /// Take every change back that was made by `set` or `apply` and not saved.
    Discard {
        #[command(flatten)]
        how: How,
    },
    /// Read the configuration file again, as SIGHUP does; --dry-run shows what that would change.
    Reload {
        #[command(flatten)]
        how: How,
    },
    /// Show the servers and what they are doing.
    Upstreams,
    /// Show the rate limits and what they have decided.
    Limits,
    /// Add, remove, change or drain one server of an upstream.
    Server {
        #[command(subcommand)]
        command: ServerCommand,
    },
    /// Give a server no new requests and wait until those in flight are done; exit code 1 if some remain.
    Drain(DrainArgs),
    /// Print what happens, as it happens.
    Watch,
    /// Show rates, latencies, servers and limits, live; `q` ends it. Once, as plain text, without a terminal.
    Top {
        /// Print one picture as plain text and end.
        #[arg(long)]
        once: bool,
    },
    /// Draw where the proxy spends its processor time, as a flame graph (admin.profile must allow it).
    Profile {
        /// How long to look.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
        seconds: u32,
        /// Samples per second of processor time.
        #[arg(long, default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=1000))]
        frequency: u32,
        /// The file to write, SVG.
        #[arg(long, short, default_value = "weir-profile.svg", value_name = "FILE")]
        output: PathBuf,
    },
}

/// How a change is made.
#[derive(Debug, Default, Args)]
pub(super) struct How {
    /// Why, for the list of revisions.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Check, and show what would change, but change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Make the change only while the settings are at this revision.
    #[arg(long, value_name = "NUMBER")]
    if_revision: Option<u64>,
}

/// What makes terms of a change.
pub(super) trait WithHow {
    fn terms(&self) -> Terms;
}

impl WithHow for How {
    fn terms(&self) -> Terms {
        let user = ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
        Terms {
            dry_run: self.dry_run,
            expected: self.if_revision,
            who: user.unwrap_or_else(|| "weir ctl".to_owned()),
            why: self.reason.clone(),
        }
    }
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct OverrideArgs {
    #[command(subcommand)]
    pub(super) action: Option<OverrideAction>,
    /// Settings with their new values.
    #[arg(required = true, value_name = "PATH=VALUE", value_parser = input::assignment)]
    pub(super) assignments: Vec<Assignment>,
    /// How long, from 1s to 24h.
    #[arg(long, required = true, value_parser = parse_duration, value_name = "DURATION")]
    pub(super) ttl: Option<Duration>,
    /// Who wants it; the user by default.
    #[arg(long)]
    pub(super) owner: Option<String>,
    #[command(flatten)]
    pub(super) how: How,
}

#[derive(Debug, Subcommand)]
pub(super) enum OverrideAction {
    /// Show the overrides that have not ended.
    Ls,
    /// Let an override last for --ttl from now.
    Renew {
        /// Its id.
        id: String,
        /// How long; as long as at first if it is left out.
        #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
        ttl: Option<Duration>,
    },
    /// End an override now.
    Rm {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ServerCommand {
    /// Add a server.
    Add {
        /// The upstream's name.
        upstream: String,
        /// Where it listens, host:port.
        address: String,
        /// Its settings: weight, max_fails, fail_timeout, max_conns, backup, down.
        #[arg(value_name = "FIELD=VALUE", value_parser = input::assignment)]
        fields: Vec<Assignment>,
        #[command(flatten)]
        how: How,
    },
    /// Remove a server; requests in flight on it finish.
    Rm {
        /// The upstream's name.
        upstream: String,
        /// The server's address as the settings have it.
        address: String,
        #[command(flatten)]
        how: How,
    },
    /// Change settings of a server: `server set api 10.0.0.5:80 weight=2 down=false`.
    Set {
        /// The upstream's name.
        upstream: String,
        /// The server's address as the settings have it.
        address: String,
        /// weight, max_fails, fail_timeout, max_conns, backup, down.
        #[arg(required = true, value_name = "FIELD=VALUE", value_parser = input::assignment)]
        fields: Vec<Assignment>,
        #[command(flatten)]
        how: How,
    },
    /// Give a server no new requests and wait until those in flight are done; exit code 1 if some remain.
    Drain(DrainArgs),
}

/// Options of a drain.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// The upstream's name.
    pub(super) upstream: String,
    /// The server's address as the settings have it.
    pub(super) address: String,
    /// How long to wait, up to 10m.
    #[arg(long, default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    pub(super) wait: Duration,
    #[command(flatten)]
    pub(super) how: How,
}
