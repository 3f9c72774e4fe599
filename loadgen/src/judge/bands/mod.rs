//! Target bands: how good a figure is, in four steps, beside the gate that only passes or fails.
//!
//! A band is *target* up to the first limit, *acceptable* up to the second, *poor* up to the third
//! and *critical* beyond. A metric with two limits ends at *poor*, one with a single limit knows
//! *target* and *poor*. Bands fail no gate.

mod file;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::path::Path;

use comfy_table::{Cell, CellAlignment, Color, Table};
use serde::{Deserialize, Serialize};
use weir_lab::sample::growth::Growth;
use weir_load::{
    config_file::ConfigError,
    summary::{Latency, ProcessSummary, Summary},
    units::{milliseconds, percent, rounded},
};

use crate::text::plain_table;

/// Where the bands are when no file is named.
const DEFAULT_FILE: &str = "config/bands.toml";
/// The generator is the instrument, and not under test.
const GENERATOR: &str = "generator";
/// Measured time from which memory "after an hour" can be judged, seconds.
const HOUR_S: f64 = 3600.0;
/// Bytes in a megabyte.
const MB: f64 = 1e6;

/// Limits of the bands.
#[derive(Debug, Clone, PartialEq)]
pub struct Bands {
    /// Percentiles of the response time (50 to 100), with limits in milliseconds.
    pub latency: Vec<(f64, Limits)>,
    /// Failed share of all requests, by load.
    pub errors: Vec<ByLoad>,
    /// Resident memory at the start of a process under test, bytes.
    pub memory_initial: Option<Limits>,
    /// Growth of resident memory, bytes per minute.
    pub memory_growth: Option<Limits>,
    /// Largest resident memory in a run of an hour or more, bytes.
    pub memory_after_hour: Option<Limits>,
    /// CPU of a process under test as a share of one core, by load.
    pub cpu: Vec<ByLoad>,
    /// Successful requests per second that a concurrency must reach: (concurrency, least).
    pub throughput: Vec<(u64, f64)>,
}

/// Limits that hold up to a load.
#[derive(Debug, Clone, PartialEq)]
pub struct ByLoad {
    /// Largest load, in users or requests in flight; `None` has no end.
    pub up_to: Option<u64>,
    /// The limits.
    pub limits: Limits,
}

/// One to three limits, rising.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits(Vec<f64>);

/// How good a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// As good as it should be.
    Target,
    /// Good enough.
    Acceptable,
    /// Not good enough.
    Poor,
    /// Beyond everything.
    Critical,
    /// Nothing was measured to tell.
    NotMeasured,
}

impl Band {
    /// The word in tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Acceptable => "acceptable",
            Self::Poor => "poor",
            Self::Critical => "CRITICAL",
            Self::NotMeasured => "not measured",
        }
    }
}

/// One figure with its band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BandRow {
    /// What, e.g. `p95` or `memory growth of weir`.
    pub metric: String,
    /// Measured value with its unit.
    pub value: String,
    /// The limits with their unit, from target on.
    pub limits: String,
    /// The band.
    pub band: Band,
    /// What a reader must know; empty when nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Limits {
    fn band(&self, value: f64) -> Band {
        let beyond = self.0.iter().filter(|limit| value > **limit).count();
        match (beyond, self.0.len()) {
            (0, _) => Band::Target,
            (1, 1) => Band::Poor,
            (1, _) => Band::Acceptable,
            (2, _) => Band::Poor,
            _ => Band::Critical,
        }
    }

    fn text(&self, write: fn(f64) -> String) -> String {
        let limits: Vec<_> = self.0.iter().map(|limit| write(*limit)).collect();
        limits.join(" / ")
    }
}

