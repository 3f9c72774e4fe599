//! Text with placeholders: `{{user}}`, `{{int 1 1000}}`, `{{users.email}}`, `{{var.id}}`.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use rand::Rng;
use serde::{Serialize, Serializer};

use super::{
    escape::{Filter, Place},
    generator::Generator,
    names::{Found, Names},
    state::UserState,
};
use crate::scenario::Trace;

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` without `}}}}`; plain braces are written `{{{{\"{{{{\"}}}}`")]
    Unclosed,
    /// A placeholder that does not exist, or wrong parameters.
    #[error(
        "unknown placeholder `{{{{{0}}}}}`; there are {{{{user}}}}, {{{{seq}}}}, {{{{iteration}}}}, {{{{int MIN MAX}}}}, \
         {{{{float MIN MAX DECIMALS}}}}, {{{{hex DIGITS}}}}, {{{{string LENGTH}}}}, {{{{uuid}}}}, {{{{choice a|b|c}}}}, \
         {{{{timestamp}}}}, {{{{timestamp ms}}}}, {{{{now}}}}, {{{{FEED.COLUMN}}}} and {{{{var.NAME}}}}"
    )]
    Unknown(String),
    /// A feed, column or variable that does not exist.
    #[error("`{{{{{placeholder}}}}}`: {why}")]
    UnknownName {
        /// The placeholder, without its braces.
        placeholder: String,
        /// What there is instead.
        why: String,
    },
    /// A filter that does not exist.
    #[error("unknown filter `{0}`; there are `url` and `json`, as in {{{{var.name | url}}}}")]
    UnknownFilter(String),
}

/// Text with placeholders, parsed once and rendered for every request that needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    User,
    Sequence,
    Iteration,
    Generated(Generator),
    /// A value from a feed.
    Column {
        feed: usize,
        column: usize,
        filter: Filter,
    },
    /// A value that the user has.
    Variable {
        variable: usize,
        filter: Filter,
    },
    /// What the trace holds, in the line that the user is at.
    Recorded {
        trace: Arc<Trace>,
        what: Recorded,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    Path,
    Body,
}

