//! The `Date` field of answers.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use chrono::{DateTime, Datelike as _, Utc};

/// The time as a `Date` field has it (RFC 9110, 5.6.7); nothing for a clock that stands outside of 1970 to 9999, which
/// says nothing of use.
pub(super) fn date(now: SystemTime) -> Option<HeaderValue> {
    let since = now.duration_since(UNIX_EPOCH).ok()?;
    let time = DateTime::<Utc>::from_timestamp(i64::try_from(since.as_secs()).ok()?, 0)?;
    if time.year() > 9999 {
        return None;
    }
    HeaderValue::try_from(time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_has_the_form_of_the_standard_or_is_left_out() {
        let at = |second| date(UNIX_EPOCH + Duration::from_secs(second));
        assert_eq!(at(784_111_777).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(0).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(
            at(253_402_300_799).unwrap(),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
        assert_eq!(at(253_402_300_800), None);
        assert_eq!(at(u64::MAX >> 2), None);
        assert_eq!(date(UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