impl Bands {
    /// The bands of a file; without one, those of `config/bands.toml` if that exists, else the
    /// documented ones.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or a value in it is wrong.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        match path {
            Some(path) => file::read(path),
            None if Path::new(DEFAULT_FILE).is_file() => file::read(Path::new(DEFAULT_FILE)),
            None => Ok(Self::documented()),
        }
    }

    /// The documented bands.
    #[must_use]
    pub fn documented() -> Self {
        let limits = |values: &[f64]| Limits(values.to_vec());
        let by_load = |up_to, values: &[f64]| ByLoad {
            up_to,
            limits: limits(values),
        };
        Self {
            latency: vec![
                (50.0, limits(&[200.0, 500.0, 1000.0])),
                (95.0, limits(&[500.0, 1000.0, 2000.0])),
                (99.0, limits(&[1000.0, 2000.0, 3000.0])),
                (99.9, limits(&[2000.0, 3000.0, 5000.0])),
            ],
            errors: vec![
                by_load(Some(99), &[0.001, 0.01]),
                by_load(Some(300), &[0.01, 0.05]),
                by_load(None, &[0.05, 0.10]),
            ],
            memory_initial: Some(limits(&[500e6, 1e9])),
            memory_growth: Some(limits(&[5e6, 10e6])),
            memory_after_hour: Some(limits(&[1e9, 2e9])),
            cpu: vec![
                by_load(Some(0), &[0.05, 0.10]),
                by_load(Some(50), &[0.50, 0.75]),
                by_load(Some(100), &[0.75, 0.90]),
            ],
            throughput: vec![(1, 10.0), (10, 30.0), (50, 50.0), (100, 60.0)],
        }
    }

    /// Puts the figures of a run into bands. `load` is the number of users, or of requests in
    /// flight on average in an open model.
    #[must_use]
    pub fn judge(&self, summary: &Summary, growth: &[Growth], load: f64) -> Vec<BandRow> {
        let mut rows = Vec::new();
        if summary.requests == 0 {
            return rows;
        }
        for (percentile, limits) in &self.latency {
            rows.push(latency_row(&summary.response, *percentile, limits));
        }
        if let Some((limits, note)) = by_load(&self.errors, load) {
            rows.push(row("error rate", summary.error_rate, limits, percent, note));
        }
        rows.extend(self.throughput_row(summary, load));
        let under_test = |process: &&ProcessSummary| process.name != GENERATOR;
        for process in summary.processes.iter().filter(under_test) {
            self.process_rows(process, summary.duration_s, load, &mut rows);
            let growth = growth.iter().find(|growth| growth.process == process.name);
            if let (Some(growth), Some(limits)) = (growth, &self.memory_growth) {
                rows.push(growth_row(growth, limits));
            }
        }
        rows
    }

    fn throughput_row(&self, summary: &Summary, load: f64) -> Option<BandRow> {
        let (concurrency, least) = self
            .throughput
            .iter()
            .filter(|(concurrency, _)| *concurrency as f64 <= load)
            .max_by_key(|(concurrency, _)| *concurrency)?;
        let band = if summary.throughput_rps >= *least {
            Band::Target
        } else {
            Band::Poor
        };
        Some(BandRow {
            metric: "throughput".to_owned(),
            value: per_second(summary.throughput_rps),
            limits: format!("at least {}", per_second(*least)),
            band,
            note: format!("from concurrency {concurrency} on"),
        })
    }

    fn process_rows(
        &self,
        process: &ProcessSummary,
        duration_s: f64,
        load: f64,
        rows: &mut Vec<BandRow>,
    ) {
        let name = &process.name;
        if let Some((limits, note)) = by_load(&self.cpu, load) {
            let share = process.cpu_percent / 100.0;
            rows.push(row(&format!("CPU of {name}"), share, limits, percent, note));
        }
        if let Some(limits) = &self.memory_initial {
            let metric = format!("initial memory of {name}");
            rows.push(row(
                &metric,
                process.rss_start as f64,
                limits,
                bytes,
                String::new(),
            ));
        }
        if let Some(limits) = self
            .memory_after_hour
            .as_ref()
            .filter(|_| duration_s >= HOUR_S)
        {
            let metric = format!("largest memory of {name}");
            rows.push(row(
                &metric,
                process.rss_max as f64,
                limits,
                bytes,
                String::new(),
            ));
        }
    }
}

