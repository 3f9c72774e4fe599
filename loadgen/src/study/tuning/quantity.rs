//! A value of a setting, with the unit that it is written in.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};
use serde_json::Value;

use weir_load::units::{format_duration, parse_duration};

/// A value of a setting that has an order: a number, a rate or a duration.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Quantity {
    /// In units of [`Quantity::unit`].
    pub amount: f64,
    /// What it counts.
    pub unit: Unit,
}

/// What a quantity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A whole number.
    Count,
    /// Requests per second, written `"10r/s"`.
    PerSecond,
    /// Seconds, written `"30s"`.
    Seconds,
}

impl Quantity {
    /// Reads a value as it stands in a settings file: a whole number, `"10r/s"` or `"30s"`.
    ///
    /// # Errors
    ///
    /// When it is none of these; the text says what would be right.
    pub fn read(value: &Value) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{value} is not a value with an order: a whole number, a rate such as \"10r/s\" or a duration such as \"30s\""
            )
        };
        match value {
            Value::Number(number) => number
                .as_u64()
                .map(|amount| Self {
                    amount: amount as f64,
                    unit: Unit::Count,
                })
                .ok_or_else(wrong),
            Value::String(text) => {
                if let Ok(rate) = text.parse::<weir_api::units::Rate>() {
                    return Ok(Self {
                        amount: rate.requests_per_second(),
                        unit: Unit::PerSecond,
                    });
                }
                let duration = parse_duration(text).map_err(|_| wrong())?;
                Ok(Self {
                    amount: duration.as_secs_f64(),
                    unit: Unit::Seconds,
                })
            }
            _ => Err(wrong()),
        }
    }

    /// As it is written in the settings.
    #[must_use]
    pub fn to_json(self) -> Value {
        match self.unit {
            Unit::Count => Value::from(self.amount.round() as u64),
            Unit::PerSecond | Unit::Seconds => Value::from(self.to_string()),
        }
    }

    /// The same amount times a factor, for a shortened trial.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            amount: self.amount * factor,
            unit: self.unit,
        }
    }

    /// A value of the same unit.
    #[must_use]
    pub fn with(self, amount: f64) -> Self {
        Self { amount, ..self }
    }

    /// As a duration, if it is one.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        (self.unit == Unit::Seconds)
            .then(|| Duration::try_from_secs_f64(self.amount).ok())
            .flatten()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Count => write!(f, "{}", self.amount.round()),
            Unit::PerSecond => write!(f, "{}r/s", self.amount.round().max(1.0)),
            Unit::Seconds => match Duration::try_from_secs_f64(self.amount) {
                Ok(duration) => f.write_str(&format_duration(duration)),
                Err(_) => write!(f, "{}s", self.amount),
            },
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_survive_a_round_trip() {
        for value in [json!(1024), json!("10r/s"), json!("30s"), json!("500ms")] {
            assert_eq!(Quantity::read(&value).unwrap().to_json(), value);
        }
        for value in [
            json!(true),
            json!(-1),
            json!(1.5),
            json!("least_conn"),
            json!([1]),
        ] {
            assert!(Quantity::read(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_search_stays_in_the_unit() {
        let rate = Quantity::read(&json!("10r/s")).unwrap();
        assert_eq!(rate.with(19.6).to_json(), json!("20r/s"));
        let timeout = Quantity::read(&json!("30s")).unwrap();
        assert_eq!(timeout.scaled(0.1).to_string(), "3s");
        assert_eq!(timeout.duration(), Some(Duration::from_secs(30)));
        assert_eq!(rate.duration(), None);
    }
}
