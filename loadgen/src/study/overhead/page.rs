//! The report of what the proxy costs.

use super::{Added, OverheadRecord};
use crate::page::{
    PageError,
    document::{Document, Part},
};

/// The rows of the latency table.
pub(crate) fn latency_rows(record: &OverheadRecord) -> Vec<Vec<String>> {
    let interval = |added: &Added| {
        added.interval_ms.map_or_else(
            || "–".to_owned(),
            |(low, high)| format!("{low:+.2} … {high:+.2} ms"),
        )
    };
    record
        .added
        .iter()
        .map(|added| {
            vec![
                added.metric.clone(),
                format!("{:.2} ms", added.direct_ms),
                format!("{:.2} ms", added.proxied_ms),
                format!("{:+.2} ms", added.added_ms),
                interval(added),
            ]
        })
        .collect()
}

/// Names of the columns of [`latency_rows`].
pub(crate) const LATENCY_HEADER: [&str; 5] = [
    "response time",
    "direct",
    "through weir",
    "added",
    "95 % interval",
];

/// What the proxy used, in one sentence.
pub(crate) fn cpu_line(record: &OverheadRecord) -> String {
    let count = record.pairs.len().max(1) as f64;
    let mean = |value: fn(&super::Pair) -> f64| record.pairs.iter().map(value).sum::<f64>() / count;
    format!(
        "The proxy used {:.0} µs of CPU per request: {:.1} % of a core, {:.2} % of the machine's {} cores, at {:.0} requests/s.",
        mean(|pair| pair.proxy_us_per_request),
        mean(|pair| pair.proxy_cpu_percent),
        mean(|pair| pair.machine_share) * 100.0,
        record.provenance.host.cores,
        mean(|pair| pair.proxied_rps),
    )
}

pub(crate) fn render(record: &OverheadRecord) -> Result<String, PageError> {
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let document = Document::new("What the proxy costs".to_owned(), &record.provenance)
        .lead(format!(
            "{} interleaved pairs of runs (A B, B A, …), direct to one replica and through weir, the same load on both; stand-in replicas with declared capacity.",
            record.pairs.len()
        ))
        .gate(&record.gate, &record.validity);
    let pairs = record.pairs.iter().enumerate().map(|(index, pair)| {
        let ms = |values: &[f64], at: usize| {
            values
                .get(at)
                .map_or_else(String::new, |value| format!("{value:.2} ms"))
        };
        vec![
            (index + 1).to_string(),
            ms(&pair.direct_ms, 0),
            ms(&pair.proxied_ms, 0),
            ms(&pair.direct_ms, 2),
            ms(&pair.proxied_ms, 2),
            format!("{:.0} µs", pair.proxy_us_per_request),
            format!("{:.2} MB", pair.proxy_rss_end as f64 / 1e6),
        ]
    });
    document
        .part(Part::verdict(
            "metric",
            &record.verdict,
            "A bound is met when the whole 95 % interval lies below it.".into(),
        ))
        .part(Part::Table {
            title: "Latency".into(),
            header: strings(&LATENCY_HEADER),
            rows: latency_rows(record),
            note: cpu_line(record),
        })
        .part(Part::Table {
            title: "Pairs".into(),
            header: strings(&[
                "pair",
                "direct mean",
                "proxied mean",
                "direct p95",
                "proxied p95",
                "proxy CPU/request",
                "proxy RSS",
            ]),
            rows: pairs.collect(),
            note: String::new(),
        })
        .render()
}
