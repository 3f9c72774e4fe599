//! Text with placeholders: `{{user}}`, `{{seq}}`, `{{int 1 1000}}`, `{{choice a|b|c}}`, `{{hex 16}}`.

use std::fmt::{self, Write as _};

use rand::{Rng, RngExt as _};
use serde::{Serialize, Serializer};

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` without `}}}}`")]
    Unclosed,
    /// A placeholder that does not exist, or wrong parameters.
    #[error(
        "unknown placeholder `{{{{{0}}}}}`; there are {{{{user}}}}, {{{{seq}}}}, {{{{int MIN MAX}}}}, {{{{hex DIGITS}}}} and {{{{choice a|b|c}}}}"
    )]
    Unknown(String),
}

/// Text with placeholders, parsed once and rendered for every request that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    User,
    Sequence,
    Int { min: i64, max: i64 },
    Hex { digits: usize },
    Choice(Vec<String>),
}

/// What placeholders can refer to, apart from randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// Number of the user or connection, from 1.
    pub user: u64,
    /// Number of the request of this user, from 1.
    pub sequence: u64,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// When a placeholder is not closed, unknown, or has wrong parameters.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some((text, after)) = rest.split_once("{{") {
            let (inside, tail) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            parts.push(placeholder(inside.trim())?);
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self {
            source: source.to_owned(),
            parts,
        })
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Everything that is not random: the literal parts and the options of choices.
    pub(super) fn literal(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Choice(options) => options.iter().for_each(|option| out.push_str(option)),
                _ => {}
            }
        }
        out
    }

    /// Whether every rendering is the same.
    pub fn is_static(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Appends one rendering.
    pub fn render_into(&self, out: &mut String, facts: Facts, random: &mut impl Rng) {
        for part in &self.parts {
            // Writing to a `String` cannot fail.
            let _ = match part {
                Part::Text(text) => out.write_str(text),
                Part::User => write!(out, "{}", facts.user),
                Part::Sequence => write!(out, "{}", facts.sequence),
                Part::Int { min, max } => write!(out, "{}", random.random_range(*min..=*max)),
                Part::Hex { digits } => {
                    for _ in 0..*digits {
                        let digit = random.random_range(0..16_u32);
                        out.push(char::from_digit(digit, 16).unwrap_or('0'));
                    }
                    Ok(())
                }
                Part::Choice(options) => {
                    let index = random.random_range(0..options.len());
                    out.write_str(options.get(index).map_or("", String::as_str))
                }
            };
        }
    }

    /// One rendering.
    pub fn render(&self, facts: Facts, random: &mut impl Rng) -> String {
        let mut out = String::with_capacity(self.source.len() + 16);
        self.render_into(&mut out, facts, random);
        out
    }
}

fn placeholder(inside: &str) -> Result<Part, TemplateError> {
    let unknown = || TemplateError::Unknown(inside.to_owned());
    let (name, parameters) = inside.split_once(' ').unwrap_or((inside, ""));
    match name {
        "user" if parameters.is_empty() => Ok(Part::User),
        "seq" if parameters.is_empty() => Ok(Part::Sequence),
        "int" => {
            let (min, max) = parameters.trim().split_once(' ').ok_or_else(unknown)?;
            let min = min.trim().parse().map_err(|_| unknown())?;
            let max = max.trim().parse().map_err(|_| unknown())?;
            if min > max {
                return Err(unknown());
            }
            Ok(Part::Int { min, max })
        }
        "hex" => match parameters.trim().parse() {
            Ok(digits @ 1..=1024) => Ok(Part::Hex { digits }),
            _ => Err(unknown()),
        },
        "choice" if !parameters.trim().is_empty() => Ok(Part::Choice(
            parameters
                .split('|')
                .map(|option| option.trim().to_owned())
                .collect(),
        )),
        _ => Err(unknown()),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn render(source: &str, seed: u64) -> String {
        let facts = Facts {
            user: 7,
            sequence: 3,
        };
        Template::parse(source)
            .unwrap()
            .render(facts, &mut SmallRng::seed_from_u64(seed))
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(render("user-{{user}}/{{ seq }}", 1), "user-7/3");
        let number: i64 = render("{{int 5 9}}", 1).parse().unwrap();
        assert!((5..=9).contains(&number));
        assert_eq!(render("{{hex 12}}", 1).len(), 12);
        assert!(["a", "b"].contains(&render("{{choice a|b}}", 1).as_str()));
    }

    #[test]
    fn json_braces_are_plain_text() {
        let body = r#"{"a": {"b": 1}, "c": {{int 1 1}}}"#;
        assert_eq!(render(body, 1), r#"{"a": {"b": 1}, "c": 1}"#);
    }

    #[test]
    fn the_same_seed_gives_the_same_text() {
        assert_eq!(render("{{hex 32}}", 9), render("{{hex 32}}", 9));
        assert_ne!(render("{{hex 32}}", 9), render("{{hex 32}}", 10));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Template::parse("{{user"), Err(TemplateError::Unclosed));
        for bad in [
            "{{nope}}",
            "{{int 9 1}}",
            "{{int 1}}",
            "{{hex 0}}",
            "{{choice }}",
        ] {
            let error = Template::parse(bad).unwrap_err();
            assert!(error.to_string().contains("{{int MIN MAX}}"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn text_without_placeholders_is_kept(text in "[^{}]*") {
            let template = Template::parse(&text).unwrap();
            prop_assert!(template.is_static());
            prop_assert_eq!(render(&text, 1), text);
        }

        #[test]
        fn numbers_stay_within_bounds(min in -1000_i64..1000, width in 0_i64..1000, seed: u64) {
            let text = render(&format!("{{{{int {min} {}}}}}", min + width), seed);
            let number: i64 = text.parse().unwrap();
            prop_assert!((min..=min + width).contains(&number));
        }
    }
}
