//! Regular expressions and JSON paths, as scenarios hold them: comparable, and written as text.

use std::fmt;

use serde::{Serialize, Serializer};

/// A regular expression over bytes: answers need not be UTF-8.
#[derive(Debug, Clone)]
pub struct Pattern(regex::bytes::Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        regex::bytes::Regex::new(text).map(Self).map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last);
            format!("`{text}` is not a regular expression: {why}")
        })
    }

    /// Whether it matches anywhere.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// Its first group where it first matches, or all of the match if it has no group.
    pub fn capture<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let captures = self.0.captures(text)?;
        let whole = captures.get(0)?;
        if captures.len() == 1 {
            return Some(whole.as_bytes());
        }
        captures.get(1).map(|group| group.as_bytes())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A JSONPath (RFC 9535).
#[derive(Debug, Clone)]
pub struct JsonPath {
    source: String,
    path: serde_json_path::JsonPath,
}

impl JsonPath {
    /// Compiles a path.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json_path::JsonPath::parse(text)
            .map(|path| Self {
                source: text.to_owned(),
                path,
            })
            .map_err(|error| {
                format!(
                    "`{text}` is not a JSONPath such as \"$.items[0].id\": at character {}, {}",
                    error.position() + 1,
                    error.message()
                )
            })
    }

    /// All values it leads to, in order.
    pub fn query<'j>(&self, json: &'j serde_json::Value) -> Vec<&'j serde_json::Value> {
        self.path.query(json).all()
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl PartialEq for JsonPath {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_group_counts_or_all_of_it() {
        let capture = |pattern: &str| {
            let pattern = Pattern::parse(pattern).unwrap();
            pattern.capture(b"id=42;").map(<[u8]>::to_vec)
        };
        assert_eq!(capture("id=([0-9]+)").unwrap(), b"42");
        assert_eq!(capture("[0-9]+").unwrap(), b"42");
        assert_eq!(capture("no(x)?"), None);
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        let error = Pattern::parse("a(").unwrap_err();
        assert_eq!(error, "`a(` is not a regular expression: unclosed group");
        let error = JsonPath::parse("items").unwrap_err();
        assert!(
            error.starts_with("`items` is not a JSONPath such as"),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}
