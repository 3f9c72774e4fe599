//! Durations and rates as people write them: `"500ms"`, `"1.5s"`, `"600/s"`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: write {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// Reads a duration: a number and one of `us`, `ms`, `s`, `m`, `h`; `0` alone is allowed.
///
/// # Errors
///
/// When the number or the unit is missing, negative or unknown.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError {
        text: text.to_owned(),
        what: "duration",
        example: "a number with us, ms, s, m or h, such as \"500ms\", \"1.5s\" or \"5m\"",
    };
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    let split = trimmed
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .ok_or_else(error)?;
    let (number, unit) = trimmed.split_at(split);
    let number: f64 = number.parse().map_err(|_| error())?;
    let seconds = match unit.trim() {
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(error()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| error())
}

/// Writes a duration the way [`parse_duration`] reads it, in the largest unit that stays short.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = |unit: u64| duration.subsec_nanos() == 0 && duration.as_secs().is_multiple_of(unit);
    let (value, unit) = if seconds >= 3600.0 && whole(3600) {
        (seconds / 3600.0, "h")
    } else if seconds >= 60.0 && whole(60) {
        (seconds / 60.0, "m")
    } else if seconds >= 1.0 || duration.is_zero() {
        (seconds, "s")
    } else if seconds >= 1e-3 {
        (seconds * 1e3, "ms")
    } else {
        (seconds * 1e6, "us")
    };
    let rounded = (value * 1000.0).round() / 1000.0;
    format!("{rounded}{unit}")
}

/// Events per second; finite and not negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(f64);

impl Rate {
    /// A rate in events per second.
    ///
    /// # Errors
    ///
    /// When the number is negative or not finite.
    pub fn per_second(value: f64) -> Result<Self, UnitError> {
        if value.is_finite() && value >= 0.0 {
            Ok(Self(value))
        } else {
            Err(UnitError {
                text: value.to_string(),
                what: "rate",
                example: RATE_EXAMPLE,
            })
        }
    }

    /// Events per second.
    pub fn get(self) -> f64 {
        self.0
    }
}

const RATE_EXAMPLE: &str = "a number with /s or /m, such as \"600/s\" or \"30/m\"";

impl FromStr for Rate {
    type Err = UnitError;

    /// Reads `600/s`, `600r/s`, `30/m` or a bare number of events per second.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            text: text.to_owned(),
            what: "rate",
            example: RATE_EXAMPLE,
        };
        let trimmed = text.trim();
        let (number, per) = match trimmed.split_once('/') {
            Some((number, "s")) => (number, 1.0),
            Some((number, "m" | "min")) => (number, 60.0),
            Some((number, "h")) => (number, 3600.0),
            Some(_) => return Err(error()),
            None => (trimmed, 1.0),
        };
        let number = number.trim().trim_end_matches('r');
        let value: f64 = number.trim().parse().map_err(|_| error())?;
        Self::per_second(value / per).map_err(|_| error())
    }
}

impl TryFrom<String> for Rate {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// Serialising quantities as the text that people write.
pub mod as_text {
    use std::{fmt::Display, time::Duration};

    use serde::Serializer;

    use super::format_duration;

    /// A duration as text.
    ///
    /// # Errors
    ///
    /// Only those of the serialiser.
    pub fn duration<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*value))
    }

    /// An optional duration as text.
    ///
    /// # Errors
    ///
    /// Only those of the serialiser.
    pub fn maybe_duration<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&format_duration(*value)),
            None => serializer.serialize_none(),
        }
    }

    /// Anything that can be displayed.
    ///
    /// # Errors
    ///
    /// Only those of the serialiser.
    pub fn display<S: Serializer>(value: impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&value)
    }
}

/// A duration in milliseconds with the decimals that its size deserves.
#[must_use]
pub fn milliseconds(value: f64) -> String {
    if value >= 100.0 || value == value.trunc() {
        format!("{value:.0} ms")
    } else if value >= 1.0 {
        format!("{value:.1} ms")
    } else {
        format!("{value:.2} ms")
    }
}

/// A share (0 to 1) as percent.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value == 0.0 {
        "0 %".to_owned()
    } else if value < 1.0 {
        format!("{} %", rounded((value * 1000.0).round() / 1000.0))
    } else {
        format!("{value:.1} %")
    }
}

/// A number without needless decimals.
#[must_use]
pub fn rounded(value: f64) -> String {
    let text = format!("{:.3}", value);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_with_fractions_and_units() {
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_duration("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(parse_duration("250us").unwrap(), Duration::from_micros(250));
        assert_eq!(parse_duration("0").unwrap(), Duration::ZERO);
        for bad in ["", "5", "s", "-1s", "1.2.3s", "5 parsecs", "1e999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_survive_a_round_trip() {
        for text in ["500ms", "1.5s", "5m", "2h", "250us", "90s", "60.5s"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(
                parse_duration(&format_duration(duration)).unwrap(),
                duration
            );
        }
    }

    #[test]
    fn rates_read_per_second_and_per_minute() {
        assert_eq!("600/s".parse::<Rate>().unwrap().get(), 600.0);
        assert_eq!("10r/s".parse::<Rate>().unwrap().get(), 10.0);
        assert_eq!("30/m".parse::<Rate>().unwrap().get(), 0.5);
        for bad in ["", "/s", "-1/s", "5/parsec", "NaN/s", "inf"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
