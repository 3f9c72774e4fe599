//! A scenario in the making, and how it is written.

use std::{collections::HashSet, fmt::Write as _, time::Duration};

use weir_load::units::format_duration;

/// Longest name of a request.
const LONGEST_NAME: usize = 60;

/// A scenario in the making.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Short name.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Remarks at the top: what was left out and what is to be done.
    pub notes: Vec<String>,
    /// Lines of `[load]` and what stands before it.
    pub(super) load: String,
    /// Whether the requests are steps of one flow.
    pub(super) flow: bool,
    /// What is sent.
    pub(super) items: Vec<Item>,
    names: HashSet<String>,
}

/// A request in the making; texts are as they are sent, without placeholders, unless `template`.
#[derive(Debug, Clone, Default)]
pub(super) struct Item {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
    /// Whether path and body hold placeholders on purpose.
    pub(super) template: bool,
    pub(super) weight: Option<u64>,
    pub(super) statuses: Vec<u16>,
    /// Pause before it, in a flow.
    pub(super) pause: Duration,
    pub(super) remark: Option<String>,
}

impl Draft {
    pub(super) fn new(name: &str, description: String, load: &str) -> Self {
        Self {
            name: identifier(name, "imported"),
            description,
            load: load.to_owned(),
            ..Self::default()
        }
    }

    /// How many requests it has.
    pub fn requests(&self) -> usize {
        self.items.len()
    }

    /// Adds a remark that counts something, if there is something to count.
    pub(super) fn note(&mut self, count: usize, text: &str) {
        if count > 0 {
            self.notes.push(format!("{count} {text}"));
        }
    }

    /// The scenario as TOML.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for note in &self.notes {
            for line in note.lines() {
                writeln!(out, "# {}", plain(line))?;
            }
        }
        writeln!(out, "name = {}", quoted(&self.name))?;
        writeln!(out, "description = {}", quoted(&self.description))?;
        writeln!(out, "{}", self.load.trim_end())?;
        if self.flow {
            writeln!(out, "\n[[flows]]\nname = {}", quoted(&self.name))?;
        }
        let mut names = self.names.clone();
        for (index, item) in self.items.iter().enumerate() {
            let pause = self.items.get(index + 1).map(|next| next.pause);
            self.write_item(out, item, pause, &mut names)?;
        }
        Ok(())
    }

    fn write_item(
        &self,
        out: &mut String,
        item: &Item,
        pause: Option<Duration>,
        names: &mut HashSet<String>,
    ) -> std::fmt::Result {
        let table = if self.flow { "flows.steps" } else { "requests" };
        let literal = |text: &str| {
            if item.template {
                text.to_owned()
            } else {
                escaped(text)
            }
        };
        writeln!(out)?;
        if let Some(remark) = &item.remark {
            writeln!(out, "# {}", plain(remark))?;
        }
        writeln!(out, "[[{table}]]")?;
        writeln!(out, "name = {}", quoted(&name_of(item, names)))?;
        if item.method != "GET" {
            writeln!(out, "method = {}", quoted(&item.method))?;
        }
        writeln!(out, "path = {}", quoted(&literal(&item.path)))?;
        if !item.headers.is_empty() {
            let pairs: Vec<_> = item
                .headers
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), quoted(&literal(value))))
                .collect();
            writeln!(out, "headers = {{ {} }}", pairs.join(", "))?;
        }
        if let Some(body) = &item.body {
            writeln!(out, "body = {}", quoted(&literal(body)))?;
        }
        if let Some(weight) = item.weight {
            writeln!(out, "weight = {weight}")?;
        }
        match item.statuses.as_slice() {
            [] | [200] => {}
            [one] => writeln!(out, "expect = {{ status = {one} }}")?,
            many => writeln!(out, "expect = {{ status = {many:?} }}")?,
        }
        if let (true, Some(pause)) = (self.flow, pause) {
            let text = match pause {
                Duration::ZERO => "none".to_owned(),
                pause => format_duration(pause),
            };
            writeln!(out, "think_time = {}", quoted(&text))?;
        }
        Ok(())
    }
}

/// `{{` is the beginning of a placeholder: written so that it is not.
fn escaped(text: &str) -> String {
    text.replace("{{", "{{\"{{\"}}")
}

/// One line without control characters, for a comment.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A text made of letters, digits, `-`, `_` and `.`.
pub(super) fn identifier(text: &str, otherwise: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') => out.push(c),
            _ if out.ends_with('-') || out.is_empty() => {}
            _ => out.push('-'),
        }
    }
    out.truncate(LONGEST_NAME);
    let out = out.trim_end_matches('-');
    if out.is_empty() {
        otherwise.to_owned()
    } else {
        out.to_owned()
    }
}

/// A name for a request that no other has.
fn name_of(item: &Item, names: &mut HashSet<String>) -> String {
    let mut path = String::new();
    let mut rest = item.path.split('?').next().unwrap_or_default();
    while let Some((before, after)) = rest.split_once("{{") {
        path.push_str(before);
        rest = after.split_once("}}").map_or("", |(_, tail)| tail);
    }
    path.push_str(rest);
    let base = identifier(
        &format!("{}{path}", item.method.to_ascii_lowercase()),
        "request",
    );
    let mut name = base.clone();
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use weir_load::scenario::Scenario;

    use super::*;

    const LOAD: &str =
        "duration = \"1s\"\n\n[load]\nmodel = \"closed\"\nusers = 1\nthink_time = \"1s\"\n";

    proptest! {
        #[test]
        fn whatever_was_recorded_can_be_loaded(
            bodies in prop::collection::vec("\\PC*|[{}\"'\\\\\n\r\t ]*", 1..4),
            flow: bool,
        ) {
            let mut draft = Draft::new("a b/ c", bodies[0].clone(), LOAD);
            draft.flow = flow;
            draft.notes.push(bodies[0].clone());
            for body in &bodies {
                draft.items.push(Item {
                    method: "POST".into(),
                    path: "/same/{{path}}?a={".into(),
                    headers: vec![("x.y".into(), "a{{b\"c".into())],
                    body: Some(body.clone()),
                    statuses: vec![200, 201],
                    ..Item::default()
                });
            }
            let toml = draft.to_toml();
            let scenario = Scenario::parse(&toml, "draft");
            prop_assert!(scenario.is_ok(), "{}\n{}", scenario.unwrap_err(), toml);
            let scenario = scenario.unwrap();
            let sent: Vec<_> = scenario.sent().collect();
            prop_assert_eq!(sent.len(), bodies.len());
            for (request, body) in sent.iter().zip(&bodies) {
                prop_assert_eq!(request.path.fixed(), Some("/same/{{path}}?a={"));
                prop_assert_eq!(request.headers[0].1.fixed(), Some("a{{b\"c"));
                prop_assert_eq!(request.body.as_ref().unwrap().fixed(), Some(body.as_str()));
            }
        }
    }
}
