//! Contradictions between a load profile, a proxy's settings and the thresholds, found by
//! arithmetic before any run. Every rule computes from [`Facts`]; no text is tied to a profile.

mod facts;
mod load;
mod memory;
mod proxy;
pub mod raise;

pub use facts::{Closed, Facts, LimitFacts, Offered, ProxyFacts};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judge::Reach;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know when reading the result.
    Note,
    /// The result supports less than it seems to.
    Warning,
    /// A threshold cannot be met, whatever the target does.
    Error,
}

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name of the rule, e.g. `offered-rate`.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// The contradiction in one line.
    pub title: String,
    /// The arithmetic.
    pub detail: String,
    /// What would make it possible.
    pub remedy: String,
    /// The numbers of the arithmetic by name, for programs.
    pub numbers: BTreeMap<String, f64>,
}

impl Finding {
    fn new(code: &str, severity: Severity, title: String) -> Self {
        Self {
            code: code.to_owned(),
            severity,
            title,
            detail: String::new(),
            remedy: String::new(),
            numbers: BTreeMap::new(),
        }
    }

    fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = text.into();
        self
    }

    fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = text.into();
        self
    }

    fn number(mut self, name: &str, value: f64) -> Self {
        self.numbers.insert(name.to_owned(), value);
        self
    }
}

/// Applies every rule; the gravest findings come first.
#[must_use]
pub fn lint(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = [
        load::offered_rate(facts),
        load::sample_size(facts),
        load::weights(facts),
        load::arrivals(facts),
        memory::claim(facts),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(settings) = &facts.proxy {
        for limit in &settings.limits {
            findings.extend(proxy::rate_limit(facts, limit));
            findings.extend(proxy::burst_delay(facts, limit));
        }
        findings.extend(proxy::not_bound(facts, settings));
        findings.extend(proxy::connect_timeout(facts, settings));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// The most requests per second that the profile can offer, for [`crate::judge::judge`].
#[must_use]
pub fn reach(facts: &Facts) -> Option<Reach> {
    facts.offered.max_rps.map(|rps| Reach { rps })
}

/// A number for people: thousands separated, no needless decimals.
fn human(value: f64) -> String {
    let rounded = if value.abs() >= 100.0 {
        value.round()
    } else {
        (value * 100.0).round() / 100.0
    };
    let text = format!("{rounded}");
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && digit.is_ascii_digit() && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    if seconds >= 120.0 && seconds % 60.0 == 0.0 {
        format!("{} minutes", human(seconds / 60.0))
    } else if seconds >= 1.0 || seconds == 0.0 {
        format!("{} s", human(seconds))
    } else {
        format!("{} ms", human(seconds * 1000.0))
    }
}

#[cfg(test)]
mod tests;
