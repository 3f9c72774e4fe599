//! What this program sees of its own measurement: a saturated machine, a generator near its
//! ceiling, a process that died, an override that lapsed.

use weir_lab::{error::TopologyError, record::TuningRecord};
use weir_load::summary::{Summary, Verdict};

use crate::results::ceiling::{Way, share};

/// Share of all cores from which processes take CPU time from each other.
const SATURATED: f64 = 0.90;
/// Share of all cores that others may use before it shows in latencies.
const BUSY_WITH_OTHERS: f64 = 0.15;

/// Adds to a summary's verdict what only shows from outside the generator.
pub(super) fn complete(
    summary: &mut Summary,
    way: Way,
    threads: usize,
    other_cores: Option<f64>,
    ended: Option<TopologyError>,
    tuning: Option<&TuningRecord>,
) {
    if let Some(error) = ended {
        add(
            summary,
            Verdict::Invalid,
            format!("a process under test died: {error}"),
        );
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let used: f64 = summary
        .processes
        .iter()
        .map(|process| process.cpu_percent / 100.0)
        .sum();
    if used > SATURATED * cores as f64 {
        let reason = format!(
            "the machine was saturated: {used:.2} of {cores} cores busy with the generator and the \
             processes under test together"
        );
        add(summary, Verdict::Suspect, reason);
    }
    if let Some(others) = other_cores {
        summary
            .extra
            .insert("other_programs_cores".to_owned(), others);
        if others > BUSY_WITH_OTHERS * cores as f64 {
            let reason =
                format!("other programs kept {others:.2} of {cores} cores busy during the run");
            add(summary, Verdict::Suspect, reason);
        }
    }
    share::note(summary, way, threads);
    if let Some(tuning) = tuning.filter(|tuning| tuning.problem.contains("renewal")) {
        let reason = format!(
            "the raised limits may not have held for the whole run: {}",
            tuning.problem
        );
        add(summary, Verdict::Suspect, reason);
    }
}

/// Notes that a process under test died.
pub(super) fn note_death(summary: &mut Summary, error: &TopologyError) {
    let reason = format!("a process under test died: {error}");
    add(summary, Verdict::Invalid, reason);
}

/// Notes that a process was interrupted over and over during the run.
pub(super) fn note_profile(summary: &mut Summary) {
    let reason = "a profiler interrupted a process under test: latencies include its cost";
    add(summary, Verdict::Suspect, reason.to_owned());
}

/// Notes that the run ended before its time. What was measured counts, but not as the whole.
pub(super) fn note_stop(summary: &mut Summary, reason: &str) {
    let text = format!("stopped {reason} after {:.1} s", summary.duration_s);
    add(summary, Verdict::Suspect, text);
}

fn add(summary: &mut Summary, verdict: Verdict, reason: String) {
    let validity = &mut summary.validity;
    validity.verdict = validity.verdict.max(verdict);
    validity.reasons.push(reason);
}
