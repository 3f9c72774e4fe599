//! One turn of one contender: load it, and see what it cost.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;

use super::{
    contender::{Logged, Running},
    upstreams::Upstreams,
    wrk::{Outcome, Wrk},
};

/// What one turn gave.
#[derive(Debug, Clone, Serialize)]
pub struct Turn {
    /// Contender.
    pub name: String,
    /// Client connections.
    pub connections: usize,
    /// Round, from 0.
    pub round: usize,
    /// Answers.
    pub requests: u64,
    /// Answers per second.
    pub rate: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of the latency in milliseconds.
    pub p99_ms: f64,
    /// CPU of the proxy in microseconds for each request, user space.
    pub user_us: f64,
    /// The same, in the kernel.
    pub system_us: f64,
    /// CPU of both upstream servers in microseconds for each request.
    pub upstream_us: f64,
    /// How busy the proxy was, in cores: at 1 it was the bottleneck.
    pub busy_cores: f64,
    /// Resident memory of the proxy in MB (1,000,000 bytes) after the turn.
    pub rss_mb: f64,
    /// Lines of access log for each answer: 1 if none is lost; 0 without a log.
    pub log_lines: f64,
    /// Length of such a line in bytes.
    pub log_line_bytes: f64,
}

impl Turn {
    /// CPU of the proxy in microseconds for each request.
    pub fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// What every turn has in common.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The servers behind the proxies.
    pub upstreams: &'a Upstreams,
    /// The load source.
    pub wrk: &'a Wrk,
    /// Length of a turn.
    pub duration: Duration,
    /// Whether the proxies write an access log, which is then counted.
    pub logs: bool,
}

/// Drives one contender for the length of a turn.
///
/// # Errors
///
/// When the proxy has ended, wrk fails, any request failed, or one of the servers was left out.
pub async fn turn(
    bench: &Bench<'_>,
    proxy: &mut Running,
    connections: usize,
    round: usize,
) -> anyhow::Result<Turn> {
    let Bench {
        upstreams,
        wrk,
        duration,
        logs,
    } = *bench;
    let name = proxy.name.clone();
    proxy.process.still_running()?;
    let (before, upstream_before, start) =
        (proxy.process.usage()?, upstreams.cpu()?, Instant::now());
    let outcome = wrk.run(proxy.address, connections, duration).await;
    // If the proxy is gone, say that, and not what wrk makes of it.
    proxy.process.still_running()?;
    let outcome = outcome?;
    let wall = start.elapsed();
    let used = proxy.process.usage()?.since(&before);
    let work: Vec<Duration> = upstreams
        .cpu()?
        .into_iter()
        .zip(upstream_before)
        .map(|(after, before)| after.saturating_sub(before))
        .collect();
    let logged = if logs {
        proxy.logged().await?
    } else {
        Logged::default()
    };
    proxy.truncate_log();
    same_job(&name, connections, &outcome, &work)?;
    let per_request = |time: Duration| time.as_secs_f64() * 1e6 / outcome.requests as f64;
    Ok(Turn {
        name,
        connections,
        round,
        requests: outcome.requests,
        rate: outcome.rate(),
        p50_ms: outcome.p50_us / 1e3,
        p99_ms: outcome.p99_us / 1e3,
        user_us: per_request(used.user),
        system_us: per_request(used.system),
        upstream_us: per_request(work.iter().sum()),
        busy_cores: used.cpu().as_secs_f64() / wall.as_secs_f64(),
        rss_mb: used.rss as f64 / 1e6,
        log_lines: logged.lines as f64 / outcome.requests as f64,
        log_line_bytes: logged.bytes as f64 / logged.lines.max(1) as f64,
    })
}

/// A proxy that fails requests, or leaves one server out, is not doing the same job as the others.
fn same_job(
    name: &str,
    connections: usize,
    outcome: &Outcome,
    work: &[Duration],
) -> anyhow::Result<()> {
    if outcome.errors() > 0 || outcome.requests == 0 {
        bail!(
            "{name} failed requests at {connections} connections: {} answers; errors: connect {}, read {}, write {}, \
             status {}, timeout {}",
            outcome.requests,
            outcome.connect_errors,
            outcome.read_errors,
            outcome.write_errors,
            outcome.status_errors,
            outcome.timeouts
        );
    }
    let total: Duration = work.iter().sum();
    let least = work.iter().min().copied().unwrap_or_default();
    // Half of an even share: least-connections is even here, within the clock tick of /proc.
    if least * 2 * u32::try_from(work.len())? < total {
        bail!("{name} does not share the requests out: the servers worked {work:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(requests: u64, status_errors: u64) -> Outcome {
        Outcome {
            requests,
            duration_us: 1_000_000,
            bytes: 0,
            connect_errors: 0,
            read_errors: 0,
            write_errors: 0,
            status_errors,
            timeouts: 0,
            p50_us: 1.0,
            p90_us: 1.0,
            p99_us: 1.0,
            p999_us: 1.0,
            max_us: 1.0,
        }
    }

    #[test]
    fn a_turn_counts_only_if_the_job_was_done() {
        let even = [Duration::from_millis(500), Duration::from_millis(480)];
        let skewed = [Duration::from_millis(900), Duration::from_millis(20)];
        assert!(same_job("a", 64, &outcome(1000, 0), &even).is_ok());
        assert!(same_job("a", 64, &outcome(1000, 0), &skewed).is_err());
        assert!(same_job("a", 64, &outcome(1000, 1), &even).is_err());
        assert!(same_job("a", 64, &outcome(0, 0), &even).is_err());
    }
}
