//! The generator against servers whose behaviour is known.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accuracy;
mod ceiling;
mod choosing;
mod contenders;
mod content;
mod failures;
mod folders;
mod gates;
mod h2_server;
mod models;
mod mtls;
mod pipes;
mod reporting;
mod scraping;
mod searching;
mod server;
mod sessions;
mod shards;
mod splitting;
mod transports;
mod truth;
mod viewing;
mod watching;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use weir_load::{
    progress::{NoProgress, Progress, Tick},
    run::{Outcome, RunError, RunOptions, drive},
    scenario::Scenario,
    stop::StopToken,
    target::Target,
};

/// A scenario of one request, with these lines of TOML at the top level and in `[load]`.
fn scenario(top: &str, load: &str) -> Scenario {
    let source = format!(
        "name = \"test\"\n{top}\n[load]\n{load}\n[[requests]]\nname = \"root\"\npath = \"/\"\n"
    );
    Scenario::parse(&source, "test").unwrap()
}

fn run(scenario: &Scenario, address: std::net::SocketAddr) -> Outcome {
    try_run(scenario, address, &StopToken::new()).unwrap()
}

fn try_run(
    scenario: &Scenario,
    address: std::net::SocketAddr,
    stop: &StopToken,
) -> Result<Outcome, RunError> {
    let target = Target::local(address).unwrap();
    let progress = Arc::new(NoProgress);
    drive(scenario, &target, &RunOptions::default(), progress, stop)
}

/// Progress that is kept.
#[derive(Default)]
struct Kept(Mutex<Vec<Tick>>);

impl Progress for Kept {
    fn tick(&self, tick: &Tick) {
        self.0.lock().unwrap().push(tick.clone());
    }
}

const ENGINES: [&str; 2] = ["wire", "session"];

/// Enough for any wait of these tests, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
