//! `config/bands.toml`.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use weir_load::{
    config_file::{ConfigError, ConfigText},
    scenario::locate::Step,
    slo::{Metric, Statistic, Time, Unit},
};

use super::{Bands, ByLoad, Limits};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    latency: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    errors: Vec<RawByLoad>,
    #[serde(default)]
    memory: RawMemory,
    #[serde(default)]
    cpu: Vec<RawByLoad>,
    #[serde(default)]
    throughput: Vec<RawThroughput>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawByLoad {
    up_to: Option<u64>,
    limits: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMemory {
    initial: Option<Vec<String>>,
    growth: Option<Vec<String>>,
    after_hour: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThroughput {
    concurrency: u64,
    least: String,
}

pub(super) fn read(path: &Path) -> Result<Bands, ConfigError> {
    bands(&ConfigText::read(path)?)
}

pub(super) fn bands(source: &ConfigText) -> Result<Bands, ConfigError> {
    let file: File = source.parse()?;
    let wrong = |path: &[Step]| {
        let path = path.to_vec();
        move |message: String| source.wrong(&path, message)
    };
    let mut latency = Vec::new();
    for (name, texts) in &file.latency {
        let at: [Step; 2] = ["latency".into(), name.as_str().into()];
        let percentile = percentile(name).map_err(wrong(&at))?;
        let limits = limits(texts, |text| Unit::Milliseconds.read(text)).map_err(wrong(&at))?;
        latency.push((percentile, limits));
    }
    latency.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let share = |text: &str| Unit::Share.read(text);
    let memory =
        |name: &str, texts: &Option<Vec<String>>, read: fn(&str) -> Result<f64, String>| {
            texts
                .as_ref()
                .map(|texts| limits(texts, read).map_err(wrong(&["memory".into(), name.into()])))
                .transpose()
        };
    let mut throughput = Vec::new();
    for (index, raw) in file.throughput.iter().enumerate() {
        let at: [Step; 3] = ["throughput".into(), index.into(), "least".into()];
        let least = Unit::PerSecond.read(&raw.least).map_err(wrong(&at))?;
        throughput.push((raw.concurrency, least));
    }
    Ok(Bands {
        latency,
        errors: by_load("errors", &file.errors, share, source)?,
        memory_initial: memory("initial", &file.memory.initial, bytes)?,
        memory_growth: memory("growth", &file.memory.growth, bytes_per_minute)?,
        memory_after_hour: memory("after_hour", &file.memory.after_hour, bytes)?,
        cpu: by_load("cpu", &file.cpu, cores, source)?,
        throughput,
    })
}

fn by_load(
    field: &str,
    raw: &[RawByLoad],
    read: impl Fn(&str) -> Result<f64, String>,
    source: &ConfigText,
) -> Result<Vec<ByLoad>, ConfigError> {
    let mut list: Vec<ByLoad> = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let at = |name: &str| -> [Step; 3] { [field.into(), index.into(), name.into()] };
        let rises = match (list.last().map(|last| last.up_to), raw.up_to) {
            (None, _) => true,
            (Some(None), _) => false,
            (Some(Some(_)), None) => true,
            (Some(Some(before)), Some(now)) => now > before,
        };
        if !rises {
            return Err(source.wrong(
                &at("up_to"),
                "must rise from one entry to the next; only the last may leave it out".to_owned(),
            ));
        }
        let limits =
            limits(&raw.limits, &read).map_err(|message| source.wrong(&at("limits"), message))?;
        list.push(ByLoad {
            up_to: raw.up_to,
            limits,
        });
    }
    Ok(list)
}

fn limits(texts: &[String], read: impl Fn(&str) -> Result<f64, String>) -> Result<Limits, String> {
    let values: Vec<f64> = texts
        .iter()
        .map(|text| read(text))
        .collect::<Result<_, _>>()?;
    if !(1..=3).contains(&values.len()) {
        return Err("has one to three limits: target, acceptable, poor".to_owned());
    }
    if values
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a >= b))
    {
        return Err("limits must rise: target, acceptable, poor".to_owned());
    }
    Ok(Limits(values))
}

fn percentile(name: &str) -> Result<f64, String> {
    match name.parse::<Metric>()? {
        Metric::Latency {
            time: Time::Response,
            statistic: Statistic::Percentile(percent),
        } if [50.0, 90.0, 95.0, 99.0, 99.9, 100.0].contains(&percent) => Ok(percent),
        _ => Err(format!(
            "`{name}` has no bands: write p50, p90, p95, p99, \"p99.9\" or p100"
        )),
    }
}

fn bytes(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a size: write \"500MB\" or \"1GB\"");
    let text = text.trim();
    let (number, factor) = match (text.strip_suffix("MB"), text.strip_suffix("GB")) {
        (Some(number), _) => (number, 1e6),
        (_, Some(number)) => (number, 1e9),
        _ => return Err(wrong()),
    };
    let value: f64 = number.trim().parse().map_err(|_| wrong())?;
    if value.is_finite() && value > 0.0 {
        Ok(value * factor)
    } else {
        Err(wrong())
    }
}

fn bytes_per_minute(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a growth: write \"5MB/m\" or \"10MB/h\"");
    let (size, per) = text.split_once('/').ok_or_else(wrong)?;
    let minutes = match per.trim() {
        "m" | "min" => 1.0,
        "h" => 60.0,
        _ => return Err(wrong()),
    };
    bytes(size)
        .map(|bytes| bytes / minutes)
        .map_err(|_| wrong())
}

/// A share of one core; more than 100 % is several cores.
fn cores(text: &str) -> Result<f64, String> {
    text.trim()
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| percent.is_finite() && *percent > 0.0)
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is not a share of a core: write \"75%\" or \"150%\""))
}
