//! What a run must meet, one rule at a time: `p99.9 < 300ms`, `login: p95 < 80ms`, `errors < 0.1%`.
//!
//! One grammar for every place where people write such a rule: `--slo` on the command line, `rules`
//! in a scenario or in `config/thresholds.toml`.
//!
//! ```text
//! rules  = rule { "," rule }
//! rule   = [ endpoint ":" ] [ "response" | "service" ] metric relation limit [ "abort" [ "after" duration ] ]
//! metric = "p" percent | "median" | "mean" | "min" | "max"   a latency; limit: a duration
//!        | "errors" | "success" | "limited" | "unsent"       a share;   limit: a percentage
//!        | "timeout" | "reset" | "status_503" | …            the share of one kind of failure
//!        | "throughput" | "rate"                             per second; limit: a rate
//! relation = "<" | "<=" | ">" | ">="
//! ```
//!
//! ```
//! use weir_load::slo::{Rule, parse_list};
//! let rules = parse_list("p99 < 200ms, errors < 0.1%")?;
//! assert_eq!(rules.len(), 2);
//! assert!(rules[0].is_met(199.9) && !rules[0].is_met(200.0));
//! let one: Rule = "login: service p99.9 <= 1.5s".parse()?;
//! assert_eq!(one.to_string(), "login: service p99.9 <= 1.5s");
//! # Ok::<(), weir_load::slo::SloError>(())
//! ```

pub mod figures;
mod metric;
mod parse;
mod table;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    metric::{Metric, Statistic, Time, Unit},
    parse::{RuleList, SloError, parse_list},
    table::RuleEntry,
};
use crate::units::format_duration;

pub use self::figures::Histograms;

/// Measured time before which a rule with `abort` is not judged, unless the rule says otherwise:
/// a share or a percentile of the first few requests says little.
pub const DEFAULT_ABORT_AFTER: Duration = Duration::from_secs(10);

/// One threshold: a metric, of the whole run or of one endpoint, held against a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// The endpoint it is about, by its name in the scenario; `None` is the whole run.
    pub endpoint: Option<String>,
    /// What is measured.
    pub metric: Metric,
    /// How the value must stand to the limit.
    pub relation: Relation,
    /// The limit, in the unit of the metric ([`Metric::unit`]): milliseconds, a share from 0 to 1,
    /// or events per second.
    pub limit: f64,
    /// Whether a breach ends the run early.
    pub abort: Option<Abort>,
}

/// A breach of the rule ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// Measured time before which the rule is not judged.
    pub after: Duration,
}

impl Default for Abort {
    fn default() -> Self {
        Self {
            after: DEFAULT_ABORT_AFTER,
        }
    }
}

/// How a value must stand to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Relation {
    /// The sign.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    /// Whether a value stands to a limit as it must.
    #[must_use]
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
        }
    }

    /// Whether smaller values are better.
    #[must_use]
    pub fn is_upper_bound(self) -> bool {
        matches!(self, Self::Below | Self::AtMost)
    }
}

// === impl Rule ===

impl Rule {
    /// Whether a value, in the unit of the metric, meets the rule.
    #[must_use]
    pub fn is_met(&self, value: f64) -> bool {
        self.relation.holds(value, self.limit)
    }

    /// Name of what is measured, with the endpoint: `login: p95`.
    #[must_use]
    pub fn subject(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("{endpoint}: {}", self.metric),
            None => self.metric.to_string(),
        }
    }

    /// Whether it judges the same thing in the same direction, so that one replaces the other.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.metric == other.metric
            && self.relation.is_upper_bound() == other.relation.is_upper_bound()
    }

    /// Checks that the endpoint exists.
    ///
    /// # Errors
    ///
    /// A sentence that names the endpoints that exist.
    pub fn check_endpoint<'a>(
        &self,
        mut known: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), String> {
        match &self.endpoint {
            Some(endpoint) if !known.clone().any(|name| name == endpoint) => {
                let mut names = known.next().unwrap_or_default().to_owned();
                for name in known {
                    names = names + ", " + name;
                }
                Err(format!(
                    "no request is named `{endpoint}`; the scenario has {names}"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.subject(),
            self.relation.sign(),
            self.metric.unit().write(self.limit)
        )?;
        match self.abort {
            None => Ok(()),
            Some(abort) if abort == Abort::default() => f.write_str(" abort"),
            Some(abort) => write!(f, " abort after {}", format_duration(abort.after)),
        }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for Rule {
    type Error = SloError;

    fn try_from(text: String) -> Result<Self, SloError> {
        text.parse()
    }
}
