//! Whether generators agree about latency: all of them against one server whose answers take a known
//! time, which fixes the load of those that wait for answers as well.

use std::{net::SocketAddr, path::Path, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use weir_load::units::Rate;

use super::driver::{Driver, Order};
use crate::study::versus::{report::number, upstreams::Upstreams};

/// Time that each answer of the server takes.
const DELAY: Duration = Duration::from_millis(20);
/// Connections: with `DELAY` they can carry 800 requests per second.
const CONNECTIONS: u32 = 16;
/// Share of that which the open model offers.
const OFFERED: f64 = 0.5;

/// What one generator says about the server.
#[derive(Debug, Clone, Serialize)]
pub struct Opinion {
    /// Generator.
    pub name: String,
    /// `closed`: each connection asks again when it is answered; `open`: arrivals on a schedule.
    pub model: &'static str,
    /// Requests per second.
    pub rate: f64,
    /// Median, milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
    /// How far the median is above what the server takes, percent.
    pub p50_above_percent: Option<f64>,
    /// How far the 99th percentile is above it, percent.
    pub p99_above_percent: Option<f64>,
    /// Step in which the generator reports latencies, milliseconds.
    pub step_ms: f64,
}

/// What they all say.
#[derive(Debug, Clone, Serialize)]
pub struct Agreement {
    /// Time that each answer takes, milliseconds.
    pub delay_ms: f64,
    /// Connections.
    pub connections: u32,
    /// One entry a generator and model.
    pub opinions: Vec<Opinion>,
}

impl Agreement {
    /// Asks every driver once; those of this program a second time with arrivals on a schedule.
    ///
    /// # Errors
    ///
    /// When the server does not start, or a generator fails.
    pub async fn ask(
        drivers: &[Driver],
        seconds: u64,
        dir: &Path,
        cores: (Option<usize>, Option<usize>),
    ) -> anyhow::Result<Self> {
        let dir = dir.join("agreement");
        std::fs::create_dir_all(&dir)?;
        let (generator, server) = cores;
        let servers = Upstreams::delayed(DELAY, &dir, server).await?;
        let Some(&target) = servers.addresses.first() else {
            anyhow::bail!("no server runs");
        };
        let mut opinions = Vec::new();
        for driver in drivers {
            opinions.push(opinion(driver, target, seconds, None, generator, &dir).await?);
        }
        let most = f64::from(CONNECTIONS) / DELAY.as_secs_f64();
        let rate = Rate::per_second(most * OFFERED)?;
        for driver in drivers.iter().filter(|d| d.way().is_some()) {
            opinions.push(opinion(driver, target, seconds, Some(rate), generator, &dir).await?);
        }
        Ok(Self {
            delay_ms: DELAY.as_secs_f64() * 1e3,
            connections: CONNECTIONS,
            opinions,
        })
    }

    /// As text.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header([
            "generator",
            "model",
            "requests/s",
            "p50 ms",
            "above",
            "p99 ms",
            "above",
            "in steps of",
        ]);
        for one in &self.opinions {
            let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| number(v, 2));
            let percent = |value: Option<f64>| {
                value.map_or_else(|| "–".to_owned(), |v| format!("{} %", number(v, 1)))
            };
            table.add_row([
                one.name.clone(),
                one.model.to_owned(),
                number(one.rate, 0),
                ms(one.p50_ms),
                percent(one.p50_above_percent),
                ms(one.p99_ms),
                percent(one.p99_above_percent),
                format!("{} ms", one.step_ms),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!(
            "What they say about a server whose answers take {} ms, over {} connections:\n{table}",
            self.delay_ms, self.connections
        )
    }
}

async fn opinion(
    driver: &Driver,
    target: SocketAddr,
    seconds: u64,
    rate: Option<Rate>,
    core: Option<usize>,
    dir: &Path,
) -> anyhow::Result<Opinion> {
    let order = Order {
        target,
        connections: CONNECTIONS,
        seconds,
        rate,
        core,
        every_latency: Some(dir.to_owned()),
    };
    let flat = driver.turn(&order, 0).await?.flat;
    let delay = DELAY.as_secs_f64() * 1e3;
    let above = |ms: Option<f64>| ms.map(|ms| (ms / delay - 1.0) * 100.0);
    Ok(Opinion {
        name: driver.name(),
        model: if rate.is_some() { "open" } else { "closed" },
        rate: flat.rate,
        p50_ms: flat.p50_ms,
        p99_ms: flat.p99_ms,
        p50_above_percent: above(flat.p50_ms),
        p99_above_percent: above(flat.p99_ms),
        step_ms: driver.step_ms(),
    })
}
