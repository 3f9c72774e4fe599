//! The one sentence that a report begins with, and the key figures beside what they must meet.

use serde::Serialize;
use weir_load::{
    summary::{Summary, Verdict},
    units::{milliseconds, percent},
};

use super::Kind;
use crate::{
    compare::{Comparison, Grade, Outcome},
    judge::{Row, Status},
    results::RunRecord,
};

/// The verdict in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Headline {
    /// Good, bad, or to be read with care.
    pub(super) kind: Kind,
    /// A few words.
    pub(super) title: String,
    /// What was measured, and what stands against it.
    pub(super) text: Vec<String>,
}

/// A key figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tile {
    /// The figure with its unit.
    pub(super) value: String,
    /// What it is.
    pub(super) name: String,
    /// What it must be, or what it is a part of; may be empty.
    pub(super) note: String,
    /// Whether it is as it must be.
    pub(super) kind: Kind,
}

/// The verdict on a run in words.
pub(super) fn headline(record: &RunRecord, summary: &Summary) -> Headline {
    let missed: Vec<_> = record.verdict.iter().filter(|row| is_missed(row)).collect();
    let (kind, title) = match record.gate.as_str() {
        _ if summary.validity.verdict == Verdict::Invalid => (
            Kind::Bad,
            "Invalid: these numbers cannot be believed".to_owned(),
        ),
        "stopped" => (
            Kind::Warn,
            format!(
                "Stopped early, {}",
                record.stopped.as_deref().unwrap_or("on request")
            ),
        ),
        "failed" => (
            Kind::Bad,
            match missed.len() {
                1 => "Failed: one threshold is missed".to_owned(),
                count => format!(
                    "Failed: {count} of {} thresholds are missed",
                    record.verdict.len()
                ),
            },
        ),
        _ if record.verdict.is_empty() => (
            Kind::Plain,
            "Measured; there was nothing to judge by".to_owned(),
        ),
        _ => (Kind::Good, passed(&record.verdict)),
    };
    let regressed = record
        .comparison
        .as_ref()
        .filter(|comparison| comparison.result == Outcome::Regression);
    // A run that cannot be believed has not become worse, either.
    let (kind, title) = match regressed {
        Some(comparison) if summary.validity.verdict != Verdict::Invalid => {
            (Kind::Bad, regression(comparison, record, &title))
        }
        _ => (kind, title),
    };
    let mut text = vec![measured(summary)];
    text.extend(regressed.map(worse));
    if let Some(comparison) = &record.comparison
        && comparison.result == Outcome::Invalid
    {
        text.push(format!(
            "The comparison with the baseline {} says nothing: a run on one of the sides cannot be believed.",
            comparison.against
        ));
    }
    if !missed.is_empty() {
        let rows = missed
            .iter()
            .map(|row| format!("{} is {}, must be {}", row.metric, row.value, row.threshold));
        text.push(format!("Missed: {}.", rows.collect::<Vec<_>>().join("; ")));
    }
    if let Some(failure) = summary
        .failures
        .iter()
        .find(|failure| failure.kind != "status_429")
    {
        text.push(format!(
            "Most frequent failure: {} ({} times). Likely cause: {}.",
            failure.kind,
            failure.count,
            failure.likely_cause.trim_end_matches('.')
        ));
    }
    if summary.validity.verdict == Verdict::Suspect {
        text.push("Read with care, for the reasons below.".to_owned());
    }
    Headline { kind, title, text }
}

/// The title of a run that is worse than its baseline: that first, then what the gate says.
fn regression(comparison: &Comparison, record: &RunRecord, otherwise: &str) -> String {
    let first = format!("Regression against the baseline {}", comparison.against);
    match record.gate.as_str() {
        "failed" | "stopped" => {
            let mut rest = otherwise.chars();
            let small = rest.next().map(char::to_lowercase);
            let small: String = small.into_iter().flatten().chain(rest).collect();
            format!("{first}, and {small}")
        }
        _ if record.verdict.is_empty() => first,
        _ => format!("{first}, although no threshold is missed"),
    }
}

/// Which figures are worse than the rules allow.
fn worse(comparison: &Comparison) -> String {
    let changes = comparison
        .changes
        .iter()
        .filter(|change| change.grade == Grade::Regression)
        .map(|change| {
            let relative = change
                .change
                .map_or_else(String::new, |change| format!(" ({:+.1} %)", change * 100.0));
            format!(
                "{} is {}, was {}{relative}",
                change.figure, change.after, change.before
            )
        });
    format!("Worse: {}.", changes.collect::<Vec<_>>().join("; "))
}

fn is_missed(row: &Row) -> bool {
    matches!(row.status, Status::Fail | Status::NotMeasured)
}

