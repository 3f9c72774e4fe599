//! `weir token`: tokens for the admin API.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use weir_api::endpoints::Scope;
use weir_proxy::admin::{TOKEN_NAME_ALLOWED, generate_token, is_token_name};

use crate::exit::{EXIT_FAILED, EXIT_USAGE};
use crate::output;

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
    if !is_token_name(&name) {
        output::complain(&format!(
            "weir token: {name:?} is not a token's name; allowed: {TOKEN_NAME_ALLOWED}"
        ));
        return ExitCode::from(EXIT_USAGE);
    }
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
        let text = format!("{token}\n\n# goes into the file that admin.tokens names:\n{entry}");
        return match output::print_for_certain(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(what) => failed(&what),
        };
    };
    let appended = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(&file)
        .and_then(|mut out| out.write_all(format!("{entry}\n").as_bytes()));
    match appended {
        Ok(()) => {
            if let Err(what) = output::print_for_certain(&format!("{token}\n")) {
                return failed(&format!(
                    "{what}; the token {name:?} in {} is of no use: remove it there",
                    file.display()
                ));
            }
            output::complain(&format!(
                "added to {}; a running proxy reads it on SIGHUP",
                file.display()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("cannot write {}: {error}", file.display())),
    }
}

fn failed(what: &str) -> ExitCode {
    output::complain(&format!("weir token: {what}"));
    ExitCode::from(EXIT_FAILED)
}
