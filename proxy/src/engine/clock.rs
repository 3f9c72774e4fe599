//! The time of day as a `Date` field has it.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

thread_local! {
    /// The second that was last asked for, and its text.
    static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Calls `use_it` with `now` as an IMF-fixdate (RFC 9110 section 5.6.7), which is made once a second.
pub(super) fn with_date<T>(now: SystemTime, use_it: impl FnOnce(&[u8]) -> T) -> T {
    let second = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(of, text)| {
        if *of != second || text.is_empty() {
            let time = i64::try_from(second)
                .ok()
                .and_then(|second| DateTime::<Utc>::from_timestamp(second, 0))
                .unwrap_or_default();
            *text = time.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            *of = second;
        }
        use_it(text.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_has_the_form_of_the_rfc() {
        let text = with_date(SystemTime::now(), |date| {
            String::from_utf8_lossy(date).into_owned()
        });
        assert_eq!(text.len(), 29, "{text}");
        assert!(text.ends_with(" GMT"), "{text}");
    }
}
