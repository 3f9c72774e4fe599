//! Changing the elements of a list in brackets, each with the comments that belong to it.
//!
//! What stands between two elements belongs to the first up to the end of the line (a comment behind
//! the comma), and to the second from there on.

use serde_json::Value as Json;
use toml_edit::{Array, Value};

/// An element with what belongs to it.
struct Element {
    /// In front of it.
    own: String,
    value: Value,
    /// Behind its comma, in the same line.
    tail: String,
}

/// Makes a list have the wanted elements in their order. Those that are `same` keep their place in
/// the text's style and are `update`d; others are made by `new`.
pub(super) fn reconcile(
    array: &mut Array,
    wanted: &[Json],
    same: impl Fn(&Value, &Json) -> bool,
    update: impl Fn(&mut Value, &Json),
    new: impl Fn(&Json) -> Value,
) {
    let (mut present, mut rest) = take_apart(array);
    let first_own = present.first().map_or_else(String::new, |e| e.own.clone());
    let indent = present
        .iter()
        .filter_map(|e| e.own.rsplit_once('\n'))
        .map(|(_, indent)| {
            format!(
                "\n{}",
                indent.trim_end_matches(|c: char| !c.is_whitespace())
            )
        })
        .next_back();
    let mut elements: Vec<Element> = Vec::new();
    for wanted in wanted {
        let at = present.iter().position(|e| same(&e.value, wanted));
        let mut element = match at {
            Some(at) => present.remove(at),
            None => Element {
                own: indent.clone().unwrap_or_else(|| " ".to_owned()),
                value: new(wanted),
                tail: String::new(),
            },
        };
        if at.is_some() {
            update(&mut element.value, wanted);
        } else {
            element.value.decor_mut().clear();
        }
        elements.push(element);
    }
    let mut before = String::new();
    array.clear();
    for (n, mut element) in elements.into_iter().enumerate() {
        if n == 0 && !element.own.contains('\n') {
            element.own.clone_from(&first_own);
        }
        if before.contains('#') && !element.own.starts_with('\n') {
            element.own.insert(0, '\n');
        }
        let prefix = format!("{before}{}", element.own);
        element.value.decor_mut().set_prefix(prefix);
        array.push_formatted(element.value);
        before = element.tail;
    }
    if before.contains('#') && !rest.starts_with('\n') {
        rest.insert(0, '\n');
    }
    array.set_trailing(format!("{before}{rest}"));
}

/// The elements, and what stands behind the last one's line.
fn take_apart(array: &Array) -> (Vec<Element>, String) {
    let as_text = |raw: Option<&toml_edit::RawString>| {
        raw.and_then(|raw| raw.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let mut elements: Vec<Element> = Vec::new();
    for value in array.iter() {
        let mut value = value.clone();
        let prefix = as_text(value.decor().prefix());
        value.decor_mut().set_prefix("");
        let own = match elements.last_mut() {
            Some(last) => {
                let (tail, own) = split(&prefix);
                last.tail.push_str(tail);
                own.to_owned()
            }
            None => prefix,
        };
        elements.push(Element {
            own,
            value,
            tail: String::new(),
        });
    }
    let mut rest = as_text(Some(array.trailing()));
    if let Some(last) = elements.last_mut() {
        if !array.trailing_comma() {
            // Without a comma, what follows is the element's suffix.
            rest.insert_str(0, &as_text(last.value.decor().suffix()));
            last.value.decor_mut().set_suffix("");
        }
        let (tail, behind) = split(&rest);
        last.tail = tail.to_owned();
        rest = behind.to_owned();
    }
    (elements, rest)
}

/// The comment up to the end of the line, if there is one, and what comes after.
fn split(between: &str) -> (&str, &str) {
    let end = between.find('\n').unwrap_or(between.len());
    match between.split_at_checked(end) {
        Some((line, rest)) if line.contains('#') => (line, rest),
        _ => ("", between),
    }
}
