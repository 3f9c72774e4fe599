//! The report of a recovery.

use super::RecoveryRecord;
use crate::page::{
    PageError,
    chart::{Axis, Ink, Plot, Series, Shape},
    document::{Document, Part},
};

/// Rows of what happened when, for tables.
pub(crate) fn timeline(record: &RecoveryRecord) -> Vec<(String, String)> {
    let moments = &record.moments;
    let at =
        |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2} s"));
    [
        (format!("{} killed", record.killed), at(moments.killed_s)),
        ("first failure".to_owned(), at(moments.first_error_s)),
        ("last failure".to_owned(), at(moments.last_error_s)),
        (
            format!("{} listens again", record.killed),
            at(moments.restarted_s),
        ),
        (
            format!("{} serves again", record.killed),
            at(moments.served_s),
        ),
    ]
    .to_vec()
}

/// Why serving again takes as long as it does.
pub(crate) fn explanation(record: &RecoveryRecord) -> String {
    format!(
        "The proxy lets a server that has failed rest for fail_timeout = {:.0} s before it tries it again: most of the time from restart to serving is that rest.",
        record.fail_timeout_s
    )
}

fn plot(record: &RecoveryRecord) -> Plot {
    let points = |value: fn(&super::SecondOfFailures) -> u64, shift: f64| {
        record
            .seconds
            .iter()
            .map(|second| (second.t_s + shift, Some(value(second) as f64)))
            .collect()
    };
    let last = record.seconds.last().map_or(1.0, |second| second.t_s + 1.0);
    let top = record
        .seconds
        .iter()
        .map(|second| second.ok.max(second.errors) as f64)
        .fold(1.0, f64::max);
    let moment = |name: &str, ink, at: Option<f64>| {
        at.map(|at| Series {
            name: name.to_owned(),
            ink,
            shape: Shape::Dashed,
            points: vec![(at, Some(0.0)), (at, Some(top))],
        })
    };
    let mut series = vec![
        Series {
            name: "successes".into(),
            ink: Ink::First,
            shape: Shape::Line,
            points: points(|second| second.ok, 0.5),
        },
        Series {
            name: "failures".into(),
            ink: Ink::Bad,
            shape: Shape::Bars(0.9),
            points: points(|second| second.errors, 0.05),
        },
    ];
    let moments = &record.moments;
    series.extend(moment("killed", Ink::Warn, moments.killed_s));
    series.extend(moment("listens again", Ink::Second, moments.restarted_s));
    series.extend(moment("serves again", Ink::Fourth, moments.served_s));
    Plot {
        id: "recovery".into(),
        title: "Successes and failures, each second".into(),
        hint: "A dip in successes without failures is load that waited.".into(),
        x: Axis::Linear {
            from: 0.0,
            to: last,
            unit: "s",
        },
        y: Axis::from_zero(top, "/s"),
        series,
    }
}

pub(crate) fn render(record: &RecoveryRecord) -> Result<String, PageError> {
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let description = record
        .topology
        .as_ref()
        .map_or("", |topology| topology.description.as_str());
    let document = Document::new(
        format!("Recovery from the loss of {}", record.killed),
        &record.provenance,
    )
    .lead(format!(
        "{description} {} requests, {} failed.",
        record.requests, record.errors
    ))
    .gate(&record.gate, &record.validity);
    let failures = record.failures.iter().map(|failure| {
        vec![
            failure.kind.clone(),
            failure.count.to_string(),
            format!("{:.3} %", failure.percent),
            failure.likely_cause.clone(),
        ]
    });
    let seconds = record
        .seconds
        .iter()
        .filter(|second| second.errors > 0)
        .map(|second| {
            let kinds = second.kinds.iter();
            let kinds: Vec<_> = kinds
                .map(|(kind, count)| format!("{count} × {kind}"))
                .collect();
            vec![
                format!("{:.0} s", second.t_s),
                second.ok.to_string(),
                second.errors.to_string(),
                kinds.join(", "),
            ]
        });
    document
        .part(Part::verdict("", &record.verdict, explanation(record)))
        .part(Part::Charts(vec![plot(record)]))
        .part(Part::Table {
            title: "What happened when".into(),
            header: strings(&["", "since the measured part began"]),
            rows: timeline(record)
                .into_iter()
                .map(|(what, when)| vec![what, when])
                .collect(),
            note: "Failures count when the client noticed them; \"serves again\" is what the replica itself says.".into(),
        })
        .part(Part::Table {
            title: "Failures by kind".into(),
            header: strings(&["kind", "count", "of all requests", "likely cause"]),
            rows: failures.collect(),
            note: String::new(),
        })
        .part(Part::Table {
            title: "Seconds with failures".into(),
            header: strings(&["second", "successes", "failures", "kinds"]),
            rows: seconds.collect(),
            note: String::new(),
        })
        .render()
}
