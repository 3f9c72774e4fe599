//! The page of a sweep: throughput and latency by level, each run as a mark.

use weir_load::{
    summary::Verdict,
    units::{milliseconds, percent, rounded},
};

use super::record::{LevelRecord, SweepRecord, SweepRun};
use crate::{
    page::{
        Kind, Sheet, SheetTable,
        chart::{Axis, Ink, Plot, Point, Series, Shape},
    },
    study::search::Over,
};

/// The page of a sweep.
pub(crate) fn sheet(record: &SweepRecord) -> Sheet {
    let over = record.over.text();
    let invalid: usize = record.levels.iter().map(|level| level.invalid).sum();
    let best = record
        .levels
        .iter()
        .max_by(|a, b| a.throughput_rps.median.total_cmp(&b.throughput_rps.median));
    let mut tiles = vec![
        (record.levels.len().to_string(), format!("levels of {over}")),
        (
            record.runs.len().to_string(),
            format!(
                "runs of {} s, {invalid} invalid",
                rounded(record.measured_s)
            ),
        ),
    ];
    if let Some(best) = best {
        tiles.push((
            format!("{:.0}/s", best.throughput_rps.median),
            format!(
                "most throughput (median), at {}",
                record.over.level(best.level)
            ),
        ));
    }
    let mut notes = vec![
        "Runs were made in complete blocks: every level once, in an order that the seed decides, then every level again. A drift of the machine hits all levels alike. Figures of a level are medians over its valid runs; percentiles are not averaged.".to_owned(),
    ];
    notes.extend(record.law.as_ref().map(super::record::LawRecord::text));
    notes.extend(record.no_law.clone());
    Sheet {
        title: format!("Sweep over {over}"),
        description: format!(
            "{} against {}; seed {}.",
            record
                .scenario
                .get("name")
                .and_then(|name| name.as_str())
                .unwrap_or_default(),
            record.targets.join(", "),
            record.seed
        ),
        badges: vec![match invalid {
            0 => ("all runs count".to_owned(), Kind::Good),
            _ => (format!("{invalid} runs invalid"), Kind::Warn),
        }],
        tiles,
        plots: vec![throughput(record), latency(record)],
        tables: vec![table(record)],
        notes,
        provenance: record.provenance.clone(),
        data_file: super::FILE.to_owned(),
    }
}

fn x_axis(record: &SweepRecord) -> Axis {
    let levels = record.levels.iter().map(|level| level.level);
    Axis::log_around(levels, record.over.unit())
}

fn medians(record: &SweepRecord, value: impl Fn(&LevelRecord) -> f64) -> Vec<Point> {
    let valid = record.levels.iter().filter(|level| level.runs > 0);
    valid
        .map(|level| (level.level, Some(value(level))))
        .collect()
}

/// Each run that counts as a mark.
fn marks(record: &SweepRecord, value: impl Fn(&SweepRun) -> f64) -> Vec<Point> {
    let mut runs: Vec<_> = record
        .runs
        .iter()
        .filter(|run| run.figures.verdict != Verdict::Invalid)
        .collect();
    runs.sort_by(|a, b| a.level.total_cmp(&b.level));
    runs.into_iter()
        .flat_map(|run| [(run.level, Some(value(run))), (run.level, None)])
        .collect()
}

fn throughput(record: &SweepRecord) -> Plot {
    let mut series = vec![
        Series {
            name: "median".into(),
            ink: Ink::First,
            shape: Shape::Line,
            points: medians(record, |level| level.throughput_rps.median),
        },
        Series {
            name: "runs".into(),
            ink: Ink::Muted,
            shape: Shape::Line,
            points: marks(record, |run| run.figures.throughput_rps),
        },
    ];
    if record.over == Over::Rate {
        series.push(Series {
            name: "intended".into(),
            ink: Ink::Warn,
            shape: Shape::Dashed,
            points: medians(record, |level| level.level),
        });
    }
    if let Some(law) = &record.law {
        series.push(Series {
            name: "scalability law".into(),
            ink: Ink::Third,
            shape: Shape::Dashed,
            points: law.curve.iter().map(|(x, y)| (*x, Some(*y))).collect(),
        });
    }
    let values = series.iter().flat_map(|one| one.points.iter());
    let top = values.filter_map(|(_, y)| *y).fold(0.0, f64::max);
    Plot {
        id: "throughput".into(),
        title: "Throughput".into(),
        hint: "Successes per second at each level. Where it stops rising, the capacity is reached."
            .into(),
        x: x_axis(record),
        y: Axis::from_zero(top, "/s"),
        series,
    }
}

fn latency(record: &SweepRecord) -> Plot {
    let line = |name: &str, ink, value: fn(&LevelRecord) -> f64| Series {
        name: name.to_owned(),
        ink,
        shape: Shape::Line,
        points: medians(record, value),
    };
    let series = vec![
        line("p99", Ink::Third, |level| level.p99_ms.median),
        line("p95", Ink::Second, |level| level.p95_ms.median),
        line("p50", Ink::First, |level| level.p50_ms.median),
    ];
    let values: Vec<f64> = series
        .iter()
        .flat_map(|one| one.points.iter().filter_map(|(_, y)| *y))
        .collect();
    Plot {
        id: "latency".into(),
        title: "Response time".into(),
        hint: "Medians over the runs of each level.".into(),
        x: x_axis(record),
        y: Axis::log_around(values.into_iter(), "ms"),
        series,
    }
}

fn table(record: &SweepRecord) -> SheetTable {
    let header = [
        "level",
        "runs",
        "throughput",
        "least",
        "most",
        "p50",
        "p95",
        "p99",
        "errors",
        "served",
    ];
    let row = |level: &LevelRecord| {
        let runs = if level.invalid == 0 {
            level.runs.to_string()
        } else {
            format!("{} (+{} invalid)", level.runs, level.invalid)
        };
        let served = if level.served < 0.99 {
            Kind::Warn
        } else {
            Kind::Plain
        };
        vec![
            (record.over.level(level.level), Kind::Plain),
            (runs, Kind::Plain),
            (format!("{:.1}/s", level.throughput_rps.median), Kind::Plain),
            (format!("{:.1}/s", level.throughput_rps.least), Kind::Plain),
            (format!("{:.1}/s", level.throughput_rps.most), Kind::Plain),
            (milliseconds(level.p50_ms.median), Kind::Plain),
            (milliseconds(level.p95_ms.median), Kind::Plain),
            (milliseconds(level.p99_ms.median), Kind::Plain),
            (percent(level.error_rate), Kind::Plain),
            (percent(level.served), served),
        ]
    };
    SheetTable {
        title: "Levels".to_owned(),
        note: "Medians over valid runs; errors: the most, served: the least.".to_owned(),
        header: header.map(str::to_owned).to_vec(),
        rows: record.levels.iter().map(row).collect(),
    }
}
