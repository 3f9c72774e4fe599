//! What a good answer looks like.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{Serialize, Serializer};

use super::pattern::{JsonPath, Pattern};
use crate::units::as_text;

/// What a good answer looks like. An answer fails by the first of these that does not hold, in
/// this order: status, headers, size, body, JSON, time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Expect {
    /// Good statuses; 200 to 299 unless the scenario says otherwise.
    pub status: Statuses,
    /// What must hold for headers.
    pub headers: Vec<HeaderCheck>,
    /// Bounds of the body's size, as it comes over the wire.
    pub size: Size,
    /// Text that the body must contain.
    pub body_contains: Option<String>,
    /// Expression that must match somewhere in the body.
    pub body_matches: Option<Pattern>,
    /// What must hold for the body as JSON.
    pub json: Vec<JsonCheck>,
    /// Longest service time: from sending to the last byte.
    #[serde(serialize_with = "as_text::maybe_duration")]
    pub max_time: Option<Duration>,
}

impl Expect {
    /// Whether the body must be looked at.
    pub fn needs_body(&self) -> bool {
        self.body_contains.is_some() || self.body_matches.is_some() || !self.json.is_empty()
    }

    /// Whether the headers must be looked at.
    pub fn needs_headers(&self) -> bool {
        !self.headers.is_empty()
    }
}

/// A set of statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![200..=299])
    }
}

impl Statuses {
    /// A set of these ranges.
    pub fn new(ranges: Vec<RangeInclusive<u16>>) -> Self {
        Self(ranges)
    }

    /// A set of this one.
    pub fn only(status: u16) -> Self {
        Self(vec![status..=status])
    }

    /// Whether a status is in it.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }

    /// Parses a status such as `204`, or a class such as `"2xx"`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse_one(text: &str) -> Result<RangeInclusive<u16>, String> {
        let class = match text.as_bytes() {
            [digit @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(u16::from(digit - b'0')),
            _ => None,
        };
        if let Some(class) = class {
            return Ok(class * 100..=class * 100 + 99);
        }
        match text.parse() {
            Ok(status @ 100..=599) => Ok(status..=status),
            _ => Err(format!(
                "{text} is not an HTTP status: 100 to 599, or a class such as \"2xx\""
            )),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}xx", range.start() / 100)?;
            }
        }
        Ok(())
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What must hold for a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TextCheck {
    /// It contains this.
    Contains(String),
    /// It is this.
    Equals(String),
    /// It matches this.
    Matches(Pattern),
    /// It is there, or not.
    Exists(bool),
}

impl TextCheck {
    /// Whether it holds.
    pub fn holds(&self, text: Option<&[u8]>) -> bool {
        match (self, text) {
            (Self::Exists(wanted), text) => text.is_some() == *wanted,
            (_, None) => false,
            (Self::Contains(part), Some(text)) => {
                memchr::memmem::find(text, part.as_bytes()).is_some()
            }
            (Self::Equals(whole), Some(text)) => text == whole.as_bytes(),
            (Self::Matches(pattern), Some(text)) => pattern.is_match(text),
        }
    }
}

/// What must hold for a header.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeaderCheck {
    /// Name of the header, in lower case.
    pub name: String,
    /// What must hold for its (first) value.
    pub value: TextCheck,
}

/// Bounds of a size, bytes, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Smallest.
    pub min: Option<u64>,
    /// Largest.
    pub max: Option<u64>,
}

impl Size {
    /// Whether a size is within the bounds.
    pub fn admits(&self, size: u64) -> bool {
        self.min.is_none_or(|min| size >= min) && self.max.is_none_or(|max| size <= max)
    }
}

/// What must hold for every value that a path leads to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JsonCheck {
    /// Where to look.
    pub path: JsonPath,
    /// What must hold there; at least one value must be there, unless this says otherwise.
    #[serde(flatten)]
    pub value: JsonValueCheck,
}

