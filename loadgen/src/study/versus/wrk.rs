//! `wrk`, the load source that none of the contenders wrote.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use weir_lab::process::owned::{find, pinned};

/// Lua that wrk runs once, after the load: it costs nothing while requests fly.
const REPORT: &str = r#"
done = function(summary, latency, requests)
  io.write(string.format('\nJSON {"requests":%d,"duration_us":%d,"bytes":%d,"connect_errors":%d,' ..
    '"read_errors":%d,"write_errors":%d,"status_errors":%d,"timeouts":%d,' ..
    '"p50_us":%.0f,"p90_us":%.0f,"p99_us":%.0f,"p999_us":%.0f,"max_us":%.0f}\n',
    summary.requests, summary.duration, summary.bytes, summary.errors.connect,
    summary.errors.read, summary.errors.write, summary.errors.status, summary.errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max))
end
"#;

/// What wrk reports about one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Answers received.
    pub requests: u64,
    /// Length of the run in microseconds.
    pub duration_us: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Connections that could not be made.
    pub connect_errors: u64,
    /// Connections broken while reading.
    pub read_errors: u64,
    /// Connections broken while writing.
    pub write_errors: u64,
    /// Answers with a status of 400 or more.
    pub status_errors: u64,
    /// Answers later than wrk's two seconds.
    pub timeouts: u64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Largest.
    pub max_us: f64,
}

impl Outcome {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / (self.duration_us as f64 / 1e6)
    }

    /// Everything that went wrong.
    pub fn errors(&self) -> u64 {
        self.connect_errors
            + self.read_errors
            + self.write_errors
            + self.status_errors
            + self.timeouts
    }
}

/// The load source, ready to run.
#[derive(Debug, Clone)]
pub struct Wrk {
    program: std::path::PathBuf,
    script: std::path::PathBuf,
    core: Option<usize>,
}

impl Wrk {
    /// Finds wrk and writes its script into `dir`.
    ///
    /// # Errors
    ///
    /// When wrk is not installed or the script cannot be written.
    pub fn prepare(dir: &Path, core: Option<usize>) -> anyhow::Result<Self> {
        let program =
            find("wrk").context("wrk is not installed; on Debian: apt-get install wrk")?;
        let script = dir.join("report.lua");
        std::fs::write(&script, REPORT)
            .with_context(|| format!("cannot write {}", script.display()))?;
        Ok(Self {
            program,
            script,
            core,
        })
    }

    /// One thread, `connections` kept-alive connections, as fast as answers come.
    ///
    /// # Errors
    ///
    /// When wrk fails or its report cannot be read.
    pub async fn run(
        &self,
        target: SocketAddr,
        connections: usize,
        duration: Duration,
    ) -> anyhow::Result<Outcome> {
        let seconds = duration.as_secs().max(1);
        let mut command = tokio::process::Command::from(pinned(&self.program, self.core));
        let output = command
            .args([
                "-t",
                "1",
                "-c",
                &connections.to_string(),
                "-d",
                &format!("{seconds}s"),
                "-s",
            ])
            .arg(&self.script)
            .arg(format!("http://{target}/"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(json) = text.lines().find_map(|line| line.strip_prefix("JSON ")) else {
            bail!(
                "wrk gave no report ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        };
        serde_json::from_str(json).with_context(|| format!("wrk's report cannot be read: {json}"))
    }
}
