//! Values that users take from answers and use later.

use serde::Serialize;

use super::{
    expect::text_of,
    pattern::{JsonPath, Pattern},
};

/// A value to take from an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extract {
    /// Name of the variable: `{{var.NAME}}`.
    pub name: String,
    /// Its number.
    #[serde(skip)]
    pub variable: usize,
    /// Where it is.
    pub from: From,
    /// What of it counts: the first group of the expression, or all of its match.
    pub regex: Option<Pattern>,
}

/// Where a value is in an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The first value that the path leads to in a JSON body; null counts as missing.
    JsonPath(JsonPath),
    /// The first header of this name.
    Header(String),
    /// Anywhere in the body.
    Body,
}

impl Extract {
    /// Takes it from a JSON body.
    pub fn of_json(&self, path: &JsonPath, json: &serde_json::Value) -> Option<String> {
        let value = path.query(json).into_iter().next()?;
        if value.is_null() {
            return None;
        }
        let text = text_of(value);
        match &self.regex {
            Some(_) => self.of_text(text.as_bytes()),
            None => Some(text),
        }
    }

    /// Takes it from a header or a body.
    pub fn of_text(&self, text: &[u8]) -> Option<String> {
        let text = match &self.regex {
            Some(regex) => regex.capture(text)?,
            None => text,
        };
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extract(regex: Option<&str>) -> Extract {
        Extract {
            name: "id".into(),
            variable: 0,
            from: From::Body,
            regex: regex.map(|regex| Pattern::parse(regex).unwrap()),
        }
    }

    #[test]
    fn values_are_taken_as_text() {
        let json = json!({ "a": { "id": 42, "name": "x-9", "none": null, "list": [1, 2] } });
        let take =
            |path: &str, regex| extract(regex).of_json(&JsonPath::parse(path).unwrap(), &json);
        assert_eq!(take("$.a.id", None).unwrap(), "42");
        assert_eq!(take("$.a.name", Some("-(.)")).unwrap(), "9");
        assert_eq!(take("$.a.list", None).unwrap(), "[1,2]");
        assert_eq!(take("$.a.list[*]", None).unwrap(), "1");
        assert_eq!(take("$.a.none", None), None);
        assert_eq!(take("$.a.nope", None), None);
        assert_eq!(take("$.a.name", Some("y")), None);
        let location = extract(Some("/cases/(.+)")).of_text(b"/cases/7");
        assert_eq!(location.unwrap(), "7");
    }
}
