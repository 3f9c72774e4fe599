//! When a run begins: at once, after a while, at an instant, or at the next full minute.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use crate::units::parse_duration;

/// Seconds since the epoch beyond which a number is taken as milliseconds.
const SECONDS_UNTIL: f64 = 1e11;

/// When the load of a run begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StartAt {
    /// This much from now.
    In(Duration),
    /// At this instant.
    At(SystemTime),
    /// At the next multiple of this on the clock (UTC), at least [`Self::LEAD`] from now.
    Next(Duration),
}

/// A start time that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Not a time.
    #[error(
        "`{0}` is not a start time: write +10s (from now), next:60s (next full minute), an RFC 3339 time such as 2030-01-31T12:00:00Z, or seconds since 1970"
    )]
    Malformed(String),
    /// It has passed.
    #[error("the start time {at} passed {ago} s ago; every shard must be started before it")]
    Passed {
        /// The time, RFC 3339.
        at: String,
        /// Whole seconds since then.
        ago: u64,
    },
}

impl StartAt {
    /// Shortest time to the start that `next:` leaves for connecting and logging in.
    pub const LEAD: Duration = Duration::from_secs(5);

    /// The instant, seen from `now`.
    ///
    /// # Errors
    ///
    /// When it has passed.
    pub fn resolve(self, now: SystemTime) -> Result<SystemTime, StartError> {
        match self {
            Self::In(wait) => Ok(now + wait),
            Self::At(at) => match now.duration_since(at) {
                Ok(ago) if !ago.is_zero() => Err(StartError::Passed {
                    at: humantime::format_rfc3339_millis(at).to_string(),
                    ago: ago.as_secs(),
                }),
                _ => Ok(at),
            },
            Self::Next(step) => {
                let earliest = (now + Self::LEAD)
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                let steps = earliest.as_nanos().div_ceil(step.as_nanos().max(1));
                let nanos = steps.saturating_mul(step.as_nanos());
                let at = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                Ok(SystemTime::UNIX_EPOCH + at)
            }
        }
    }
}

impl FromStr for StartAt {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        let malformed = || StartError::Malformed(text.to_owned());
        let trimmed = text.trim();
        if let Some(wait) = trimmed.strip_prefix('+') {
            return parse_duration(wait).map(Self::In).map_err(|_| malformed());
        }
        if let Some(step) = trimmed.strip_prefix("next:") {
            let step = parse_duration(step).map_err(|_| malformed())?;
            if step < Duration::from_secs(1) {
                return Err(malformed());
            }
            return Ok(Self::Next(step));
        }
        if let Ok(number) = trimmed.parse::<f64>() {
            let seconds = if number > SECONDS_UNTIL {
                number / 1e3
            } else {
                number
            };
            let since = Duration::try_from_secs_f64(seconds).map_err(|_| malformed())?;
            let at = SystemTime::UNIX_EPOCH.checked_add(since);
            return at.map(Self::At).ok_or_else(malformed);
        }
        humantime::parse_rfc3339_weak(trimmed)
            .map(Self::At)
            .map_err(|_| malformed())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn all_spellings_are_read() {
        let now = at(1_000_000_000);
        let resolve = |text: &str| text.parse::<StartAt>().unwrap().resolve(now).unwrap();
        assert_eq!(resolve("+10s"), at(1_000_000_010));
        assert_eq!(resolve("2001-09-09T01:46:50Z"), at(1_000_000_010));
        assert_eq!(resolve("1000000010"), at(1_000_000_010));
        assert_eq!(resolve("1000000010000"), at(1_000_000_010));
        for bad in ["", "soon", "+", "+10", "next:", "next:1ms", "-5", "NaN"] {
            assert!(bad.parse::<StartAt>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_full_minute_is_the_same_for_all_and_leaves_time() {
        let next = StartAt::Next(Duration::from_secs(60));
        // 960 is a multiple of 60.
        assert_eq!(next.resolve(at(961)).unwrap(), at(1020));
        assert_eq!(next.resolve(at(1000)).unwrap(), at(1020));
        // Five seconds before it is too late to get ready.
        assert_eq!(next.resolve(at(1016)).unwrap(), at(1080));
    }

    #[test]
    fn a_time_that_has_passed_is_refused() {
        let error = StartAt::At(at(100)).resolve(at(107)).unwrap_err();
        assert!(matches!(error, StartError::Passed { ago: 7, .. }));
        assert!(error.to_string().contains("1970-01-01T00:01:40"));
    }
}
