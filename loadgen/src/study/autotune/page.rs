//! The result as one HTML page.

use serde_json::Value;
use weir_lab::provenance::Provenance;

use super::{record::Report, tournament::Entrant};
use crate::{
    page::{
        PageError,
        chart::{Axis, Ink, Plot, Shape},
        document::{Document, Part, Tone},
    },
    stats::estimate,
    study::tuning::{
        page::{headers, or_dash, probability},
        plots::{line, pair_plot},
        print::{number, percent, range},
    },
};

/// Candidates that are drawn: those that came farthest.
const DRAWN: usize = 5;

/// Makes the page.
pub(crate) fn render(report: &Report) -> Result<String, PageError> {
    let provenance = Provenance::collect(report.at.clone());
    let title = format!(
        "Values for an objective: the workload of {}",
        report.workload
    );
    let (word, tone) = match report.proposal.is_null() {
        true => ("keep the current values", Tone::Warn),
        false => ("a proposal, proven", Tone::Good),
    };
    let (back, back_tone) = match report.restored {
        true => ("every trial value put back", Tone::Good),
        false => ("a trial value is not verified as put back", Tone::Bad),
    };
    Document::new(title, &provenance)
        .lead(format!(
            "{} candidates against the current values in interleaved pairs on one warm proxy; after every round the worse half drops out. The winner then meets the current values in fresh pairs. {:.0} s, seed {}.",
            report.candidates.len(),
            report.took_s,
            report.seed
        ))
        .badge(word.to_owned(), tone)
        .badge(back.to_owned(), back_tone)
        .part(objective(report))
        .part(candidates(report))
        .part(Part::Charts(vec![rounds_plot(report), proof_plot(report)]))
        .part(proof(report))
        .part(means(report))
        .part(patch(report))
        .render()
}

fn better(report: &Report) -> &'static str {
    match report.direction.sign() > 0.0 {
        true => "higher",
        false => "lower",
    }
}

fn objective(report: &Report) -> Part {
    Part::Text {
        title: "Objective".into(),
        paragraphs: vec![
            format!("A trial must meet: {}.", report.objective()),
            format!(
                "Among values that meet it, {} decides; {} is better.",
                report.metric,
                better(report)
            ),
            format!("In use: {}.", report.current.text),
        ],
    }
}

