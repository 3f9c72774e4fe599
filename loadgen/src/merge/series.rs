//! `timeseries.csv` of the shards, second by second: counts are added, percentiles are read anew
//! from the joined histograms, since percentiles cannot be added or averaged.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::{
    MergeError,
    logs::JoinedLog,
    part::{Part, file},
};

/// Name of the file in a run folder.
pub(super) const FILE: &str = "timeseries.csv";

/// A joined time series, as text.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Joins the time series of all shards.
pub(super) fn join(
    parts: &[Part],
    response: &JoinedLog,
    lag: Option<&JoinedLog>,
) -> Result<Series, MergeError> {
    let mut header: Vec<String> = Vec::new();
    // By start in milliseconds, which tells seconds apart.
    let mut rows: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for part in parts {
        let path = file(part, FILE);
        let wrong = |reason: String| MergeError::File {
            path: path.clone(),
            reason,
        };
        let mut csv = csv::Reader::from_path(&path).map_err(|error| wrong(error.to_string()))?;
        let own: Vec<String> = csv
            .headers()
            .map_err(|error| wrong(error.to_string()))?
            .iter()
            .map(str::to_owned)
            .collect();
        if header.is_empty() {
            header = own;
        } else if header != own {
            return Err(wrong(format!(
                "columns differ from those of another shard: {}",
                own.join(", ")
            )));
        }
        for line in csv.records() {
            let line = line.map_err(|error| wrong(error.to_string()))?;
            let mut values = Vec::with_capacity(line.len());
            for (field, name) in line.iter().zip(&header) {
                let value: f64 = field
                    .parse()
                    .map_err(|_| wrong(format!("`{field}` in column {name} is not a number")))?;
                values.push(value);
            }
            add(&mut rows, &header, &values);
        }
    }
    let texts = rows
        .values()
        .map(|row| finished(&header, row, response, lag));
    Ok(Series {
        rows: texts.collect(),
        header,
    })
}

fn add(rows: &mut BTreeMap<i64, Vec<f64>>, header: &[String], values: &[f64]) {
    let start = column(header, values, "t_s").unwrap_or_default();
    let row = rows
        .entry((start * 1000.0).round() as i64)
        .or_insert_with(|| vec![0.0; values.len()]);
    for ((total, value), name) in row.iter_mut().zip(values).zip(header) {
        match name.as_str() {
            "t_s" => *total = *value,
            // Times are read from histograms afterwards; until then the largest stands there.
            "length_s" => *total = total.max(*value),
            name if name.ends_with("_ms") => *total = total.max(*value),
            _ => *total += value,
        }
    }
}

fn column(header: &[String], values: &[f64], name: &str) -> Option<f64> {
    let at = header.iter().position(|column| column == name)?;
    values.get(at).copied()
}

fn finished(
    header: &[String],
    row: &[f64],
    response: &JoinedLog,
    lag: Option<&JoinedLog>,
) -> Vec<String> {
    let start = column(header, row, "t_s").unwrap_or_default();
    let second = response.of_second(start);
    let lag = lag.map(|lag| lag.of_second(start));
    let ms = |histogram: &Histogram<u64>, quantile: f64| {
        format!("{:.3}", histogram.value_at_quantile(quantile) as f64 / 1e3)
    };
    let text = |(name, value): (&String, &f64)| match (name.as_str(), &lag) {
        ("p50_ms", _) => ms(&second, 0.50),
        ("p95_ms", _) => ms(&second, 0.95),
        ("p99_ms", _) => ms(&second, 0.99),
        ("max_ms", _) => format!("{:.3}", second.max() as f64 / 1e3),
        ("send_lag_p99_ms", Some(lag)) => ms(lag, 0.99),
        ("length_s", _) => format!("{value:.3}"),
        (name, _) if name.ends_with("_ms") => format!("{value:.3}"),
        _ => format!("{value}"),
    };
    header.iter().zip(row).map(text).collect()
}
