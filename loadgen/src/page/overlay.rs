//! Several runs on one page: their curves over each other, their key figures side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weir_lab::provenance::Provenance;
use weir_load::{
    summary::{Interval, Summary},
    units::{milliseconds, percent},
};

use super::{
    Kind, Sheet, SheetTable,
    chart::{Axis, Ink, Plot, Series, Shape},
};
use crate::results::{RunRecord, now_utc};

/// A change that is larger than this is marked.
const MARKED: f64 = 0.10;
/// Settings that differ, shown at most.
const MOST_DIFFERENCES: usize = 40;

/// A run with its two files.
pub(crate) type Run = (RunRecord, Summary);

/// The page over several runs; the first is what the others are held against. `data_file` holds the
/// same as data.
pub(crate) fn overlay(runs: &[Run], data_file: &str) -> Sheet {
    let names: Vec<_> = (0..runs.len()).map(|index| name(index, runs)).collect();
    let mut tables = vec![
        figures(runs, &names),
        endpoints(runs, &names),
        folders(runs, &names),
    ];
    tables.extend(differences(runs, &names));
    tables.retain(|table| !table.rows.is_empty());
    let scenarios: BTreeSet<_> = runs.iter().map(|(_, summary)| &summary.scenario).collect();
    let mut notes = vec![
        "One run on each side shows how these runs differ, not that a change made them differ: \
         “weir-bench compare” judges by several runs on each side."
            .to_owned(),
    ];
    if scenarios.len() > 1 {
        notes.push(
            "The runs are of different scenarios: their figures are not comparable as they stand."
                .into(),
        );
    }
    Sheet {
        title: format!("{} runs compared", runs.len()),
        description: format!(
            "Changes are against {}.",
            names.first().map_or("", String::as_str)
        ),
        badges: runs
            .iter()
            .zip(&names)
            .map(|((record, _), name)| {
                let kind = match record.gate.as_str() {
                    "passed" => Kind::Good,
                    "failed" => Kind::Bad,
                    _ => Kind::Warn,
                };
                (format!("{name}: gate {}", record.gate), kind)
            })
            .collect(),
        tiles: Vec::new(),
        plots: plots(runs, &names),
        tables,
        notes,
        provenance: Provenance::collect(now_utc()),
        data_file: data_file.to_owned(),
    }
}

/// A letter, and what tells the run from the others.
fn name(index: usize, runs: &[Run]) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    let Some((record, summary)) = runs.get(index) else {
        return letter.to_string();
    };
    let label = match (&record.topology, record.label.as_str()) {
        (_, label) if !label.is_empty() => label,
        (Some(topology), _) => topology.name.as_str(),
        (None, _) => "",
    };
    format!("{letter} {} {label}", summary.scenario)
        .trim()
        .to_owned()
}

/// A percentile over time: identifier, title, and its value in a second.
type Timed = (&'static str, &'static str, fn(&Interval) -> f64);

fn plots(runs: &[Run], names: &[String]) -> Vec<Plot> {
    let mut plots = vec![percentiles(runs, names)];
    let over_time: [Timed; 3] = [
        ("p50", "Median response time, each second", |i| i.p50_ms),
        ("p95", "95th percentile, each second", |i| i.p95_ms),
        ("p99", "99th percentile, each second", |i| i.p99_ms),
    ];
    for (id, title, value) in over_time {
        let hint = "Successes only. Lower is better.";
        let measured = move |i: &Interval| (i.ok > 0).then(|| value(i));
        plots.push(timeline(id, title, hint, "ms", runs, names, measured));
    }
    let hint = "Successes. Lines lie on each other when every run took the same load.";
    let ok = |i: &Interval| Some(i.ok as f64);
    plots.push(timeline(
        "throughput",
        "Throughput, each second",
        hint,
        "/s",
        runs,
        names,
        ok,
    ));
    let hint = "Failures and answers 429 together.";
    let bad = |i: &Interval| Some((i.errors + i.limited) as f64);
    plots.push(timeline(
        "failures",
        "Failures, each second",
        hint,
        "/s",
        runs,
        names,
        bad,
    ));
    plots
}

fn line(index: usize, names: &[String], points: Vec<(f64, Option<f64>)>) -> Series {
    Series {
        name: names.get(index).cloned().unwrap_or_default(),
        ink: Ink::ranked(index),
        shape: Shape::Line,
        points,
    }
}

fn percentiles(runs: &[Run], names: &[String]) -> Plot {
    let curve = |(index, (_, summary)): (usize, &Run)| {
        let quantiles = &summary.distributions.response.quantiles;
        let points = quantiles
            .iter()
            .map(|point| (point.quantile, Some(point.ms)));
        line(index, names, points.collect())
    };
    let series: Vec<_> = runs.iter().enumerate().map(curve).collect();
    let points = || series.iter().flat_map(|series| series.points.iter());
    let to = points().map(|(quantile, _)| *quantile).fold(0.5, f64::max);
    Plot {
        id: "percentiles".into(),
        title: "Response time by percentile".into(),
        hint: "Each step right is one more nine. Lower is better.".into(),
        x: Axis::Percentile { to },
        y: Axis::log_around(points().filter_map(|(_, ms)| *ms), "ms"),
        series,
    }
}

