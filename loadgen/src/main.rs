//! The command line of `weir-bench`: parse, dispatch, turn errors into exit codes.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use weir_bench::{cli::Cli, exit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
