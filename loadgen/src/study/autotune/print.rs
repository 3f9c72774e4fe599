//! The result on the terminal, at most 100 columns wide.

use super::record::Report;
use crate::{
    study::{
        pairs::Pair,
        tuning::print::{number, percent, range},
    },
    text::wrapped,
};

/// The whole result, line by line.
pub(crate) fn print(report: &Report) {
    let say = |text: &str, first: &str, rest: &str| {
        weir_lab::stdio::say(format_args!("{}", wrapped(text, first, rest)));
    };
    say("", "", "");
    let better = match report.direction.sign() > 0.0 {
        true => "higher",
        false => "lower",
    };
    say(
        &format!(
            "{}; decided by {}, of which {better} is better",
            report.objective(),
            report.metric
        ),
        "Objective: ",
        "  ",
    );
    for entrant in &report.tournament {
        if let Some(candidate) = report.candidates.get(entrant.candidate) {
            let pairs = match entrant.improvements.len() {
                1 => "1 pair".to_owned(),
                many => format!("{many} pairs"),
            };
            let line = format!(
                "{}: {} {} in {pairs}, objective met in {}",
                candidate.text,
                report.metric,
                percent(report.change(entrant.mean())),
                entrant.met
            );
            say(&line, "  - ", "    ");
        }
    }
    let proof = &report.proof;
    let interval = proof.estimate.map_or_else(String::new, |found| {
        let (mean, interval) = report.changes(&found);
        format!(", {} (95 %: {})", percent(mean), range(interval))
    });
    let count = proof.pairs.len().max(1) as f64;
    let mean = |side: fn(&Pair) -> f64| proof.pairs.iter().map(side).sum::<f64>() / count;
    let line = format!(
        "{}: {} {} → {}{interval}; objective met in {} of {} pairs, with the current values in {}",
        proof.candidate.text,
        report.metric,
        number(mean(|pair| pair.a)),
        number(mean(|pair| pair.b)),
        proof.met,
        proof.pairs.len(),
        proof.met_before
    );
    say(&line, "Proof: ", "  ");
    if report.proposal.is_null() {
        say(&report.why, "Keep the current values: ", "  ");
    } else {
        say(&report.why, "Proposed: ", "  ");
        weir_lab::stdio::say(format_args!("  PATCH /v1/settings {}", report.proposal));
    }
}
