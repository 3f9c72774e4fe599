//! Ending a run whose thresholds are missed so clearly that going on makes no sense.

use std::time::Duration;

use parking_lot::Mutex;

use crate::{
    record::Totals,
    slo::{
        Rule,
        figures::{Live, value, write},
    },
    stop::StopToken,
    summary::Aborted,
};

/// Looks at the sums of the measured part once a second, and stops the run at the first breach.
#[derive(Debug)]
pub struct AbortWatch {
    rules: Vec<Rule>,
    stop: StopToken,
    breach: Mutex<Option<Aborted>>,
}

impl AbortWatch {
    /// Watches those of the rules that have `abort`; a breach stops this token.
    #[must_use]
    pub fn new(rules: &[Rule], stop: StopToken) -> Self {
        Self {
            rules: rules
                .iter()
                .filter(|rule| rule.abort.is_some())
                .cloned()
                .collect(),
            stop,
            breach: Mutex::new(None),
        }
    }

    /// Judges everything that was measured so far. The first breach counts, later ones do not.
    pub fn look(&self, totals: &Totals, elapsed: Duration) {
        if self.rules.is_empty() || self.stop.is_stopped() {
            return;
        }
        let live = Live {
            totals,
            seconds: elapsed.as_secs_f64(),
        };
        for rule in &self.rules {
            let early = rule.abort.is_none_or(|abort| elapsed < abort.after);
            // What was not measured yet breaches nothing.
            let Some(seen) = value(&live, rule)
                .ok()
                .filter(|seen| !early && !rule.is_met(*seen))
            else {
                continue;
            };
            *self.breach.lock() = Some(Aborted {
                rule: rule.to_string(),
                value: write(rule.metric.unit(), seen),
                after_s: elapsed.as_secs_f64(),
            });
            self.stop.stop();
            return;
        }
    }

    /// The breach that stopped the run, if there was one.
    #[must_use]
    pub fn breach(&self) -> Option<Aborted> {
        self.breach.lock().clone()
    }
}
