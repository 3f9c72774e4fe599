//! The command line of `weir-bench`: parse, dispatch, turn errors into exit codes.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use weir_bench::{cli::Cli, exit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::from_command_line().execute() {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
