//! Generators that can be put side by side, each run as a process with one thread.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

use super::inner::Flat;
use crate::{
    scenario::Engine,
    versus::{
        process::{find, pinned},
        wrk::Wrk,
    },
};

/// A generator.
#[derive(Debug, Clone)]
pub enum Driver {
    /// A client engine of this program.
    Own(Engine),
    /// `wrk`.
    Wrk(Wrk),
    /// `h2load`, speaking HTTP/1.1.
    H2load(PathBuf),
    /// `hey`.
    Hey(PathBuf),
}

/// What one turn gave.
#[derive(Debug, Clone, Serialize)]
pub struct Turn {
    /// Generator.
    pub name: String,
    /// Round, from 0.
    pub round: usize,
    /// What it measured.
    #[serde(flatten)]
    pub flat: Flat,
    /// CPU time of its process in microseconds for each request, start and end included.
    pub cpu_us: f64,
}

impl Turn {
    /// Requests for each second of CPU time: what one core would give if nothing else limited it.
    pub fn per_core(&self) -> f64 {
        1e6 / self.cpu_us
    }
}

impl Driver {
    /// `hey` and `h2load`, where installed.
    pub fn others() -> Vec<Self> {
        let h2load = find("h2load").map(Self::H2load);
        let hey = find("hey").map(Self::Hey);
        h2load.into_iter().chain(hey).collect()
    }

    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Own(engine) => engine.name(),
            Self::Wrk(_) => "wrk",
            Self::H2load(_) => "h2load",
            Self::Hey(_) => "hey",
        }
    }

    /// Runs it once, on `core` if one is named.
    ///
    /// # Errors
    ///
    /// When it fails, or any of its requests does.
    pub async fn turn(
        &self,
        target: SocketAddr,
        connections: u32,
        seconds: u64,
        core: Option<usize>,
        round: usize,
    ) -> anyhow::Result<Turn> {
        let before = children_cpu()?;
        let flat = self
            .run(target, connections, seconds, core)
            .await
            .with_context(|| format!("{} failed", self.name()))?;
        let used = children_cpu()?.saturating_sub(before);
        Ok(Turn {
            name: self.name().to_owned(),
            round,
            cpu_us: used.as_secs_f64() * 1e6 / flat.requests.max(1) as f64,
            flat,
        })
    }

    async fn run(
        &self,
        target: SocketAddr,
        connections: u32,
        seconds: u64,
        core: Option<usize>,
    ) -> anyhow::Result<Flat> {
        let url = format!("http://{target}/");
        let connections_text = connections.to_string();
        let text = |program: PathBuf, args: Vec<String>| output(program, args, core);
        match self {
            Self::Own(engine) => {
                let program = std::env::current_exe().context("where is this program?")?;
                let args = [
                    "engines",
                    "--inner",
                    engine.name(),
                    "--target",
                    &target.to_string(),
                    "--connections",
                    &connections_text,
                    "--seconds",
                    &seconds.to_string(),
                ];
                let text = text(program, args.map(str::to_owned).to_vec()).await?;
                let line = text.lines().last().unwrap_or_default();
                serde_json::from_str(line).with_context(|| format!("cannot read `{line}`"))
            }
            Self::Wrk(wrk) => {
                let outcome = wrk
                    .run(target, connections as usize, Duration::from_secs(seconds))
                    .await?;
                if outcome.errors() > 0 {
                    bail!("{} requests failed", outcome.errors());
                }
                Ok(Flat {
                    requests: outcome.requests,
                    rate: outcome.rate(),
                    p50_ms: Some(outcome.p50_us / 1e3),
                    p99_ms: Some(outcome.p99_us / 1e3),
                })
            }
            Self::H2load(program) => {
                let seconds = seconds.to_string();
                let args = [
                    "--h1",
                    "-t",
                    "1",
                    "-c",
                    &connections_text,
                    "-D",
                    &seconds,
                    &url,
                ];
                parse_h2load(&text(program.clone(), args.map(str::to_owned).to_vec()).await?)
            }
            Self::Hey(program) => {
                let seconds = format!("{seconds}s");
                let args = ["-cpus", "1", "-c", &connections_text, "-z", &seconds, &url];
                parse_hey(&text(program.clone(), args.map(str::to_owned).to_vec()).await?)
            }
        }
    }
}

