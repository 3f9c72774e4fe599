//! The two servers behind every proxy: they answer 256 bytes at once, so that the proxy is what costs.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::ValueEnum;

use weir_lab::{
    host::probe,
    process::{
        free_address,
        owned::{Owned, find},
    },
};

/// What answers behind the proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `weir-bench replica --null`.
    Null,
    /// nginx with `return 200`.
    Nginx,
}

/// Servers that run and answer.
#[derive(Debug)]
pub struct Upstreams {
    /// Kept for their `Drop`, and for their CPU time.
    pub processes: Vec<Owned>,
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
}

impl Upstreams {
    /// Starts `count` servers in processes of their own.
    ///
    /// # Errors
    ///
    /// When one does not start or does not answer.
    pub async fn start(
        source: Source,
        count: usize,
        dir: &Path,
        core: Option<usize>,
    ) -> anyhow::Result<Self> {
        let mut started = Self {
            processes: Vec::new(),
            addresses: Vec::new(),
        };
        for number in 1..=count {
            let name = format!("upstream-{number}");
            let address = free_address()?;
            let dir = dir.join(&name);
            std::fs::create_dir_all(&dir)?;
            let (program, args) = match source {
                Source::Null => null_server(address)?,
                Source::Nginx => nginx_server(address, &dir)?,
            };
            let mut process = Owned::start(&name, &program, &args, core, &dir.join("output.log"))?;
            wait(&mut process, address).await?;
            started.processes.push(process);
            started.addresses.push(address);
        }
        Ok(started)
    }

    /// Starts one null server whose answers take this long.
    ///
    /// # Errors
    ///
    /// As [`Upstreams::start`].
    pub async fn delayed(delay: Duration, dir: &Path, core: Option<usize>) -> anyhow::Result<Self> {
        let delay = format!("{}us", delay.as_micros());
        Self::null(&["--delay", &delay], dir, core).await
    }

    /// Starts one null server that speaks TLS.
    ///
    /// # Errors
    ///
    /// As [`Upstreams::start`].
    pub async fn secure(dir: &Path, core: Option<usize>) -> anyhow::Result<Self> {
        Self::null(&["--tls"], dir, core).await
    }

    async fn null(more: &[&str], dir: &Path, core: Option<usize>) -> anyhow::Result<Self> {
        let address = free_address()?;
        let (program, mut args) = null_server(address)?;
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        let log = dir.join("null.log");
        let mut process = Owned::start("null server", &program, &args, core, &log)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(address).await.is_err() {
            process.still_running()?;
            if Instant::now() > deadline {
                bail!("the null server at {address} accepts no connections");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            processes: vec![process],
            addresses: vec![address],
        })
    }

    /// CPU time of each of them so far.
    ///
    /// # Errors
    ///
    /// When one has ended.
    pub fn cpu(&self) -> anyhow::Result<Vec<Duration>> {
        self.processes
            .iter()
            .map(|process| Ok(process.usage()?.cpu()))
            .collect()
    }
}

fn null_server(address: SocketAddr) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let program = std::env::current_exe().context("where is this program?")?;
    let args = ["replica", "--null", "--listen", &address.to_string()];
    Ok((program, args.map(str::to_owned).to_vec()))
}

fn nginx_server(address: SocketAddr, dir: &Path) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let program = find("nginx").context("nginx is not installed")?;
    let (body, prefix) = ("x".repeat(256), dir.display());
    let config = dir.join("nginx.conf");
    std::fs::write(
        &config,
        format!(
            "daemon off; worker_processes 1; pid {prefix}/nginx.pid; error_log {prefix}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_timeout 600s; keepalive_requests 1000000000;
    server {{ listen {address} backlog=4096; location / {{ return 200 {body}; }} }}
}}
"
        ),
    )?;
    let error_log = format!("{prefix}/error.log");
    let config = config.display().to_string();
    let prefix = prefix.to_string();
    let args = ["-p", &prefix, "-e", &error_log, "-c", &config];
    Ok((program, args.map(str::to_owned).to_vec()))
}

async fn wait(process: &mut Owned, address: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        process.still_running()?;
        let Err(error) = probe::get(address).await else {
            return Ok(());
        };
        if Instant::now() > deadline {
            bail!("the upstream server at {address} does not answer: {error:#}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
