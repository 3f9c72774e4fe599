//! A tuning claim as data: registered before it is tried.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{
    quantity::Quantity,
    workload::{Measures, Workload},
};
use crate::study::{pairs::Direction, rig::base::patch};

/// One row of a tuning table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// Short name, unique in the table.
    pub row: String,
    /// The setting, by its path in the live settings: `upstream.api.keepalive`.
    pub setting: String,
    /// nginx's name for it; empty if it has none.
    pub nginx: String,
    /// The value in use.
    pub current: Quantity,
    /// The values that are said to be better, in the order in which they are tried.
    pub recommended: Vec<Quantity>,
    /// Why, as the table says.
    pub reason: String,
    /// The primary metric: one of the workload's measures.
    pub metric: String,
    /// Which way the metric should move.
    pub direction: Direction,
    /// Smallest relative effect that matters, for instance 0.05.
    pub smallest_effect: f64,
    /// What shows that the workload reaches the setting, at its current value.
    pub binds: Condition,
    /// What a workload needs to reach it, for people.
    pub needs: String,
    /// When a value is enough; none: no search for the smallest such value.
    pub enough: Option<Condition>,
    /// Sizes at which the workload is also tried, for the evidence; their meaning is the workload's.
    pub series: Vec<f64>,
    /// Whether the metric is a count that does not scatter, so that three pairs are enough.
    pub exact: bool,
    /// The workload that reaches the setting.
    pub binding: Workload,
    /// The workload that does not, and must show no difference.
    pub control: Workload,
}

impl Claim {
    /// The merge patch that gives the setting a value.
    #[must_use]
    pub fn patch(&self, value: Quantity) -> Value {
        patch(&self.setting, value.to_json())
    }

    /// The factor by which times of trials are shortened in a quick check: ten for rows whose very
    /// setting is a time.
    #[must_use]
    pub fn quick_factor(&self) -> f64 {
        if self.current.duration().is_some() {
            0.1
        } else {
            1.0
        }
    }
}

/// A comparison of a measure with a number: `rejected > 0`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The measure.
    pub measure: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub limit: f64,
}

/// How a measure is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Greater than.
    Above,
    /// At least.
    AtLeast,
    /// Less than.
    Below,
    /// At most.
    AtMost,
}

impl Comparison {
    fn text(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }
}

impl Condition {
    /// Reads `measure > 0.05`.
    ///
    /// # Errors
    ///
    /// When it has another form; the text says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a condition: a measure, one of > >= < <=, and a number, such as \"rejected > 0\""
            )
        };
        let words: Vec<_> = text.split_whitespace().collect();
        let [measure, comparison, limit] = words[..] else {
            return Err(wrong());
        };
        let comparison = match comparison {
            ">" => Comparison::Above,
            ">=" => Comparison::AtLeast,
            "<" => Comparison::Below,
            "<=" => Comparison::AtMost,
            _ => return Err(wrong()),
        };
        let limit: f64 = limit.parse().map_err(|_| wrong())?;
        if !limit.is_finite() {
            return Err(wrong());
        }
        Ok(Self {
            measure: measure.to_owned(),
            comparison,
            limit,
        })
    }

    /// Whether it holds; none when there is no such measure.
    #[must_use]
    pub fn holds(&self, measures: &Measures) -> Option<bool> {
        let value = *measures.get(&self.measure)?;
        Some(match self.comparison {
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.measure,
            self.comparison.text(),
            self.limit
        )
    }
}

impl Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_read_and_decide() {
        let condition = Condition::parse("rejected > 0").unwrap();
        let of = |value: f64| Measures::from([("rejected".to_owned(), value)]);
        assert_eq!(condition.holds(&of(1.0)), Some(true));
        assert_eq!(condition.holds(&of(0.0)), Some(false));
        assert_eq!(condition.holds(&Measures::new()), None);
        assert_eq!(condition.to_string(), "rejected > 0");
        for text in [
            "rejected",
            "rejected = 0",
            "rejected > x",
            "a > 1 b",
            "a > inf",
        ] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_becomes_a_patch() {
        assert_eq!(
            patch("upstream.api.keepalive", 64.into()),
            json!({"upstream": {"api": {"keepalive": 64}}})
        );
    }
}
