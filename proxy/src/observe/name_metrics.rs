//! Metrics of the look-up of servers' names.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::metrics::register;
use crate::upstream::NameStats;

/// Metrics of the look-up of servers' names.
pub struct NameMetrics {
    ended: IntCounterVec,
    stale: IntGauge,
}

impl NameMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            ended: register(
                r,
                IntCounterVec::new(
                    Opts::new(
                        "weir_name_lookups_total",
                        "Look-ups of servers' names: answered, failed.",
                    ),
                    &["outcome"],
                )?,
            )?,
            stale: register(
                r,
                IntGauge::new(
                    "weir_names_stale",
                    "Names of servers whose last look-up failed: their last addresses are used.",
                )?,
            )?,
        })
    }

    /// Takes over how look-ups went.
    pub fn set(&self, stats: NameStats) {
        for (outcome, value) in [("answered", stats.answered), ("failed", stats.failed)] {
            let counter = self.ended.with_label_values(&[outcome]);
            counter.inc_by(value.saturating_sub(counter.get()));
        }
        self.stale
            .set(i64::try_from(stats.stale).unwrap_or(i64::MAX));
    }
}