/// What must hold for the values that a path leads to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonValueCheck {
    /// There is a value, or there is none.
    Exists(bool),
    /// Each is this; numbers are compared by value.
    Equals(serde_json::Value),
    /// Each, as text, contains this.
    Contains(String),
    /// Each, as text, matches this.
    Matches(Pattern),
    /// There are so many.
    Count(usize),
    /// Each is a number of at least and at most these.
    Between {
        /// Smallest.
        min: Option<f64>,
        /// Largest.
        max: Option<f64>,
    },
}

impl JsonCheck {
    /// Whether it holds.
    pub fn holds(&self, json: &serde_json::Value) -> bool {
        let found = self.path.query(json);
        let each = |good: &dyn Fn(&serde_json::Value) -> bool| {
            !found.is_empty() && found.iter().all(|value| good(value))
        };
        match &self.value {
            JsonValueCheck::Exists(wanted) => found.is_empty() != *wanted,
            JsonValueCheck::Count(count) => found.len() == *count,
            JsonValueCheck::Equals(wanted) => each(&|value| same(value, wanted)),
            JsonValueCheck::Contains(part) => each(&|value| text_of(value).contains(part)),
            JsonValueCheck::Matches(pattern) => {
                each(&|value| pattern.is_match(text_of(value).as_bytes()))
            }
            JsonValueCheck::Between { min, max } => each(&|value| {
                value.as_f64().is_some_and(|number| {
                    min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
                })
            }),
        }
    }
}

fn same(value: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    match (value.as_f64(), wanted.as_f64()) {
        // Whole numbers beyond 2^53 differ although their nearest floats are the same.
        (Some(value_f), Some(wanted_f)) => {
            value == wanted || (value.is_f64() != wanted.is_f64() && value_f == wanted_f)
        }
        _ => value == wanted,
    }
}

/// A JSON value as text: strings without their quotes, everything else as JSON.
pub(super) fn text_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(path: &str, value: JsonValueCheck) -> bool {
        let json =
            json!({ "id": 7, "ok": true, "none": null, "items": [{ "s": "ab" }, { "s": "b" }] });
        let path = JsonPath::parse(path).unwrap();
        JsonCheck { path, value }.holds(&json)
    }

    #[test]
    fn every_value_must_be_good_and_one_must_be_there() {
        use JsonValueCheck::{Between, Contains, Count, Equals, Exists, Matches};
        assert!(holds("$.id", Equals(json!(7.0))));
        assert!(!holds("$.id", Equals(json!("7"))));
        assert!(holds("$.none", Equals(json!(null))));
        assert!(holds("$.none", Exists(true)));
        assert!(holds("$.nope", Exists(false)));
        assert!(!holds("$.nope", Exists(true)));
        assert!(holds("$.items[*].s", Contains("b".into())));
        assert!(!holds("$.items[*].s", Contains("a".into())));
        assert!(!holds("$.nope[*]", Contains(String::new())));
        assert!(holds("$.items[*].s", Count(2)));
        assert!(holds("$.ok", Matches(Pattern::parse("^true$").unwrap())));
        let between = |min, max| Between { min, max };
        assert!(holds("$.id", between(Some(7.0), None)));
        assert!(!holds("$.id", between(None, Some(6.9))));
        assert!(!holds("$.ok", between(None, None)));
    }

    #[test]
    fn large_whole_numbers_are_told_apart() {
        let number = |n: u64| json!(n);
        assert!(!same(
            &number(9_007_199_254_740_993),
            &number(9_007_199_254_740_992)
        ));
    }

    #[test]
    fn statuses_are_numbers_or_classes() {
        let parse = |text: &str| Statuses::parse_one(text).map(|range| Statuses::new(vec![range]));
        assert!(parse("2xx").unwrap().contains(204));
        assert!(!parse("204").unwrap().contains(205));
        for bad in ["99", "600", "2x", "6xx", "ok", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Statuses::new(vec![200..=200, 300..=399]).to_string(),
            "200, 3xx"
        );
    }

    #[test]
    fn a_text_that_is_not_there_only_passes_for_missing() {
        assert!(TextCheck::Exists(false).holds(None));
        assert!(!TextCheck::Contains(String::new()).holds(None));
        assert!(TextCheck::Contains("json".into()).holds(Some(b"application/json")));
        assert!(!TextCheck::Equals("json".into()).holds(Some(b"application/json")));
    }
}