async fn output(
    program: PathBuf,
    args: Vec<String>,
    core: Option<usize>,
) -> anyhow::Result<String> {
    let output = tokio::process::Command::from(pinned(&program, core))
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// CPU time of all children that have ended and been waited for.
fn children_cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(Duration::from_secs_f64(
        seconds(usage.user_time()) + seconds(usage.system_time()),
    ))
}

/// `finished in 3.00s, 123456.78 req/s, …` and `requests: 370370 total, … succeeded, 0 failed, …`.
fn parse_h2load(text: &str) -> anyhow::Result<Flat> {
    let requests = text
        .lines()
        .find_map(|l| l.strip_prefix("requests: "))
        .context("no `requests:` line")?;
    let count = |what: &str| {
        requests
            .split(", ")
            .find_map(|part| part.strip_suffix(what)?.trim().parse::<u64>().ok())
            .with_context(|| format!("no{what} in `{requests}`"))
    };
    if count(" failed")? > 0 {
        bail!("{requests}");
    }
    let rate = text
        .lines()
        .find_map(|l| {
            l.strip_prefix("finished in ")?
                .split(", ")
                .nth(1)?
                .strip_suffix(" req/s")?
                .parse()
                .ok()
        })
        .context("no `finished in` line")?;
    Ok(Flat {
        requests: count(" succeeded")?,
        rate,
        p50_ms: None,
        p99_ms: None,
    })
}

/// `Requests/sec: 12345.67`, `50%% in 0.0012 secs` and `[200] 12345 responses`.
fn parse_hey(text: &str) -> anyhow::Result<Flat> {
    let rate = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("Requests/sec:")?.trim().parse().ok())
        .context("no `Requests/sec:` line")?;
    let percentile = |percent: &str| -> Option<f64> {
        text.lines()
            .find_map(|l| {
                l.trim()
                    .strip_prefix(percent)?
                    .trim_start_matches('%')
                    .split_whitespace()
                    .nth(1)?
                    .parse()
                    .ok()
            })
            .map(|seconds: f64| seconds * 1e3)
    };
    let requests = text
        .lines()
        .find_map(|l| {
            l.trim()
                .strip_prefix("[200]")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .context("no answers with 200")?;
    if text.contains("Error distribution") {
        bail!("some requests failed");
    }
    Ok(Flat {
        requests,
        rate,
        p50_ms: percentile("50%"),
        p99_ms: percentile("99%"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn h2load_is_read() {
        let text = "finished in 3.00s, 92011.33 req/s, 31.33MB/s\n\
                    requests: 276034 total, 276098 started, 276034 done, 276034 succeeded, 0 failed, 0 errored, 0 timeout\n";
        let flat = parse_h2load(text).unwrap();
        assert_eq!((flat.requests, flat.rate), (276_034, 92_011.33));
        assert!(parse_h2load(&text.replace("0 failed", "3 failed")).is_err());
        assert!(parse_h2load("").is_err());
    }

    #[test]
    fn hey_is_read() {
        let text = "Summary:\n  Requests/sec:\t65432.10\n\nLatency distribution:\n  50%% in 0.0008 secs\n  99%% in 0.0030 secs\n\n\
                    Status code distribution:\n  [200]\t196296 responses\n";
        let flat = parse_hey(text).unwrap();
        assert_eq!((flat.requests, flat.rate), (196_296, 65_432.10));
        assert_eq!((flat.p50_ms, flat.p99_ms), (Some(0.8), Some(3.0)));
        assert!(parse_hey("nonsense").is_err());
    }
}
