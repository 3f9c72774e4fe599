//! One engine, flat out, in a process of its own, so that its CPU time can be told apart.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::{
    run::{self, NoProgress, RunOptions, StopToken, Target},
    scenario::{Engine, Scenario},
};

/// What one flat-out run gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flat {
    /// Answers.
    pub requests: u64,
    /// Answers per second.
    pub rate: f64,
    /// Median latency in milliseconds, if the generator tells.
    pub p50_ms: Option<f64>,
    /// 99th percentile of the latency in milliseconds, if the generator tells.
    pub p99_ms: Option<f64>,
}

/// Load without a pause: as many users as connections, each sending as soon as it is answered.
fn scenario(engine: Engine, connections: u32, seconds: u64) -> anyhow::Result<Scenario> {
    let text = format!(
        r#"
name = "flat-out"
duration = "{seconds}s"
warmup = "0"
engine = "{engine}"
cookies = false

[load]
model = "closed"
users = {connections}
think_time = "0"

[[requests]]
name = "null"
path = "/"
"#,
        engine = engine.name()
    );
    Scenario::parse(&text, "flat-out").context("the built-in scenario is wrong")
}

/// Drives `target` with one engine and `threads` generator threads.
///
/// # Errors
///
/// When the run cannot be made, or a request fails.
pub fn flat_out(
    engine: Engine,
    target: SocketAddr,
    connections: u32,
    seconds: u64,
    threads: usize,
) -> anyhow::Result<Flat> {
    let options = RunOptions {
        threads,
        ..RunOptions::default()
    };
    let outcome = run::drive(
        &scenario(engine, connections, seconds)?,
        &Target::local(target)?,
        &options,
        Arc::new(NoProgress),
        &StopToken::on_signals()?,
    )?;
    let summary = outcome.summary;
    if summary.ok == 0 || summary.ok < summary.requests {
        bail!(
            "{} of {} requests failed: {:?}",
            summary.requests - summary.ok,
            summary.requests,
            summary.failures
        );
    }
    Ok(Flat {
        requests: summary.ok,
        rate: summary.throughput_rps,
        p50_ms: Some(summary.service.p50_ms),
        p99_ms: Some(summary.service.p99_ms),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_scenario_is_valid() {
        for engine in [Engine::Wire, Engine::Session] {
            let scenario = scenario(engine, 64, 3).unwrap();
            assert_eq!(scenario.lanes(), 64);
            assert_eq!(scenario.engine, engine);
        }
    }
}