fn row(
    metric: &str,
    value: f64,
    limits: &Limits,
    write: fn(f64) -> String,
    note: String,
) -> BandRow {
    BandRow {
        metric: metric.to_owned(),
        value: write(value),
        limits: limits.text(write),
        band: limits.band(value),
        note,
    }
}

fn latency_row(latency: &Latency, percentile: f64, limits: &Limits) -> BandRow {
    let metric = format!("p{percentile}");
    let known = [
        (50.0, latency.p50_ms),
        (90.0, latency.p90_ms),
        (95.0, latency.p95_ms),
        (99.0, latency.p99_ms),
        (99.9, latency.p999_ms),
        (100.0, latency.max_ms),
    ];
    let value = known.iter().find(|(of, _)| *of == percentile);
    match value.filter(|_| latency.count > 0) {
        Some((_, value)) => row(&metric, *value, limits, milliseconds, String::new()),
        None => BandRow {
            metric,
            value: "–".to_owned(),
            limits: limits.text(milliseconds),
            band: Band::NotMeasured,
            note: "no successful request".to_owned(),
        },
    }
}

/// A growth counts only when the run was long enough to see the first limit.
fn growth_row(growth: &Growth, limits: &Limits) -> BandRow {
    let metric = format!("memory growth of {}", growth.process);
    let mut found = row(
        &metric,
        growth.per_minute,
        limits,
        per_minute,
        String::new(),
    );
    let first = limits.0.first().copied().unwrap_or_default();
    if growth.detectable > first {
        found.band = Band::NotMeasured;
        found.note = format!(
            "too short: growth below {} could not have been seen",
            per_minute(growth.detectable)
        );
    }
    found
}

/// The limits of the smallest load that holds this one; the greatest one's beyond that.
fn by_load(list: &[ByLoad], load: f64) -> Option<(&Limits, String)> {
    let holds = |of: &&ByLoad| of.up_to.is_none_or(|up_to| load <= up_to as f64);
    if let Some(of) = list.iter().find(holds) {
        let note = match of.up_to {
            Some(up_to) => format!("up to {up_to} users"),
            None => String::new(),
        };
        return Some((&of.limits, note));
    }
    let last = list.last()?;
    let up_to = last.up_to.unwrap_or_default();
    Some((&last.limits, format!("limits of {up_to} users")))
}

/// Metric, value, limits, band.
#[must_use]
pub fn band_table(rows: &[BandRow]) -> Table {
    let mut table = plain_table(&["band of", "value", "target / acceptable / poor", "band"]);
    for row in rows {
        let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
        let band = if row.note.is_empty() {
            row.band.text().to_owned()
        } else {
            format!("{} ({})", row.band.text(), row.note)
        };
        let color = match row.band {
            Band::Target => Color::Green,
            Band::Acceptable | Band::NotMeasured => Color::Yellow,
            Band::Poor | Band::Critical => Color::Red,
        };
        table.add_row(vec![
            Cell::new(&row.metric),
            right(&row.value),
            right(&row.limits),
            Cell::new(band).fg(color),
        ]);
    }
    table
}

fn bytes(value: f64) -> String {
    if value >= 1e9 {
        format!("{} GB", rounded((value / 1e8).round() / 10.0))
    } else {
        format!("{} MB", rounded((value / MB * 10.0).round() / 10.0))
    }
}

fn per_minute(value: f64) -> String {
    format!("{} MB/min", rounded((value / MB * 100.0).round() / 100.0))
}

fn per_second(value: f64) -> String {
    format!("{}/s", rounded((value * 10.0).round() / 10.0))
}
