//! What is to be served: a rate, or a number of requests in a day or an hour.

use std::str::FromStr;

use serde::Serialize;

/// Seconds in a day.
const DAY_S: f64 = 86_400.0;
/// Seconds in an hour.
const HOUR_S: f64 = 3_600.0;

/// A demand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Demand {
    /// As it was given.
    pub text: String,
    /// Requests per second, averaged over the time it was given for.
    pub rps: f64,
    /// Whether it is an average over a day, which says nothing about the busiest hour.
    pub daily: bool,
}

/// A demand that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a demand: write a number, if need be with k or M, and /s, /h or /day, such as 500/s, 50M/h or 43M/day"
)]
pub struct DemandError(String);

impl FromStr for Demand {
    type Err = DemandError;

    fn from_str(text: &str) -> Result<Self, DemandError> {
        let error = || DemandError(text.to_owned());
        let (number, per) = text.trim().split_once('/').ok_or_else(error)?;
        let number = number.trim();
        let (digits, scale) = match number.strip_suffix(['k', 'M']) {
            Some(digits) if number.ends_with('k') => (digits, 1e3),
            Some(digits) => (digits, 1e6),
            None => (number, 1.0),
        };
        let count: f64 = digits
            .trim()
            .replace(',', "")
            .parse()
            .map_err(|_| error())?;
        let seconds = match per.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" | "hour" => HOUR_S,
            "d" | "day" => DAY_S,
            _ => return Err(error()),
        };
        let rps = count * scale / seconds;
        if !(rps.is_finite() && rps > 0.0) {
            return Err(error());
        }
        Ok(Self {
            text: text.trim().to_owned(),
            rps,
            daily: seconds == DAY_S,
        })
    }
}

/// The documented targets: 500, 1,000 and 5,000 requests/s, 43 and 500 million requests a day, and a
/// peak hour of 50 million.
#[must_use]
pub fn documented() -> Vec<Demand> {
    ["500/s", "1000/s", "5000/s", "43M/day", "500M/day", "50M/h"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn demands_become_rates() {
        let rps = |text: &str| text.parse::<Demand>().unwrap().rps;
        assert_eq!(rps("500/s"), 500.0);
        assert_eq!(rps("1,000/s"), 1000.0);
        assert!((rps("43M/day") - 497.685).abs() < 0.001);
        assert!((rps("500M/day") - 5787.037).abs() < 0.001);
        assert!((rps("50M/h") - 13_888.889).abs() < 0.001);
        assert_eq!(rps("36k/h"), 10.0);
        for bad in ["", "500", "M/day", "0/s", "-5/s", "5/week", "x/s", "inf/s"] {
            assert!(bad.parse::<Demand>().is_err(), "{bad}");
        }
        assert_eq!(documented().len(), 6);
    }
}
