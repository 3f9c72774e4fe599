//! Sets of HTTP statuses.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What is allowed, in words.
pub(crate) const ALLOWED: &str = "a text with statuses from 100 to 599 and ranges of them, such as \"200\", \"200-399\" or \"200,204,301-302\"";

/// A set of HTTP statuses, as text `"200-399"` or `"200,204"`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

/// A text that is no set of statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a set of statuses: {ALLOWED}")]
pub struct BadStatuses;

impl Statuses {
    /// Whether this status is one of them.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl Default for Statuses {
    /// 200 to 399, as HAProxy and nginx Plus.
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl FromStr for Statuses {
    type Err = BadStatuses;

    fn from_str(text: &str) -> Result<Self, BadStatuses> {
        let status = |text: &str| -> Result<u16, BadStatuses> {
            let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().map_err(|_| BadStatuses)?;
            match digits && (100..=599).contains(&number) {
                true => Ok(number),
                false => Err(BadStatuses),
            }
        };
        text.split(',')
            .map(|part| {
                let part = part.trim();
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (status(first)?, status(last)?);
                (first <= last).then_some((first, last)).ok_or(BadStatuses)
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_written() {
        let set: Statuses = "200, 204,301-302".parse().unwrap();
        for (status, is_in) in [
            (200, true),
            (201, false),
            (204, true),
            (300, false),
            (301, true),
            (302, true),
            (303, false),
        ] {
            assert_eq!(set.contains(status), is_in, "{status}");
        }
        assert_eq!(set.to_string(), "200,204,301-302");
        assert_eq!(Statuses::default().to_string(), "200-399");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "", "200,", "99", "600", "20", "2xx", "300-200", "200-", "-200", "+20", "200--299",
        ] {
            assert!(text.parse::<Statuses>().is_err(), "{text}");
        }
    }
}
