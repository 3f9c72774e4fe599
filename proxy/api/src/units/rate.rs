//! Requests per unit of time.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{UnitError, split_digits};

/// A request rate, in text `"10r/s"` or `"600r/m"`.
///
/// Kept as nginx keeps it: a whole number of thousandths of a request per second, a rate per
/// minute rounded down (`ngx_http_limit_req_module`: `rate * 1000 / scale`). So `"100r/m"` is
/// 1.666 requests per second, here as there. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    thousandths: u64,
}

impl Rate {
    /// The largest number before `r/s` or `r/m`.
    pub const MAX: u32 = 10_000_000;
    const EXPECTED: &'static str = "a rate such as \"10r/s\" or \"600r/m\": a whole number from 1 to 10000000, then \"r/s\" or \"r/m\"";

    /// `n` requests per second; none when `n` is 0 or above [`Rate::MAX`].
    #[must_use]
    pub fn per_second(n: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&n).then(|| Self {
            thousandths: u64::from(n) * 1000,
        })
    }

    /// `n` requests per minute; none when `n` is 0 or above [`Rate::MAX`].
    #[must_use]
    pub fn per_minute(n: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&n).then(|| Self {
            thousandths: u64::from(n) * 1000 / 60,
        })
    }

    /// Thousandths of a request per second: the number nginx's arithmetic uses. At least 1.
    #[must_use]
    pub fn thousandths_per_second(self) -> u64 {
        self.thousandths
    }

    /// Requests per second.
    #[must_use]
    pub fn requests_per_second(self) -> f64 {
        // At most 10^10, which a double holds exactly.
        self.thousandths as f64 / 1000.0
    }

    /// The time in which one request is earned, rounded to the nanosecond.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_nanos(1_000_000_000_000 / self.thousandths.max(1))
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (digits, unit) = split_digits(text);
        digits
            .parse()
            .ok()
            .and_then(|n| match unit {
                "r/s" => Self::per_second(n),
                "r/m" => Self::per_minute(n),
                _ => None,
            })
            .ok_or_else(|| UnitError::new(text, Self::EXPECTED))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.thousandths.is_multiple_of(1000) {
            write!(f, "{}r/s", self.thousandths / 1000)
        } else {
            // The smallest rate per minute that rounds down to this number.
            write!(f, "{}r/m", (self.thousandths * 60).div_ceil(1000))
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_number_is_nginxs() {
        for (text, thousandths) in [
            ("1r/s", 1000),
            ("10r/s", 10_000),
            ("600r/m", 10_000),
            ("100r/m", 1666),
            ("1r/m", 16),
            ("90r/m", 1500),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.thousandths_per_second(), thousandths, "{text}");
        }
        assert_eq!(
            Rate::per_second(4).unwrap().interval(),
            Duration::from_millis(250)
        );
    }

    #[test]
    fn anything_else_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "10",
            "10r",
            "r/s",
            "0r/s",
            "0r/m",
            "-1r/s",
            "1.5r/s",
            "10 r/s",
            "10r/h",
            "10R/S",
            "10r/s ",
            "10000001r/s",
            "99999999999999999999r/s",
            "１r/s",
        ] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("r/m"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(n in 1..=Rate::MAX, minute: bool) {
            let rate = if minute { Rate::per_minute(n) } else { Rate::per_second(n) }.unwrap();
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
            let json = serde_json::to_string(&rate).unwrap();
            prop_assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = text.parse::<Rate>();
        }
    }
}
