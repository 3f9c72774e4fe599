//! Generators that can be put side by side, each run as a process with one thread.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use weir_lab::process::owned::{find, pinned};
use weir_load::units::Rate;

use super::{inner::Flat, locust::Locust};
use crate::{results::ceiling::Way, study::versus::wrk::Wrk};

/// A generator.
#[derive(Debug, Clone)]
pub enum Driver {
    /// A client engine of this program.
    Own(Way),
    /// `wrk`.
    Wrk(Wrk),
    /// `h2load`, speaking HTTP/1.1.
    H2load(PathBuf),
    /// `hey`.
    Hey(PathBuf),
    /// Locust with `FastHttpUser`.
    Locust(Locust),
}

/// What a generator is to do.
#[derive(Debug, Clone)]
pub struct Order {
    /// Server.
    pub target: SocketAddr,
    /// Connections.
    pub connections: u32,
    /// Length in seconds.
    pub seconds: u64,
    /// Arrivals on a schedule, where the generator can; otherwise each connection asks again as
    /// soon as it is answered.
    pub rate: Option<Rate>,
    /// Core that the generator may use.
    pub core: Option<usize>,
    /// Folder for the latency of every single request, where a generator gives percentiles no
    /// other way; writing them costs it something.
    pub every_latency: Option<PathBuf>,
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
    /// `h2load`, `hey` and Locust, where installed.
    ///
    /// # Errors
    ///
    /// When what they need cannot be written into `dir`.
    pub fn others(dir: &Path) -> anyhow::Result<Vec<Self>> {
        let h2load = find("h2load").map(Self::H2load);
        let hey = find("hey").map(Self::Hey);
        let locust = Locust::prepare(dir)?.map(Self::Locust);
        Ok(h2load.into_iter().chain(hey).chain(locust).collect())
    }

    /// Name in tables.
    pub fn name(&self) -> String {
        match self {
            Self::Own(way) => way.to_string(),
            Self::Wrk(_) => "wrk".to_owned(),
            Self::H2load(_) => "h2load".to_owned(),
            Self::Hey(_) => "hey".to_owned(),
            Self::Locust(_) => "locust".to_owned(),
        }
    }

    /// How an engine of this program travels; `None` for other programs.
    pub fn way(&self) -> Option<Way> {
        match self {
            Self::Own(way) => Some(*way),
            _ => None,
        }
    }

    /// Step in which it reports a latency of some tens of milliseconds.
    pub fn step_ms(&self) -> f64 {
        match self {
            // Three significant digits: at 20 ms, steps of 16 µs.
            Self::Own(_) => 0.016,
            Self::Wrk(_) | Self::H2load(_) => 0.001,
            Self::Hey(_) => 0.1,
            Self::Locust(_) => 1.0,
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    ///
    /// When it fails, or any of its requests does.
    pub async fn turn(&self, order: &Order, round: usize) -> anyhow::Result<Turn> {
        let before = children_cpu()?;
        let flat = self
            .run(order)
            .await
            .with_context(|| format!("{} failed", self.name()))?;
        let used = children_cpu()?.saturating_sub(before);
        Ok(Turn {
            name: self.name(),
            round,
            cpu_us: used.as_secs_f64() * 1e6 / flat.requests.max(1) as f64,
            flat,
        })
    }

    async fn run(&self, order: &Order) -> anyhow::Result<Flat> {
        let url = format!("http://{}/", order.target);
        let connections = order.connections.to_string();
        let length = Duration::from_secs(order.seconds);
        let text = |program: &Path, args: Vec<String>| output(program.to_owned(), args, order.core);
        let words = |args: &[&str]| args.iter().map(|&arg| arg.to_owned()).collect();
        match self {
            Self::Own(way) => {
                let program = std::env::current_exe().context("where is this program?")?;
                let mut args: Vec<String> = words(&[
                    "engines",
                    "--inner",
                    &way.to_string(),
                    "--target",
                    &order.target.to_string(),
                    "--connections",
                    &connections,
                    "--seconds",
                    &order.seconds.to_string(),
                ]);
                if let Some(rate) = order.rate {
                    args.extend(["--rate".to_owned(), format!("{}/s", rate.get())]);
                }
                let text = text(&program, args).await?;
                let line = text.lines().last().unwrap_or_default();
                serde_json::from_str(line).with_context(|| format!("cannot read `{line}`"))
            }
            Self::Wrk(wrk) => {
                let outcome = wrk
                    .run(order.target, order.connections as usize, length)
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
                let seconds = order.seconds.to_string();
                let mut args: Vec<String> =
                    words(&["--h1", "-t", "1", "-c", &connections, "-D", &seconds]);
                let log = order.every_latency.as_ref().map(|dir| dir.join("h2load"));
                if let Some(log) = &log {
                    args.push(format!("--log-file={}", log.display()));
                }
                args.push(url);
                let mut flat = parse_h2load(&text(program, args).await?)?;
                if let Some(log) = log {
                    let lines = std::fs::read_to_string(&log)
                        .with_context(|| format!("h2load left no {}", log.display()))?;
                    std::fs::remove_file(&log)?;
                    (flat.p50_ms, flat.p99_ms) = h2load_percentiles(&lines);
                }
                Ok(flat)
            }
            Self::Hey(program) => {
                let seconds = format!("{}s", order.seconds);
                let args = words(&["-cpus", "1", "-c", &connections, "-z", &seconds, &url]);
                parse_hey(&text(program, args).await?)
            }
            Self::Locust(locust) => {
                let host = url.trim_end_matches('/');
                let args = locust.arguments(host, order.connections, length);
                text(locust.program(), args).await?;
                locust.figures()
            }
        }
    }
}

/// Median and 99th percentile, in milliseconds, of lines `start status microseconds`.
fn h2load_percentiles(lines: &str) -> (Option<f64>, Option<f64>) {
    let mut latencies: Vec<u64> = lines
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse().ok())
        .collect();
    latencies.sort_unstable();
    let at = |quantile: f64| {
        let rank = (quantile * latencies.len() as f64).ceil() as usize;
        let us = latencies.get(rank.saturating_sub(1))?;
        Some(*us as f64 / 1e3)
    };
    (at(0.50), at(0.99))
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
    fn h2load_latencies_become_percentiles() {
        let lines: String = (1..=200)
            .map(|n| format!("17000{n}\t200\t{n}000\n"))
            .collect();
        assert_eq!(h2load_percentiles(&lines), (Some(100.0), Some(198.0)));
        assert_eq!(h2load_percentiles(""), (None, None));
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