/// What every candidate came to, round by round.
fn candidates(report: &Report) -> Part {
    let rounds = report.tournament.iter().map(|e| e.rounds().len()).max();
    let rounds = rounds.unwrap_or(0);
    let mut header = headers(&["candidate"]);
    header.extend((1..=rounds).map(|round| format!("round {round}")));
    header.extend(headers(&[
        "all pairs (95 %)",
        "pairs",
        "objective met",
        "ended",
    ]));
    let row = |entrant: &Entrant| {
        let name = report.candidates.get(entrant.candidate);
        let mut cells = vec![name.map_or_else(String::new, |name| name.text.clone())];
        let by_round = entrant.rounds();
        for round in 0..rounds {
            cells.push(or_dash(
                by_round.get(round).map(|logs| share(report, entrant, logs)),
            ));
        }
        cells.push(overall(report, entrant));
        cells.push(entrant.improvements.len().to_string());
        cells.push(format!("{} of {}", entrant.met, entrant.improvements.len()));
        cells.push(match entrant.dropped_after {
            Some(round) => format!("after round {round}"),
            None => "went to the proof".to_owned(),
        });
        cells
    };
    Part::Table {
        title: "Candidates by round".into(),
        header,
        rows: report.tournament.iter().map(row).collect(),
        note: format!(
            "Change of {} against the current values, mean of the round's pairs; round k has 2^(k−1) pairs for each that is left. Those that meet the objective more often go before those that are better. Fewer than three pairs have no interval. The winner was chosen by these figures, so they flatter it: the proof below does not.",
            report.metric
        ),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn share(report: &Report, entrant: &Entrant, logs: &[f64]) -> String {
    if entrant.is_comparable() {
        percent(report.change(mean(logs)))
    } else {
        "not measured".to_owned()
    }
}

fn overall(report: &Report, entrant: &Entrant) -> String {
    if !entrant.is_comparable() {
        return "not measured".to_owned();
    }
    match estimate(&entrant.improvements, report.seed) {
        Some(found) => {
            let (mean, interval) = report.changes(&found);
            format!("{} ({})", percent(mean), range(interval))
        }
        None if entrant.improvements.is_empty() => "–".to_owned(),
        None => percent(report.change(entrant.mean())),
    }
}

/// The means of each round, of the candidates that came farthest.
fn rounds_plot(report: &Report) -> Plot {
    let series: Vec<_> = report
        .tournament
        .iter()
        .filter(|entrant| entrant.is_comparable() && !entrant.improvements.is_empty())
        .take(DRAWN)
        .enumerate()
        .map(|(index, entrant)| {
            let name = report.candidates.get(entrant.candidate);
            let points = entrant.rounds().into_iter().enumerate();
            line(
                name.map_or("", |name| &name.text),
                Ink::ranked(index),
                Shape::Line,
                points
                    .map(|(round, logs)| ((round + 1) as f64, report.change(mean(logs)) * 100.0))
                    .collect(),
            )
        })
        .collect();
    let all = || {
        series
            .iter()
            .flat_map(|s| s.points.iter().filter_map(|(x, y)| Some((*x, (*y)?))))
    };
    let right = all().map(|(x, _)| x).fold(1.0, f64::max);
    let low = all().map(|(_, y)| y).fold(0.0, f64::min);
    let high = all().map(|(_, y)| y).fold(0.0, f64::max);
    let room = ((high - low) * 0.1).max(1.0);
    Plot {
        id: "rounds".into(),
        title: "Round by round".into(),
        hint: format!(
            "Change of {} in percent, mean of each round; {} is better. The candidates that came farthest.",
            report.metric,
            better(report)
        ),
        x: Axis::Linear {
            from: 0.5,
            to: right + 0.5,
            unit: "",
        },
        y: Axis::Linear {
            from: low - room,
            to: high + room,
            unit: "%",
        },
        series,
    }
}

fn proof_plot(report: &Report) -> Plot {
    let found = report.proof.estimate.map(|found| report.changes(&found));
    pair_plot(
        "proof".into(),
        format!("Proof: {}, pair by pair", report.proof.candidate.text),
        &report.metric,
        report.direction,
        &report.proof.pairs,
        found.map(|found| found.0),
        found.map(|found| found.1),
    )
}

fn proof(report: &Report) -> Part {
    let proof = &report.proof;
    let change = match proof.estimate.map(|found| report.changes(&found)) {
        Some((mean, interval)) => format!(
            "{} changed by {} (95 % interval: {}; {} fresh pairs, p {}).",
            report.metric,
            percent(mean),
            range(interval),
            proof.pairs.len(),
            probability(proof.estimate.map_or(1.0, |found| found.p_value))
        ),
        None => format!("{} could not be compared.", report.metric),
    };
    let verdict = match report.proposal.is_null() {
        true => format!("Keep the current values: {}.", report.why),
        false => format!("Proposed: {}.", report.why),
    };
    Part::Text {
        title: "The proof".into(),
        paragraphs: vec![
            format!(
                "{} against {}, in pairs that had no part in choosing it.",
                proof.candidate.text, report.current.text
            ),
            format!(
                "The objective was met in {} of {} pairs with it, in {} with the current values.",
                proof.met,
                proof.pairs.len(),
                proof.met_before
            ),
            change,
            verdict,
        ],
    }
}

fn means(report: &Report) -> Part {
    let [before, after] = &report.proof.means;
    Part::Table {
        title: "The proof: means of its trials".into(),
        header: headers(&["figure", "current values", "winner"]),
        rows: before
            .iter()
            .map(|(name, value)| {
                let with = after.get(name).map(|value| number(*value));
                vec![name.clone(), number(*value), or_dash(with)]
            })
            .collect(),
        note: String::new(),
    }
}

/// The patch, setting by setting and as a body for the admin API.
fn patch(report: &Report) -> Part {
    if report.proposal.is_null() {
        return Part::Text {
            title: "The patch".into(),
            paragraphs: vec!["None: the current values stay.".to_owned()],
        };
    }
    let before = leaves(&report.current.patch);
    let rows = leaves(&report.proposal).into_iter().map(|(path, value)| {
        let now = before.iter().find(|(other, _)| *other == path);
        vec![path, or_dash(now.map(|(_, value)| value.clone())), value]
    });
    Part::Table {
        title: "The patch".into(),
        header: headers(&["setting", "current", "proposed"]),
        rows: rows.collect(),
        note: format!("PATCH /v1/settings {}", report.proposal),
    }
}

/// Paths and values of a patch.
fn leaves(patch: &Value) -> Vec<(String, String)> {
    let Value::Object(fields) = patch else {
        return vec![(String::new(), patch.to_string())];
    };
    let inner = fields.iter().flat_map(|(name, value)| {
        leaves(value)
            .into_iter()
            .map(move |(path, value)| match path.as_str() {
                "" => (name.clone(), value),
                _ => (format!("{name}.{path}"), value),
            })
    });
    inner.collect()
}