fn passed(rows: &[Row]) -> String {
    let out_of_reach = rows
        .iter()
        .filter(|row| row.status == Status::NotReachable)
        .count();
    match out_of_reach {
        0 => "Passed: every threshold is met".to_owned(),
        1 => "Passed, but one threshold is out of this load's reach".to_owned(),
        count => format!("Passed, but {count} thresholds are out of this load's reach"),
    }
}

fn measured(summary: &Summary) -> String {
    let rate = match summary.intended_rps {
        Some(intended) if summary.requests_per_arrival().is_some() => format!(
            "From {intended:.1} arrivals/s, each one request or a whole flow: {:.1}",
            summary.throughput_rps
        ),
        Some(intended) => format!("{:.1} of {intended:.1} intended", summary.throughput_rps),
        None => format!("{:.1}", summary.throughput_rps),
    };
    if summary.response.count == 0 {
        return format!(
            "No request succeeded in {:.0} s; {} were completed.",
            summary.duration_s, summary.requests
        );
    }
    format!(
        "{rate} requests/s for {:.0} s. Half of the answers came within {}, 99 of 100 within {}; {} of \
         the requests failed.",
        summary.duration_s,
        milliseconds(summary.response.p50_ms),
        milliseconds(summary.response.p99_ms),
        match summary.errors {
            0 => "none".to_owned(),
            _ => percent(summary.error_rate),
        }
    )
}

/// The key figures, each with its threshold.
pub(super) fn tiles(record: &RunRecord, summary: &Summary) -> Vec<Tile> {
    let latency = &summary.response;
    let time = |value: f64| match latency.count {
        0 => "–".to_owned(),
        _ => milliseconds(value),
    };
    let mut tiles = vec![
        (
            format!("{:.1}/s", summary.throughput_rps),
            "throughput",
            match (summary.intended_rps, summary.requests_per_arrival()) {
                (Some(intended), Some(_)) => format!("from {intended:.0} arrivals/s intended"),
                (Some(intended), None) => format!("of {intended:.0}/s intended"),
                (None, _) => String::new(),
            },
        ),
        (time(latency.p50_ms), "p50 latency", String::new()),
        (time(latency.p95_ms), "p95 latency", String::new()),
        (time(latency.p99_ms), "p99 latency", String::new()),
        (
            percent(summary.error_rate),
            "error rate",
            format!("{} of {}", summary.errors, summary.requests),
        ),
    ];
    if summary.limited > 0 {
        let share = summary.limited as f64 / summary.requests.max(1) as f64;
        tiles.push((summary.limited.to_string(), "answers 429", percent(share)));
    }
    if let Some(lag) = &summary.send_lag {
        let note = "at most 1 ms is allowed".to_owned();
        tiles.push((milliseconds(lag.p99_ms), "p99 send lag", note));
    }
    let judged = |(value, name, note): (String, &str, String)| {
        let row = record.verdict.iter().find(|row| row.metric == name);
        let kind = match row.map(|row| row.status) {
            Some(Status::Pass) => Kind::Good,
            Some(Status::Fail | Status::NotMeasured) => Kind::Bad,
            Some(Status::NotReachable) => Kind::Warn,
            None => match (name, &summary.send_lag) {
                ("answers 429", _) => Kind::Warn,
                ("p99 send lag", Some(lag)) if lag.p99_ms > 1.0 => Kind::Bad,
                _ => Kind::Plain,
            },
        };
        let must = row.map(|row| format!("must be {}", row.threshold));
        let note = [must.unwrap_or_default(), note]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(", ");
        Tile {
            value,
            name: name.to_owned(),
            note,
            kind,
        }
    };
    tiles.into_iter().map(judged).collect()
}