fn timeline(
    id: &str,
    title: &str,
    hint: &str,
    unit: &'static str,
    runs: &[Run],
    names: &[String],
    value: impl Fn(&Interval) -> Option<f64>,
) -> Plot {
    let curve = |(index, (_, summary)): (usize, &Run)| {
        let points = summary.intervals.iter().map(|i| (i.t_s + 0.5, value(i)));
        line(index, names, points.collect())
    };
    let series: Vec<_> = runs.iter().enumerate().map(curve).collect();
    let points = || series.iter().flat_map(|series| series.points.iter());
    let last = points().map(|(x, _)| x + 0.5).fold(1.0, f64::max);
    let top = points().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    Plot {
        id: id.into(),
        title: title.into(),
        hint: hint.into(),
        x: Axis::Linear {
            from: 0.0,
            to: last,
            unit: "s",
        },
        y: Axis::from_zero(top, unit),
        series,
    }
}

/// Whether more of a figure is better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// A key figure: name, value, how it is written, and which way is better.
type Figure = (&'static str, fn(&Summary) -> f64, fn(f64) -> String, Better);

const FIGURES: [Figure; 9] = [
    (
        "throughput",
        |s| s.throughput_rps,
        |v| format!("{v:.1}/s"),
        Better::More,
    ),
    ("mean", |s| s.response.mean_ms, milliseconds, Better::Less),
    ("p50", |s| s.response.p50_ms, milliseconds, Better::Less),
    ("p90", |s| s.response.p90_ms, milliseconds, Better::Less),
    ("p95", |s| s.response.p95_ms, milliseconds, Better::Less),
    ("p99", |s| s.response.p99_ms, milliseconds, Better::Less),
    ("p99.9", |s| s.response.p999_ms, milliseconds, Better::Less),
    ("largest", |s| s.response.max_ms, milliseconds, Better::Less),
    ("error rate", |s| s.error_rate, percent, Better::Less),
];

fn figures(runs: &[Run], names: &[String]) -> SheetTable {
    let row = |(name, value, write, better): Figure| {
        let mut cells = vec![(name.to_owned(), Kind::Plain)];
        let first = runs.first().map(|(_, summary)| value(summary));
        for (index, (_, summary)) in runs.iter().enumerate() {
            let now = value(summary);
            cells.push((write(now), Kind::Plain));
            if index > 0 {
                cells.push(change(first.unwrap_or(0.0), now, better));
            }
        }
        cells
    };
    let mut header = vec!["figure".to_owned()];
    for (index, name) in names.iter().enumerate() {
        header.push(name.clone());
        if index > 0 {
            header.push("change".to_owned());
        }
    }
    SheetTable {
        title: "Key figures".into(),
        note: "Response time of successes. A change of more than 10 % is marked.".into(),
        header,
        rows: FIGURES.into_iter().map(row).collect(),
    }
}

fn change(before: f64, after: f64, better: Better) -> (String, Kind) {
    if before <= 0.0 {
        let kind = match (after > before, better) {
            (true, Better::Less) => Kind::Bad,
            _ => Kind::Plain,
        };
        return (if after > before { "new" } else { "–" }.to_owned(), kind);
    }
    let share = after / before - 1.0;
    let kind = match (
        share.abs() > MARKED,
        (share > 0.0) == (better == Better::More),
    ) {
        (false, _) => Kind::Plain,
        (true, true) => Kind::Good,
        (true, false) => Kind::Bad,
    };
    (format!("{:+.1} %", share * 100.0), kind)
}

fn endpoints(runs: &[Run], names: &[String]) -> SheetTable {
    let mut order: Vec<&str> = Vec::new();
    for endpoint in runs.iter().flat_map(|(_, summary)| &summary.endpoints) {
        if !order.contains(&endpoint.name.as_str()) {
            order.push(&endpoint.name);
        }
    }
    let row = |name: &str| {
        let mut cells = vec![(name.to_owned(), Kind::Plain)];
        let mut first = None;
        for (index, (_, summary)) in runs.iter().enumerate() {
            let endpoint = summary
                .endpoints
                .iter()
                .find(|endpoint| endpoint.name == name);
            let p95 = endpoint
                .filter(|endpoint| endpoint.response.count > 0)
                .map(|endpoint| endpoint.response.p95_ms);
            let text = p95.map_or_else(|| "–".to_owned(), milliseconds);
            cells.push((text, Kind::Plain));
            if index == 0 {
                first = p95;
            } else {
                cells.push(match (first, p95) {
                    (Some(before), Some(after)) => change(before, after, Better::Less),
                    _ => ("–".to_owned(), Kind::Plain),
                });
            }
        }
        cells
    };
    let mut header = vec!["endpoint".to_owned()];
    for (index, name) in names.iter().enumerate() {
        header.push(format!("{name}: p95"));
        if index > 0 {
            header.push("change".to_owned());
        }
    }
    SheetTable {
        title: "Endpoints".into(),
        note: String::new(),
        header,
        rows: order.into_iter().map(row).collect(),
    }
}

fn folders(runs: &[Run], names: &[String]) -> SheetTable {
    let row = |((record, summary), name): (&Run, &String)| {
        let valid = format!("{:?}", summary.validity.verdict).to_lowercase();
        let kind = if summary.validity.reasons.is_empty() {
            Kind::Good
        } else {
            Kind::Warn
        };
        vec![
            (name.clone(), Kind::Plain),
            (summary.requests.to_string(), Kind::Plain),
            (format!("{:.1} s", summary.duration_s), Kind::Plain),
            (valid, kind),
            (record.id.clone(), Kind::Plain),
        ]
    };
    SheetTable {
        title: "Runs".into(),
        note: String::new(),
        header: ["run", "requests", "measured", "measurement", "folder"]
            .map(str::to_owned)
            .to_vec(),
        rows: runs.iter().zip(names).map(row).collect(),
    }
}

/// Settings that are not the same in all runs.
fn differences(runs: &[Run], names: &[String]) -> Option<SheetTable> {
    let flat: Vec<_> = runs
        .iter()
        .map(|(record, _)| {
            let mut values = BTreeMap::new();
            flatten("scenario", &record.scenario, &mut values);
            if let Some(settings) = &record.proxy_settings {
                flatten("proxy", settings, &mut values);
            }
            let host = serde_json::to_value(&record.provenance.host).unwrap_or_default();
            flatten("host", &host, &mut values);
            let versions = serde_json::to_value(&record.provenance.versions).unwrap_or_default();
            flatten("version", &versions, &mut values);
            let commit = record.provenance.commit.label();
            values.insert("commit".to_owned(), commit);
            values.insert("target".to_owned(), record.targets.join(" and "));
            values
        })
        .collect();
    let paths: BTreeSet<_> = flat.iter().flat_map(BTreeMap::keys).collect();
    let differs = |path: &&&String| {
        let mut values = flat.iter().map(|values| values.get(**path));
        let first = values.next().flatten();
        values.any(|value| value != first)
    };
    let row = |path: &String| {
        let mut cells = vec![(path.clone(), Kind::Plain)];
        for values in &flat {
            let text = values.get(path).cloned().unwrap_or_else(|| "–".to_owned());
            cells.push((text, Kind::Plain));
        }
        cells
    };
    let rows: Vec<_> = paths
        .iter()
        .filter(differs)
        .take(MOST_DIFFERENCES)
        .map(|path| row(path))
        .collect();
    let header = std::iter::once("setting".to_owned()).chain(names.iter().cloned());
    (!rows.is_empty()).then(|| SheetTable {
        title: "What differs between the runs".into(),
        note: "Scenario, proxy settings, machine, versions, commit and target; what is the same everywhere is left out.".into(),
        header: header.collect(),
        rows,
    })
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                flatten(&format!("{path}.{key}"), value, into);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), value, into);
            }
        }
        Value::String(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::tests::run, *};

    #[test]
    fn a_change_is_marked_by_its_direction() {
        assert_eq!(
            change(100.0, 109.0, Better::Less),
            ("+9.0 %".into(), Kind::Plain)
        );
        assert_eq!(
            change(100.0, 120.0, Better::Less),
            ("+20.0 %".into(), Kind::Bad)
        );
        assert_eq!(
            change(100.0, 120.0, Better::More),
            ("+20.0 %".into(), Kind::Good)
        );
        assert_eq!(change(0.0, 0.02, Better::Less), ("new".into(), Kind::Bad));
        assert_eq!(change(0.0, 0.0, Better::Less), ("–".into(), Kind::Plain));
    }

    #[test]
    fn runs_lie_over_each_other_and_only_differences_are_listed() {
        let (a, mut b) = (run("one"), run("two"));
        b.1.response.p95_ms = a.1.response.p95_ms * 1.5;
        b.0.scenario["engine"] = "wire".into();
        let sheet = overlay(&[a, b], "compare.json");
        assert_eq!(sheet.plots.len(), 6);
        for plot in &sheet.plots {
            let names: Vec<_> = plot
                .series
                .iter()
                .map(|series| series.name.as_str())
                .collect();
            assert_eq!(names, ["A rate one", "B rate two"], "{}", plot.id);
        }
        let table = |title: &str| {
            sheet
                .tables
                .iter()
                .find(|table| table.title == title)
                .unwrap()
        };
        let p95 = &table("Key figures").rows[4];
        assert_eq!(
            (p95[0].0.as_str(), p95[3].clone()),
            ("p95", ("+50.0 %".into(), Kind::Bad))
        );
        let differing = &table("What differs between the runs").rows;
        let paths: Vec<_> = differing.iter().map(|row| row[0].0.as_str()).collect();
        assert_eq!(paths, ["scenario.engine"]);
    }
}