impl Template {
    /// Parses a template that refers to no feed and no variable.
    ///
    /// # Errors
    ///
    /// When a placeholder is not closed, unknown, or has wrong parameters.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Self::parse_with(source, &Names::default())
    }

    /// Parses a template that may refer to these feeds and variables.
    pub(in crate::scenario) fn parse_with(
        source: &str,
        names: &Names,
    ) -> Result<Self, TemplateError> {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = source;
        while let Some((text, after)) = rest.split_once("{{") {
            let (inside, tail) = match after.strip_prefix("\"{{\"}}") {
                Some(tail) => ("\"{{\"", tail),
                None => after.split_once("}}").ok_or(TemplateError::Unclosed)?,
            };
            push_text(&mut parts, text);
            match placeholder(inside.trim(), names)? {
                Part::Text(text) => push_text(&mut parts, &text),
                part => parts.push(part),
            }
            rest = tail;
        }
        push_text(&mut parts, rest);
        Ok(Self {
            source: source.to_owned(),
            parts,
        })
    }

    /// Text that holds no placeholder, whatever it looks like.
    pub(in crate::scenario) fn plain(text: &str) -> Self {
        let mut parts = Vec::new();
        push_text(&mut parts, text);
        Self {
            source: text.to_owned(),
            parts,
        }
    }

    /// The path of a line of a trace, whichever [`UserState::line`] names; `source` stands for all
    /// of them in reports.
    pub(in crate::scenario) fn recorded_path(trace: &Arc<Trace>, source: &str) -> Self {
        Self::recorded(trace, Recorded::Path, source)
    }

    /// The body of a line of a trace, whichever [`UserState::line`] names.
    pub(in crate::scenario) fn recorded_body(trace: &Arc<Trace>) -> Self {
        Self::recorded(trace, Recorded::Body, "(recorded)")
    }

    fn recorded(trace: &Arc<Trace>, what: Recorded, source: &str) -> Self {
        let trace = trace.clone();
        Self {
            source: source.to_owned(),
            parts: vec![Part::Recorded { trace, what }],
        }
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text without placeholders, if there are none: every rendering is this one.
    pub fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Everything that is not known only at run time: the literal parts and the options of choices.
    pub(in crate::scenario) fn literal(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Generated(generator) => {
                    generator.options().iter().for_each(|o| out.push_str(o));
                }
                _ => {}
            }
        }
        out
    }

    /// Whether it begins with a value that only a run can know.
    pub(in crate::scenario) fn begins_with_a_value(&self) -> bool {
        matches!(
            self.parts.first(),
            Some(Part::Column { .. } | Part::Variable { .. })
        )
    }

    /// Whether every rendering is the same.
    pub fn is_static(&self) -> bool {
        self.fixed().is_some()
    }

    /// Numbers of the feeds it takes values from, with repetitions.
    pub(crate) fn feeds(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Column { feed, .. } => Some(*feed),
            _ => None,
        })
    }

    /// Numbers of the variables it needs, with repetitions.
    pub(crate) fn variables(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable { variable, .. } => Some(*variable),
            _ => None,
        })
    }

    /// Appends one rendering; values that the user does not have are empty.
    pub fn render_into(
        &self,
        out: &mut String,
        place: Place,
        user: &UserState,
        random: &mut impl Rng,
    ) {
        for (index, part) in self.parts.iter().enumerate() {
            // Writing to a `String` cannot fail.
            let _ = match part {
                Part::Text(text) => out.write_str(text),
                Part::User => write!(out, "{}", user.number()),
                Part::Sequence => write!(out, "{}", user.sequence()),
                Part::Iteration => write!(out, "{}", user.iteration()),
                Part::Generated(generator) => {
                    generator.write(out, random);
                    Ok(())
                }
                Part::Recorded { trace, what } => out.write_str(match what {
                    Recorded::Path => trace.path(user.line()),
                    Recorded::Body => trace.body(user.line()),
                }),
                Part::Column {
                    feed,
                    column,
                    filter,
                } => {
                    place.write(out, user.column(*feed, *column), *filter, index == 0);
                    Ok(())
                }
                Part::Variable { variable, filter } => {
                    let value = user.variable(*variable).unwrap_or_default();
                    place.write(out, value, *filter, index == 0);
                    Ok(())
                }
            };
        }
    }

    /// One rendering.
    pub fn render(&self, place: Place, user: &UserState, random: &mut impl Rng) -> String {
        let mut out = String::with_capacity(self.source.len() + 16);
        self.render_into(&mut out, place, user, random);
        out
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

fn placeholder(inside: &str, names: &Names) -> Result<Part, TemplateError> {
    let (name, parameters) = inside.split_once(' ').unwrap_or((inside, ""));
    match (name, parameters.trim()) {
        ("\"{{\"", "") => return Ok(Part::Text("{{".into())),
        ("user", "") => return Ok(Part::User),
        ("seq", "") => return Ok(Part::Sequence),
        ("iteration", "") => return Ok(Part::Iteration),
        (name, parameters) => {
            if let Some(generator) = Generator::parse(name, parameters) {
                return Ok(Part::Generated(generator));
            }
        }
    }
    let (value, filter) = inside.split_once('|').unwrap_or((inside, ""));
    let Some((owner, member)) = value.trim().split_once('.') else {
        return Err(TemplateError::Unknown(inside.to_owned()));
    };
    let filter = match filter.trim() {
        "" => Filter::None,
        "url" => Filter::Url,
        "json" => Filter::Json,
        other => return Err(TemplateError::UnknownFilter(other.to_owned())),
    };
    match names.find(owner.trim(), member.trim()) {
        Found::Column { feed, column } => Ok(Part::Column {
            feed,
            column,
            filter,
        }),
        Found::Variable(variable) => Ok(Part::Variable { variable, filter }),
        Found::Unknown(why) => Err(TemplateError::UnknownName {
            placeholder: inside.to_owned(),
            why,
        }),
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

    fn names() -> Names {
        Names::new(&[], &["id".to_owned(), "next".to_owned()])
    }

    fn user() -> UserState {
        let mut user = UserState::new(7, 2, &[]);
        user.begin_iteration();
        for _ in 0..3 {
            user.next_request();
        }
        user.set(0, "a b&\"c".into());
        user
    }

    fn render(source: &str, seed: u64) -> String {
        render_at(source, Place::Body, seed)
    }

    fn render_at(source: &str, place: Place, seed: u64) -> String {
        Template::parse_with(source, &names()).unwrap().render(
            place,
            &user(),
            &mut SmallRng::seed_from_u64(seed),
        )
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(
            render("user-{{user}}/{{ seq }}/{{iteration}}", 1),
            "user-7/3/1"
        );
        let number: i64 = render("{{int 5 9}}", 1).parse().unwrap();
        assert!((5..=9).contains(&number));
        assert_eq!(render("{{hex 12}}", 1).len(), 12);
        assert!(["a", "b"].contains(&render("{{choice a|b}}", 1).as_str()));
        assert_eq!(render("{{uuid}}", 1).len(), 36);
    }

    #[test]
    fn values_are_written_as_their_place_needs_it() {
        assert_eq!(render("<{{var.id}}>", 1), "<a b&\"c>");
        assert_eq!(render("<{{ var.id | json }}>", 1), "<a b&\\\"c>");
        let path = |source| render_at(source, Place::Path, 1);
        assert_eq!(path("/x/{{var.id}}"), "/x/a%20b&%22c");
        assert_eq!(path("/x?q={{var.id|url}}"), "/x?q=a%20b%26%22c");
        assert_eq!(render("[{{var.next}}]", 1), "[]", "not set yet");
    }

    #[test]
    fn json_braces_are_plain_text() {
        let body = r#"{"a": {"b": 1}, "c": {{int 1 1}}}"#;
        assert_eq!(render(body, 1), r#"{"a": {"b": 1}, "c": 1}"#);
        let quoted = Template::parse(r#"a {{"{{"}}b}} c"#).unwrap();
        assert_eq!(quoted.fixed(), Some("a {{b}} c"));
    }

    #[test]
    fn the_same_seed_gives_the_same_text() {
        for source in ["{{hex 32}}", "{{uuid}}", "{{string 9}}", "{{float 0 1 9}}"] {
            assert_eq!(render(source, 9), render(source, 9));
            assert_ne!(render(source, 9), render(source, 10));
        }
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
        let wrong = |source| {
            Template::parse_with(source, &names())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            wrong("{{var.nope}}"),
            "`{{var.nope}}`: no variable `nope`; there are `id`, `next`: give it a value in `[variables]`, or `extract` it"
        );
        assert_eq!(
            wrong("{{users.a}}"),
            "`{{users.a}}`: no feed `users`; there is none"
        );
        assert!(wrong("{{var.id | upper}}").contains("`url` and `json`"));
    }

    proptest! {
        #[test]
        fn text_without_placeholders_is_kept(text in "[^{}]*") {
            let template = Template::parse(&text).unwrap();
            prop_assert!(template.is_static());
            prop_assert_eq!(render(&text, 1), text);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[a-z{}. |\"]*") {
            if let Ok(template) = Template::parse_with(&text, &names()) {
                let mut random = SmallRng::seed_from_u64(1);
                let rendered = template.render(Place::Body, &user(), &mut random);
                prop_assert_eq!(template.fixed().is_none_or(|fixed| fixed == rendered), true);
            }
        }

        #[test]
        fn a_path_can_always_stand_in_a_request_line(value in "\\PC*|[\\x00-\\x7f]*") {
            let mut user = user();
            user.set(0, value);
            for source in ["{{var.id}}", "/a/{{var.id}}", "/a?b={{var.id | url}}"] {
                let template = Template::parse_with(source, &names()).unwrap();
                let path = template.render(Place::Path, &user, &mut SmallRng::seed_from_u64(1));
                prop_assert!(path.starts_with('/'), "{}", path);
                prop_assert!(path.bytes().all(|b| b.is_ascii_graphic() && b != b'#'), "{}", path);
            }
        }
    }
}
