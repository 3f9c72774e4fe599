//! One engine in a process of its own, so that its CPU time can be told apart.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use weir_load::{
    progress::NoProgress,
    run::{self, RunOptions},
    scenario::Scenario,
    stop::StopToken,
    target::Target,
    units::Rate,
};

use crate::results::ceiling::Way;

/// What one run gave.
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

/// What an engine is to do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections.
    pub connections: u32,
    /// Length in seconds.
    pub seconds: u64,
    /// Arrivals on a schedule; without it, each connection asks again as soon as it is answered.
    pub rate: Option<Rate>,
}

fn scenario(way: Way, load: Load) -> anyhow::Result<Scenario> {
    let Load {
        connections,
        seconds,
        rate,
    } = load;
    let (top, model) = match rate {
        None => (
            String::new(),
            format!("model = \"closed\"\nusers = {connections}\nthink_time = \"0\""),
        ),
        Some(rate) => (
            format!("connections = {connections}"),
            format!("model = \"open\"\nrate = \"{}/s\"", rate.get()),
        ),
    };
    let text = format!(
        r#"
name = "flat-out"
duration = "{seconds}s"
warmup = "0"
engine = "{engine}"
cookies = false
{top}

[load]
{model}

[http]
version = "{version}"

[tls]
insecure = {insecure}

[[requests]]
name = "null"
path = "/"
"#,
        engine = way.engine().name(),
        version = way.version().name(),
        insecure = way.is_secure(),
    );
    Scenario::parse(&text, "flat-out").context("the built-in scenario is wrong")
}

/// Drives `target` one way, with one generator thread.
///
/// # Errors
///
/// When the run cannot be made, or a request fails.
pub fn drive(way: Way, target: SocketAddr, load: Load) -> anyhow::Result<Flat> {
    let scheme = if way.is_secure() { "https" } else { "http" };
    let outcome = run::drive(
        &scenario(way, load)?,
        &Target::new(&[format!("{scheme}://{target}")], &[])?,
        &RunOptions::default(),
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
        p50_ms: Some(summary.response.p50_ms),
        p99_ms: Some(summary.response.p99_ms),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_scenario_is_valid() {
        for way in Way::all() {
            for rate in [None, Some(Rate::per_second(400.0).unwrap())] {
                let load = Load {
                    connections: 64,
                    seconds: 3,
                    rate,
                };
                let scenario = scenario(way, load).unwrap();
                assert_eq!(scenario.lanes(), 64);
                assert_eq!(scenario.engine, way.engine());
                assert_eq!(scenario.http.version, way.version());
            }
        }
    }
}
