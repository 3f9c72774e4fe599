//! What the commands have in common that start processes themselves and write a record of them.

use std::path::PathBuf;

use super::Setup;
use clap::ValueEnum;

/// Options that say where things are, and what is printed.
#[derive(Debug, clap::Args)]
pub struct SetupArgs {
    /// Where run folders go.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub results: PathBuf,
    /// The proxy's binary [default: beside this program].
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
    /// The proxy configuration to derive from.
    #[arg(long, value_name = "FILE", default_value = "config/proxy.toml")]
    pub proxy: PathBuf,
    /// Print the record as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
    /// No progress.
    #[arg(long, short)]
    pub quiet: bool,
}

impl SetupArgs {
    /// The setup that they ask for; all else as usual.
    #[must_use]
    pub fn setup(&self) -> Setup {
        Setup {
            results: self.results.clone(),
            weir: self.weir.clone(),
            proxy_config: self.proxy.clone(),
            ..Setup::default()
        }
    }
}

/// Client engine by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum EngineName {
    /// Cookies, a pool of connections per user.
    Session,
    /// Raw connections, least cost per request.
    Wire,
}
