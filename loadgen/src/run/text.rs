//! What is about to be done, in a sentence.

use crate::{
    scenario::{Load, Scenario},
    units::format_duration,
};

/// What is about to be done.
pub(super) fn opening(scenario: &Scenario, subject: &str) -> String {
    let load = match &scenario.load {
        Load::Closed(closed) => format!("{} users", closed.users),
        Load::Open(_) => format!(
            "{:.0} requests/s over up to {} connections",
            scenario.intended_rate().unwrap_or_default().get(),
            scenario.connections
        ),
    };
    format!(
        "{}: {load} for {} after {} of warm-up, {} engine, to {}",
        scenario.name,
        format_duration(scenario.duration),
        format_duration(scenario.warmup),
        scenario.engine.name(),
        subject
    )
}
