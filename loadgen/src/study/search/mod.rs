//! The highest level of load that still meets its objectives.
//!
//! `finder` decides where to look next and knows nothing of runs; [`search`] makes the probes,
//! judges them, and keeps the books.

mod finder;
pub mod level;
pub(crate) mod page;
mod record;
pub mod subject;

use std::time::Duration;

use weir_load::{summary::Verdict, units::percent};

pub use self::{
    finder::{Bounds, Finder, Found, Limit, Purpose, Reading, Step},
    record::{Answer, FILE, Figures, Over, ProbeRecord, Procedure, SearchRecord, served, word},
};
use crate::{judge::Status, measure::Probed};

/// Reads a probe: an invalid one says nothing about the target, whatever its figures; otherwise
/// every rule must be met, and at least `least_served` of the intended requests answered well.
#[must_use]
pub fn read(probed: &Probed, least_served: f64) -> (Reading, Vec<String>) {
    let summary = &probed.summary;
    if summary.validity.verdict == Verdict::Invalid {
        return (Reading::Invalid, summary.validity.reasons.clone());
    }
    let missed_rows = probed.rows.iter().filter(|row| row.status != Status::Pass);
    let mut missed: Vec<String> = missed_rows
        .map(|row| match row.status {
            Status::NotMeasured => format!("{} {} (not measured)", row.metric, row.threshold),
            _ => format!("{} {} (was {})", row.metric, row.threshold, row.value),
        })
        .collect();
    let served = served(summary);
    if served < least_served {
        missed.push(format!(
            "served {} of the intended requests, at least {} are wanted",
            percent(served),
            percent(least_served)
        ));
    }
    if missed.is_empty() {
        (Reading::Holds, missed)
    } else {
        (Reading::Misses, missed)
    }
}

/// Time that a search may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// All of it.
    pub total: Duration,
    /// One probe with its warm-up.
    pub probe: Duration,
}

/// Searches: makes probes until there is an answer, the budget runs out, or `stopped` says so.
///
/// `elapsed` is the time since the search began; `probe` makes one at a level, numbered from 1, and gives none
/// when somebody asked for an end; `tell` hears of each.
///
/// # Errors
///
/// The first error of a probe.
pub fn search<E>(
    bounds: Bounds,
    least_served: f64,
    budget: Budget,
    mut elapsed: impl FnMut() -> Duration,
    mut probe: impl FnMut(f64, u64) -> Result<Option<Probed>, E>,
    mut tell: impl FnMut(&ProbeRecord),
) -> Result<(Found, Vec<ProbeRecord>), E> {
    let mut finder = Finder::new(bounds);
    let mut probes: Vec<ProbeRecord> = Vec::new();
    loop {
        let (level, purpose) = match finder.next() {
            Step::Done(found) => return Ok((found, probes)),
            Step::Probe { level, purpose } => (level, purpose),
        };
        let at = elapsed();
        if at + budget.probe > budget.total {
            finder.give_up();
            continue;
        }
        let Some(probed) = probe(level, probes.len() as u64 + 1)? else {
            finder.give_up();
            continue;
        };
        let (reading, why) = read(&probed, least_served);
        let record = ProbeRecord {
            number: probes.len() + 1,
            at_s: at.as_secs_f64(),
            level,
            purpose: record::purpose_word(purpose),
            reading: word(reading).to_owned(),
            why,
            figures: Figures::of(&probed.summary),
        };
        tell(&record);
        probes.push(record);
        finder.tell(reading);
    }
}
