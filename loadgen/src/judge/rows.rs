//! Rows of the verdict for rules of any kind.

use weir_load::{
    slo::{
        Metric, Rule, Statistic,
        figures::{Figures, Finished, value, write},
    },
    units::rounded,
};

use super::{FEW_TAIL_SAMPLES, Reach, Row, Status};

/// One row a rule.
pub(super) fn rule_row(figures: &Finished<'_>, rule: &Rule, reach: Option<Reach>) -> Row {
    let (status, shown, note) = match value(figures, rule) {
        Err(reason) => (Status::NotMeasured, "–".to_owned(), reason.to_owned()),
        Ok(value) => {
            let (status, note) = if rule.is_met(value) {
                (Status::Pass, few_samples(figures, rule))
            } else if let Some(reach) = out_of_reach(rule, reach) {
                let note = format!(
                    "not reachable with this profile (at most {}/s)",
                    rounded(reach.rps)
                );
                (Status::NotReachable, note)
            } else {
                (Status::Fail, few_samples(figures, rule))
            };
            (status, write(rule.metric.unit(), value), note)
        }
    };
    Row {
        metric: rule.subject(),
        value: shown,
        threshold: format!(
            "{} {}",
            rule.relation.sign(),
            write(rule.metric.unit(), rule.limit)
        ),
        status,
        note,
    }
}

/// The reach, if the rule asks for more than it.
fn out_of_reach(rule: &Rule, reach: Option<Reach>) -> Option<Reach> {
    let whole_rate =
        rule.endpoint.is_none() && matches!(rule.metric, Metric::Throughput | Metric::Rate);
    reach.filter(|reach| whole_rate && !rule.relation.is_upper_bound() && reach.rps <= rule.limit)
}

fn few_samples(figures: &Finished<'_>, rule: &Rule) -> String {
    let Metric::Latency {
        statistic: Statistic::Percentile(percentile),
        ..
    } = rule.metric
    else {
        return String::new();
    };
    let samples = figures
        .counts(rule.endpoint.as_deref())
        .map_or(0, |counts| counts.ok);
    let tail = samples as f64 * (1.0 - percentile / 100.0);
    if percentile < 100.0 && tail < FEW_TAIL_SAMPLES {
        format!("rests on {tail:.0} of {samples} samples")
    } else {
        String::new()
    }
}
