//! Memory growth of each process, with a verdict that claims no more than the run supports.

use std::time::Duration;

use weir_lab::sample::{estimate_growth, growth::Growth};
use weir_load::summary::Summary;

const MB: f64 = 1e6;
const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 3600.0;

/// Growth of every process that was sampled often enough.
pub(super) fn of(summary: &Summary, limit_per_hour: Option<f64>) -> Vec<Growth> {
    let length = Duration::from_secs_f64(summary.duration_s.max(0.0));
    let growth = |process: &weir_load::summary::ProcessSummary| {
        let samples: Vec<_> = process
            .samples
            .iter()
            .map(|(t_s, _, rss)| (*t_s, *rss as f64))
            .collect();
        let estimate = estimate_growth(&samples, length)?;
        Some(Growth {
            process: process.name.clone(),
            per_minute: estimate.per_second * MINUTE_S,
            low: estimate.low * MINUTE_S,
            high: estimate.high * MINUTE_S,
            detectable: estimate.detectable * MINUTE_S,
            verdict: verdict(
                estimate.low * HOUR_S,
                estimate.high * HOUR_S,
                estimate.detectable * HOUR_S,
                limit_per_hour,
            ),
        })
    };
    summary.processes.iter().filter_map(growth).collect()
}

/// What an interval of growth per hour allows one to say.
fn verdict(low: f64, high: f64, detectable: f64, limit: Option<f64>) -> String {
    let mb = |bytes: f64| format!("{:.0} MB/h", bytes / MB);
    match limit {
        Some(limit) if low > limit => format!("grows by more than {}", mb(limit)),
        Some(limit) if detectable > limit => format!(
            "too short to judge {}: growth below {} could not have been told from none",
            mb(limit),
            mb(detectable)
        ),
        Some(limit) if high < limit => format!("grows by less than {}", mb(limit)),
        Some(limit) => format!(
            "undecided about {}: between {} and {}",
            mb(limit),
            mb(low),
            mb(high)
        ),
        None if low > 0.0 => format!("grows, by {} to {}", mb(low), mb(high)),
        None => format!(
            "no growth seen; below {} none could have been",
            mb(detectable)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_claim_no_more_than_the_run_supports() {
        let limit = Some(10.0 * MB);
        assert_eq!(
            verdict(20.0 * MB, 40.0 * MB, 5.0 * MB, limit),
            "grows by more than 10 MB/h"
        );
        assert_eq!(
            verdict(-MB, 2.0 * MB, 5.0 * MB, limit),
            "grows by less than 10 MB/h"
        );
        assert!(verdict(-MB, 2.0 * MB, 50.0 * MB, limit).starts_with("too short to judge 10 MB/h"));
        assert!(verdict(5.0 * MB, 15.0 * MB, 5.0 * MB, limit).starts_with("undecided"));
    }
}
