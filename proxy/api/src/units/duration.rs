//! Lengths of time.
//!
//! A field of type [`Duration`] takes these with `#[serde(with = "weir_api::units::duration")]`.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

use super::UnitError;

const EXPECTED: &str = "a duration with its unit, such as \"500ms\", \"30s\", \"10m\" or \"1h30m\"";

/// The longest duration that is read: 10,000 days.
pub const MAX: Duration = Duration::from_secs(10_000 * 24 * 3600);

/// The last second of the year 9999, since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// Reads `"500ms"`, `"30s"`, `"10m"`, `"1h30m"`, `"0s"`: whole milliseconds.
///
/// # Errors
/// When the text has no unit, an unknown one, or a part of a millisecond.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    humantime::parse_duration(text)
        .ok()
        .filter(|d| *d <= MAX && d.subsec_nanos() % 1_000_000 == 0 && text != "0")
        .ok_or_else(|| UnitError::new(text, EXPECTED))
}

/// Writes a duration with the one unit that fits: `"500ms"`, `"60s"`, `"10m"`, `"2h"`.
///
/// Parts of a millisecond, which no setting has, are left out.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() != 0 {
        format!("{}ms", duration.as_millis())
    } else if seconds == 0 || !seconds.is_multiple_of(60) || seconds < 120 {
        format!("{seconds}s")
    } else if seconds.is_multiple_of(3600) {
        format!("{}h", seconds / 3600)
    } else {
        format!("{}m", seconds / 60)
    }
}

/// Writes a point in time as RFC 3339 has it, in UTC with milliseconds. A clock that is set before 1970 or after
/// 9999 is shown as the nearest time that can be written.
#[must_use]
pub fn format_timestamp(time: std::time::SystemTime) -> String {
    let latest = UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
    humantime::format_rfc3339_millis(time.clamp(UNIX_EPOCH, latest)).to_string()
}

/// Serializes a duration as text.
///
/// # Errors
/// Only those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_duration(*duration))
}

/// Deserializes a duration from text.
///
/// # Errors
/// When it is not text, or not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(D::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clock_that_is_set_wrong_is_no_panic() {
        let day = Duration::from_secs(86_400);
        assert_eq!(
            format_timestamp(UNIX_EPOCH - day),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            format_timestamp(UNIX_EPOCH + Duration::from_secs(LAST_SECOND) + day),
            "9999-12-31T23:59:59.000Z"
        );
    }

    #[test]
    fn units_are_understood() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1m 5s", 65_000),
        ] {
            assert_eq!(
                parse_duration(text).unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_written_keeps_the_usual_unit() {
        for text in [
            "0s", "1ms", "1500ms", "30s", "60s", "75s", "90s", "2m", "10m", "90m", "1h", "24h",
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn a_number_without_unit_is_refused() {
        for text in [
            "",
            "0",
            "30",
            "s",
            "-1s",
            "1.5x",
            "10us",
            "1ns",
            "99999999999h",
            "30 sekunden",
        ] {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.contains("1h30m"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(millis in 0..=864_000_000_000u64, step in 0usize..4) {
            let step = [1, 1000, 60_000, 3_600_000][step];
            let duration = Duration::from_millis(millis / step * step);
            prop_assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse_duration(&text);
        }
    }
}