/// What was driven, how, as pairs of a name and a text; from the scenario as `run.json` keeps it.
pub(super) fn configuration(record: &RunRecord, summary: &Summary) -> Vec<(String, String)> {
    let scenario = &record.scenario;
    let text = |pointer: &str| {
        let value = scenario.pointer(pointer)?;
        match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    };
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.push((name.to_owned(), value));
        }
    };
    put("Target", Some(record.targets.join(" and ")));
    put("Scenario", text("/description"));
    let load = match text("/load/model").as_deref() {
        Some("open") => summary
            .intended_rps
            .map(|rate| match summary.requests_per_arrival() {
                Some(requests) => format!(
                    "open, {rate:.1} arrivals/s intended on average; an arrival is one request or a whole flow, {requests:.2} requests on average"
                ),
                None => format!("open, {rate:.1} requests/s intended on average"),
            }),
        Some("closed") => text("/load/users").map(|users| format!("closed, {users} users")),
        other => other.map(str::to_owned),
    };
    put("Load", load);
    put("Arrivals", text("/load/arrivals"));
    put("Users appear", text("/load/spawn_rate"));
    put(
        "Think time",
        text("/load/think_time").map(|text| text.replace('"', "")),
    );
    put("Duration", text("/duration"));
    put("Warm-up, not counted", text("/warmup"));
    put("Engine", text("/engine"));
    put("Connections at most", text("/connections"));
    put(
        "Timeouts",
        text("/timeouts").map(|text| text.replace('"', "")),
    );
    put("Seed", text("/seed"));
    let started = Some(summary.started_at.replace('T', " ").replace('Z', " UTC"));
    put("Measured from", started);
    facts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::tests::run, *};

    #[test]
    fn the_headline_says_what_became_of_the_run() {
        let (mut record, mut summary) = run("two");
        summary.validity.verdict = Verdict::Valid;
        record.comparison = None;
        let good = headline(&record, &summary);
        assert_eq!(
            (good.kind, good.title.as_str()),
            (Kind::Good, "Passed: every threshold is met")
        );
        assert!(good.text[0].starts_with("598.3 of 600.0 intended requests/s for 60 s."));
        assert!(
            good.text
                .last()
                .unwrap()
                .contains("Most frequent failure: reset")
        );

        record.gate = "failed".into();
        record.verdict[1].status = Status::Fail;
        let failed = headline(&record, &summary);
        assert_eq!(failed.title, "Failed: one threshold is missed");
        assert!(
            failed.text[1].starts_with("Missed: p95 latency is "),
            "{:?}",
            failed.text
        );

        record.gate = "stopped".into();
        record.stopped = Some("by Ctrl-C".into());
        assert_eq!(
            headline(&record, &summary).title,
            "Stopped early, by Ctrl-C"
        );

        summary.validity.verdict = Verdict::Invalid;
        assert!(headline(&record, &summary).title.starts_with("Invalid"));
    }

    #[test]
    fn a_regression_is_said_first() {
        let (mut record, mut summary) = run("two");
        let first = headline(&record, &summary);
        assert_eq!(
            (first.kind, first.title.as_str()),
            (
                Kind::Bad,
                "Regression against the baseline main, although no threshold is missed"
            )
        );
        assert_eq!(
            first.text[1],
            "Worse: p95 is 60.3 ms, was 41.0 ms (+47.0 %)."
        );

        record.gate = "failed".into();
        record.verdict[1].status = Status::Fail;
        let both = headline(&record, &summary).title;
        assert_eq!(
            both,
            "Regression against the baseline main, and failed: one threshold is missed"
        );

        summary.validity.verdict = Verdict::Invalid;
        assert!(headline(&record, &summary).title.starts_with("Invalid"));

        summary.validity.verdict = Verdict::Valid;
        record.verdict.clear();
        record.gate = "passed".into();
        let bare = headline(&record, &summary).title;
        assert_eq!(bare, "Regression against the baseline main");

        if let Some(comparison) = &mut record.comparison {
            comparison.result = Outcome::Invalid;
        }
        let unknown = headline(&record, &summary);
        assert_ne!(unknown.kind, Kind::Bad);
        assert!(
            unknown
                .text
                .iter()
                .any(|line| line.contains("says nothing")),
            "{:?}",
            unknown.text
        );
    }

    #[test]
    fn arrivals_that_may_be_flows_are_not_taken_for_requests() {
        let (record, mut summary) = run("two");
        summary.extra.insert("requests_per_arrival".into(), 2.5);
        let text = &headline(&record, &summary).text[0];
        assert!(text.starts_with("From 600.0 arrivals/s, each one request or a whole flow: 598.3"));
        let tiles = tiles(&record, &summary);
        assert!(tiles[0].note.ends_with("from 600 arrivals/s intended"));
        let facts = configuration(&record, &summary);
        let load = facts.iter().find(|(name, _)| name == "Load").unwrap();
        assert!(load.1.ends_with("2.50 requests on average"), "{load:?}");
    }

    #[test]
    fn tiles_stand_beside_their_thresholds() {
        let (record, summary) = run("two");
        let tiles = tiles(&record, &summary);
        let tile = |name: &str| tiles.iter().find(|tile| tile.name == name).unwrap();
        assert_eq!(
            tile("throughput").note,
            "must be > 500/s, of 600/s intended"
        );
        assert_eq!(tile("p95 latency").kind, Kind::Good);
        assert_eq!(tile("answers 429").kind, Kind::Warn);
        assert_eq!(tile("p99 send lag").value, "0.31 ms");
    }

    #[test]
    fn a_run_without_answers_has_a_headline_too() {
        let (mut record, mut summary) = run("two");
        summary.response.count = 0;
        summary.requests = 0;
        record.verdict.clear();
        record.gate = "passed".into();
        let headline = headline(&record, &summary);
        assert!(headline.text[0].starts_with("No request succeeded"));
        assert!(
            tiles(&record, &summary)
                .iter()
                .any(|tile| tile.value == "–")
        );
    }
}
