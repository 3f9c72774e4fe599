//! The suite as tables and as a report.

use weir_load::{
    summary::{Latency, Verdict},
    units::milliseconds,
};

use super::{SuiteRecord, TestRecord};
use crate::{
    judge::bands::{Band, BandRow},
    page::{
        PageError,
        chart::{Axis, Ink, Plot, Series, Shape},
        document::{Document, Part, Tone},
    },
};

/// Names of the columns of [`cells`]; latencies are milliseconds.
pub(crate) const HEADER: [&str; 12] = [
    "test",
    "ok %",
    "ok/s",
    "min",
    "median",
    "p95",
    "p99",
    "max",
    "average",
    "st. dev.",
    "rate band",
    "latency band",
];

/// One test as cells of a table.
pub(crate) fn cells(test: &TestRecord) -> Vec<String> {
    let latency = &test.response;
    let ms = |value: f64| {
        if latency.count == 0 {
            "–".to_owned()
        } else {
            let text = milliseconds(value);
            text.strip_suffix(" ms").unwrap_or(&text).to_owned()
        }
    };
    vec![
        test.name.clone(),
        format!("{:.2}", test.success_rate * 100.0),
        format!("{:.1}", test.throughput_rps),
        ms(latency.min_ms),
        ms(latency.p50_ms),
        ms(latency.p95_ms),
        ms(latency.p99_ms),
        ms(latency.max_ms),
        ms(latency.mean_ms),
        ms(latency.stdev_ms),
        worst(test.throughput_bands()),
        worst(test.latency_bands()),
    ]
}

/// The worst of some bands in a word.
fn worst<'a>(rows: impl Iterator<Item = &'a BandRow>) -> String {
    rows.map(|row| row.band)
        .filter(|band| *band != Band::NotMeasured)
        .max()
        .map_or_else(|| "–".to_owned(), |band| band.text().to_owned())
}

/// Throughput and response times that are worse than their target.
pub(crate) fn beyond_target(test: &TestRecord) -> Vec<String> {
    test.throughput_bands()
        .chain(test.latency_bands())
        .filter(|row| !matches!(row.band, Band::Target | Band::NotMeasured))
        .map(|row| {
            let note = match row.note.as_str() {
                "" => String::new(),
                note => format!(", {note}"),
            };
            format!(
                "{}: {} {} is {} ({}{note})",
                test.name,
                row.metric,
                row.value,
                row.band.text(),
                row.limits
            )
        })
        .collect()
}

/// What must be known of a test before its numbers are read; none when nothing.
pub(crate) fn remarks(test: &TestRecord) -> Vec<String> {
    let mut remarks = Vec::new();
    if test.validity.verdict != Verdict::Valid {
        let word = match test.validity.verdict {
            Verdict::Invalid => "INVALID",
            _ => "suspect",
        };
        remarks.push(format!(
            "{}: {word}: {}",
            test.name,
            test.validity.reasons.join("; ")
        ));
    }
    for failure in &test.failures {
        remarks.push(format!(
            "{}: {} × {} ({:.2} %): {}",
            test.name, failure.count, failure.kind, failure.percent, failure.likely_cause
        ));
    }
    remarks
}

/// Latency of every test on one axis, in the order of the suite.
fn latency_plot(record: &SuiteRecord) -> Plot {
    let line = |name: &str, ink, value: fn(&Latency) -> f64| Series {
        name: name.to_owned(),
        ink,
        shape: Shape::Line,
        points: record
            .tests
            .iter()
            .enumerate()
            .map(|(index, test)| {
                let value = value(&test.response);
                (
                    (index + 1) as f64,
                    (test.response.count > 0).then_some(value),
                )
            })
            .collect(),
    };
    let series = vec![
        line("p99", Ink::Third, |l| l.p99_ms),
        line("p95", Ink::Second, |l| l.p95_ms),
        line("median", Ink::First, |l| l.p50_ms),
    ];
    let values: Vec<_> = series
        .iter()
        .flat_map(|series| series.points.iter().filter_map(|(_, y)| *y))
        .collect();
    Plot {
        id: "suite-latency".into(),
        title: "Response time by test".into(),
        hint: "Tests in the order of the table.".into(),
        x: Axis::Linear {
            from: 1.0,
            to: record.tests.len().max(2) as f64,
            unit: "",
        },
        y: Axis::log_around(values.into_iter(), "ms"),
        series,
    }
}

fn band_rows(test: &TestRecord) -> Vec<Vec<String>> {
    test.throughput_bands()
        .chain(test.latency_bands())
        .map(|row| {
            vec![
                test.name.clone(),
                row.metric.clone(),
                row.value.clone(),
                row.limits.clone(),
                row.band.text().to_owned(),
                row.note.clone(),
            ]
        })
        .collect()
}

pub(crate) fn render(record: &SuiteRecord) -> Result<String, PageError> {
    let subject = match &record.topology {
        Some(topology) => topology.description.clone(),
        None => record.targets.join(" and "),
    };
    let mut document = Document::new(format!("Suite {}", record.suite), &record.provenance)
        .lead(format!("{subject} {}.", record.description));
    let invalid = record.tests.iter().filter(|test| test.is_invalid()).count();
    document = match invalid {
        0 => document.badge("every measurement usable".into(), Tone::Good),
        count => document.badge(
            format!("{count} of {} invalid", record.tests.len()),
            Tone::Bad,
        ),
    };
    for test in &record.tests {
        for remark in remarks(test) {
            document = document.remark(remark);
        }
    }
    let about = record.tests.iter().map(|test| {
        vec![
            test.name.clone(),
            test.about.clone(),
            test.concurrency.to_string(),
            test.requests.to_string(),
            test.intended_rps
                .map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}/s")),
        ]
    });
    document = document
        .part(Part::Table {
            title: "Results".into(),
            header: HEADER.map(str::to_owned).to_vec(),
            rows: record.tests.iter().map(cells).collect(),
            note: "Response time of successes in milliseconds; the median is p50. An open model (sustained, burst) counts from the intended start.".into(),
        })
        .part(Part::Charts(vec![latency_plot(record)]))
        .part(Part::Table {
            title: "Bands".into(),
            header: ["test", "figure", "value", "target / acceptable / poor", "band", ""]
                .map(str::to_owned)
                .to_vec(),
            rows: record.tests.iter().flat_map(band_rows).collect(),
            note: "Bands say how good a figure is; they fail nothing.".into(),
        })
        .part(Part::Table {
            title: "What each test does".into(),
            header: ["test", "", "users or connections", "requests", "intended"]
                .map(str::to_owned)
                .to_vec(),
            rows: about.collect(),
            note: String::new(),
        });
    if let Some(recovery) = &record.recovery {
        let rows = recovery
            .verdict
            .iter()
            .map(|row| {
                vec![
                    row.metric.clone(),
                    row.value.clone(),
                    row.threshold.clone(),
                    row.status.text().to_owned(),
                ]
            })
            .collect();
        document = document.part(Part::Table {
            title: format!("Recovery from the loss of {}", recovery.killed),
            header: ["", "value", "bound", "status"].map(str::to_owned).to_vec(),
            rows,
            note: "The whole of it is in recovery.json in the folder `recovery`.".into(),
        });
    }
    document.render()
}
