//! What an idle client connection costs in memory.
//!
//! Measured in a proxy of its own, started fresh and warmed up, because memory that an earlier
//! load has left behind would hide the growth. Only memory of the process counts; the kernel's
//! socket buffers are the same for all contenders and are not in it.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::{net::TcpStream, task::JoinSet};
use weir_lab::{host::probe, proxies::compared::Features};

use super::contender::{Contender, Running};

/// Connections opened at the same time while the crowd builds up.
const OPENING: usize = 32;
/// Time for a proxy to do what it does after the last connection.
const SETTLE: Duration = Duration::from_millis(1500);

/// KB (1,000 bytes) of resident memory for each idle connection.
#[derive(Debug, Clone, Serialize)]
pub struct IdleCost {
    /// Contender.
    pub name: String,
    /// Connections held.
    pub connections: usize,
    /// After one request and its answer.
    pub after_request_kb: f64,
    /// Connected, nothing sent yet.
    pub silent_kb: f64,
}

/// Measures one contender, twice from fresh.
///
/// # Errors
///
/// When it cannot be started or does not hold that many connections.
pub async fn measure(
    contender: &Contender,
    dir: &Path,
    servers: &[SocketAddr],
    features: Features,
    core: Option<usize>,
    connections: usize,
) -> anyhow::Result<IdleCost> {
    let mut costs = [0.0; 2];
    for (variant, cost) in costs.iter_mut().enumerate() {
        let asks = variant == 0;
        let dir = dir.join(format!("idle-{}-{variant}", contender.name));
        let mut proxy = contender.start(&dir, servers, features, core).await?;
        *cost = growth(&mut proxy, connections, asks)
            .await
            .with_context(|| format!("{}: idle connections", contender.name))?;
    }
    let [after_request_kb, silent_kb] = costs;
    Ok(IdleCost {
        name: contender.name.clone(),
        connections,
        after_request_kb,
        silent_kb,
    })
}

async fn growth(proxy: &mut Running, connections: usize, asks: bool) -> anyhow::Result<f64> {
    // Buffers, pools and lazily built tables belong to the proxy, not to the connections.
    drop(open(proxy.address, OPENING, true).await?);
    tokio::time::sleep(SETTLE).await;
    let before = proxy.process.usage()?.rss;
    let opened = open(proxy.address, connections, asks).await;
    // If the proxy is gone, say that, and not that a connection was refused.
    proxy.process.still_running()?;
    let mut held = opened?;
    tokio::time::sleep(SETTLE).await;
    let after = proxy.process.usage()?.rss;
    // Whoever has closed connections meanwhile must not look cheap.
    if let Some(last) = held.first_mut() {
        probe::request(last)
            .await
            .context("the first idle connection was closed")?;
    }
    Ok((after as f64 - before as f64) / connections as f64 / 1000.0)
}

async fn open(address: SocketAddr, count: usize, asks: bool) -> anyhow::Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let mut opening = JoinSet::new();
        for _ in 0..OPENING.min(count - held.len()) {
            opening.spawn(async move {
                let mut stream = TcpStream::connect(address).await?;
                if asks {
                    probe::request(&mut stream).await?;
                }
                anyhow::Ok(stream)
            });
        }
        while let Some(opened) = opening.join_next().await {
            let opened = opened.context("a connection task failed")?;
            held.push(opened.with_context(|| format!("connection {} of {count}", held.len() + 1))?);
        }
    }
    ensure!(
        held.len() == count,
        "opened {} of {count} connections",
        held.len()
    );
    Ok(held)
}
