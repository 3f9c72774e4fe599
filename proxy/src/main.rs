//! The `weir` binary.

#![forbid(unsafe_code)]

mod cli;
mod ctl;
mod exit;
mod explain;
mod output;
mod reload;
mod run;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::Cli::parse().execute()
}
