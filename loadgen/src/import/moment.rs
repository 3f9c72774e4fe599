//! Points in time as recordings and logs write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970 of an RFC 3339 time, with any offset.
pub(super) fn rfc3339(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return utc(local);
    }
    let at = text.len().checked_sub(6)?;
    let (local, offset) = text.split_at_checked(at)?;
    Some(utc(local)? - offset_seconds(offset)?)
}

/// Seconds since 1970 of a time as nginx's combined log writes it: `10/Oct/2025:13:55:36 +0200`.
pub(super) fn common_log(text: &str) -> Option<f64> {
    let (local, offset) = text.split_once(' ')?;
    let mut parts = local.splitn(3, '/');
    let (day, month, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, time) = rest.split_once(':')?;
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let seconds = utc(&format!("{year}-{month:02}-{day}T{time}"))?;
    Some(seconds - offset_seconds(offset)?)
}

fn utc(local: &str) -> Option<f64> {
    let time: SystemTime = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since: Duration = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}

/// `+02:00` or `-0730` in seconds.
fn offset_seconds(text: &str) -> Option<f64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1.0, digits),
        ("-", digits) => (-1.0, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2)?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(sign * f64::from(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_instant_is_the_same_however_it_is_written() {
        let instant = Some(1_760_097_336.0);
        assert_eq!(rfc3339("2025-10-10T11:55:36Z"), instant);
        assert_eq!(rfc3339("2025-10-10T13:55:36.000+02:00"), instant);
        assert_eq!(common_log("10/Oct/2025:13:55:36 +0200"), instant);
        assert_eq!(common_log("10/Oct/2025:04:25:36 -0730"), instant);
        assert_eq!(rfc3339("2025-10-10T11:55:36.250Z"), Some(1_760_097_336.25));
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "Z",
            "yesterday",
            "2025-10-10T11:55:36",
            "é+02:00",
            "2025-13-10T11:55:36Z",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        for text in [
            "",
            "10/Okt/2025:13:55:36 +0200",
            "10/Oct/2025:13:55:36",
            "a b",
        ] {
            assert_eq!(common_log(text), None, "{text}");
        }
    }
}
