//! `weir token`: tokens for the admin API.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use weir_api::endpoints::Scope;
use weir_proxy::admin::generate_token;

use crate::cli::EXIT_FAILED;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, once: the file keeps only its SHA-256.
    New {
        /// Whose it is; the author of the changes made with it.
        name: String,
        /// What it may do; repeat it for several.
        #[arg(long, value_enum, default_values = ["read"])]
        scope: Vec<ScopeName>,
        /// The file of admin.tokens to append to; without it the entry is printed too.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Scopes that a token can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeName {
    /// Looking.
    Read,
    /// Changing.
    Write,
    /// Taking CPU profiles.
    Profile,
}

pub(crate) fn run(command: TokenCommand) -> ExitCode {
    let TokenCommand::New { name, scope, file } = command;
    let scopes: Vec<Scope> = scope
        .iter()
        .map(|name| match name {
            ScopeName::Read => Scope::Read,
            ScopeName::Write => Scope::Write,
            ScopeName::Profile => Scope::Profile,
        })
        .collect();
    let (token, entry) = generate_token(&name, &scopes);
    let Some(file) = file else {
        println!("{token}\n\n# goes into the file that admin.tokens names:\n{entry}");
        return ExitCode::SUCCESS;
    };
    let appended = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(&file)
        .and_then(|mut out| out.write_all(format!("{entry}\n").as_bytes()));
    match appended {
        Ok(()) => {
            println!("{token}");
            eprintln!(
                "added to {}; a running proxy reads it on SIGHUP",
                file.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("weir token: cannot write {}: {error}", file.display());
            ExitCode::from(EXIT_FAILED)
        }
    }
}
