//! Reading rules from text.

use std::str::FromStr;

use super::{Abort, Metric, Relation, Rule};
use crate::units::parse_duration;

/// A rule cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}`: {reason}")]
pub struct SloError {
    /// The rule as written.
    pub rule: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// What a whole rule looks like, for messages.
const EXAMPLES: &str = "\"p99 < 200ms\", \"errors < 0.1%\" or \"login: p95 < 80ms\"";

/// Reads rules separated by commas; an empty text has none.
///
/// # Errors
///
/// [`SloError`] for the first rule that cannot be read.
pub fn parse_list(text: &str) -> Result<Vec<Rule>, SloError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(str::parse).collect()
}

/// Rules as one argument of a command line, separated by commas.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleList(pub Vec<Rule>);

impl FromStr for RuleList {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        parse_list(text).map(Self)
    }
}

impl FromStr for Rule {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let text = text.trim();
        rule(text).map_err(|reason| SloError {
            rule: text.to_owned(),
            reason,
        })
    }
}

fn rule(text: &str) -> Result<Rule, String> {
    if text.is_empty() {
        return Err(format!("a rule is missing: write {EXAMPLES}"));
    }
    let at = text
        .rfind(['<', '>'])
        .ok_or_else(|| format!("has no `<`, `<=`, `>` or `>=`: write {EXAMPLES}"))?;
    let (left, right) = text.split_at(at);
    let (relation, right) = relation(right);
    let (endpoint, metric) = match left.rsplit_once(':') {
        Some((endpoint, metric)) => (Some(endpoint.trim().to_owned()), metric),
        None => (None, left),
    };
    if endpoint.as_deref() == Some("") {
        return Err("no endpoint is named before the `:`".to_owned());
    }
    if metric.trim().is_empty() {
        return Err(format!("no metric is named: write {EXAMPLES}"));
    }
    let metric: Metric = metric.parse()?;
    let (limit, abort) = limit_and_abort(right)?;
    let rule = Rule {
        endpoint,
        limit: metric.unit().read(limit)?,
        metric,
        relation,
        abort,
    };
    possible(&rule)?;
    Ok(rule)
}

/// Refuses what no run could meet, or what has no meaning.
pub(super) fn possible(rule: &Rule) -> Result<(), String> {
    if rule.endpoint.is_some() && rule.metric == Metric::Unsent {
        return Err(
            "`unsent` is about the whole run: what was never sent has no endpoint".to_owned(),
        );
    }
    if rule.abort.is_some() && rule.metric == Metric::Unsent {
        return Err("`unsent` is known only at the end of a run, and cannot abort it".to_owned());
    }
    if rule.relation == Relation::Below && rule.limit == 0.0 {
        return Err(
            "nothing is below 0; write `<= 0` in the metric's unit to allow none".to_owned(),
        );
    }
    Ok(())
}

fn relation(text: &str) -> (Relation, &str) {
    for (sign, relation) in [
        ("<=", Relation::AtMost),
        (">=", Relation::AtLeast),
        ("<", Relation::Below),
    ] {
        if let Some(rest) = text.strip_prefix(sign) {
            return (relation, rest);
        }
    }
    (Relation::Above, text.strip_prefix('>').unwrap_or(text))
}

fn limit_and_abort(text: &str) -> Result<(&str, Option<Abort>), String> {
    let Some((limit, abort)) = text.split_once("abort") else {
        return Ok((text, None));
    };
    let abort = abort.trim();
    if abort.is_empty() {
        return Ok((limit, Some(Abort::default())));
    }
    let after = abort
        .strip_prefix("after ")
        .ok_or_else(|| "after `abort` comes nothing, or `after` and a duration".to_owned())?;
    let after = parse_duration(after).map_err(|error| error.to_string())?;
    Ok((limit, Some(Abort { after })))
}
