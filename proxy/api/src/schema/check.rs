//! Walks a document along a table and collects everything that is wrong with it.

use serde_json::{Map, Value};

use super::{Field, Kind, Shape, Table, text};
use crate::settings::{Path, Problem, Problems, Subject};

/// Checks a whole document: unknown and missing fields, types, ranges, and fields against each other.
///
/// # Errors
/// Every problem found, in the order of the document.
pub fn check(table: &Table, value: &Value) -> Result<(), Problems> {
    let mut problems = Vec::new();
    check_table(table, value, &Path::root(), &mut problems);
    Problems::none_or(problems)
}

fn check_table(table: &Table, value: &Value, path: &Path, problems: &mut Vec<Problem>) {
    let Some(object) = object(value, path, problems) else {
        return;
    };
    for (name, value) in object {
        let path = path.key(name);
        match table.field(name) {
            Some(field) => check_field(field, value, &path, problems),
            None => problems.push(unknown(table, name, path)),
        }
    }
    for field in table.fields {
        if field.required && !object.contains_key(field.name) {
            problems.push(missing(field, path));
        }
    }
    if let Some(rule) = table.rule {
        rule(object, path, problems);
    }
}

fn check_field(field: &Field, value: &Value, path: &Path, problems: &mut Vec<Problem>) {
    match field.shape {
        Shape::One(kind) => check_value(kind, value, path, problems),
        Shape::List(kind) => {
            for (n, value) in list(value, path, "a list of values", problems) {
                check_value(kind, value, &path.index(n), problems);
            }
        }
        Shape::Table(table) => check_table(table, value, path, problems),
        Shape::Tables(table) => {
            for (n, value) in list(value, path, "a list of tables", problems) {
                check_table(table, value, &path.index(n), problems);
            }
        }
        Shape::Named(table) => {
            for (name, value) in object(value, path, problems).into_iter().flatten() {
                let path = path.key(name);
                if !(text::NAME.fits)(name) {
                    problems.push(
                        Problem::new(path.clone(), "not a good name", text::NAME.allowed)
                            .about(Subject::Name),
                    );
                }
                check_table(table, value, &path, problems);
            }
        }
        Shape::Texts(names, texts) => {
            for (name, value) in object(value, path, problems).into_iter().flatten() {
                let path = path.key(name);
                if !(names.fits)(name) {
                    problems.push(
                        Problem::new(path.clone(), "not a name for this", names.allowed)
                            .about(Subject::Name),
                    );
                }
                check_value(Kind::Text(texts), value, &path, problems);
            }
        }
        Shape::Either(_, table) if value.is_object() => {
            check_table(table, value, path, problems);
        }
        Shape::Either(kind, table) if !kind.fits(value) => problems.push(Problem::new(
            path.clone(),
            format!("{} is not allowed", show(value)),
            kind.or_table(table),
        )),
        Shape::Either(..) => {}
        Shape::Later => problems.push(
            Problem::new(
                path.clone(),
                "not supported yet by this version",
                "leave it out",
            )
            .about(Subject::Name),
        ),
    }
}

fn check_value(kind: Kind, value: &Value, path: &Path, problems: &mut Vec<Problem>) {
    if !kind.fits(value) {
        problems.push(Problem::new(
            path.clone(),
            format!("{} is not allowed", show(value)),
            kind.allowed(),
        ));
    }
}

fn object<'a>(
    value: &'a Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) -> Option<&'a Map<String, Value>> {
    if !value.is_object() {
        let message = format!("{} is not a table", show(value));
        problems.push(Problem::new(path.clone(), message, "a table of settings"));
    }
    value.as_object()
}

fn list<'a>(
    value: &'a Value,
    path: &Path,
    allowed: &str,
    problems: &mut Vec<Problem>,
) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    if !value.is_array() {
        let message = format!("{} is not a list", show(value));
        problems.push(Problem::new(path.clone(), message, allowed));
    }
    value.as_array().into_iter().flatten().enumerate()
}

fn missing(field: &Field, table: &Path) -> Problem {
    let allowed = match field.shape {
        Shape::One(kind) | Shape::List(kind) => kind.allowed(),
        Shape::Either(kind, table) => kind.or_table(table),
        Shape::Tables(_) => "at least one".to_owned(),
        Shape::Table(_) | Shape::Named(_) | Shape::Texts(..) | Shape::Later => String::new(),
    };
    Problem::new(table.key(field.name), "missing", allowed).about(Subject::Absence)
}

/// An unknown field: the most similar name when there is one, and all that are allowed.
pub(crate) fn unknown(table: &Table, name: &str, path: Path) -> Problem {
    let known = || {
        table
            .fields
            .iter()
            .filter(|field| !matches!(field.shape, Shape::Later))
            .map(|field| field.name)
    };
    let hint =
        similar(name, known()).map_or_else(String::new, |best| format!(", did you mean {best:?}?"));
    let allowed = known().collect::<Vec<_>>().join(", ");
    Problem::new(path, format!("unknown field{hint}"), allowed).about(Subject::Name)
}

/// The known name that one probably meant.
pub(crate) fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A value as it is written, cut when it is long.
fn show(value: &Value) -> String {
    match value {
        Value::Object(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Null => "null".to_owned(),
        other => {
            let text = other.to_string();
            if text.chars().count() <= 80 {
                return text;
            }
            text.chars().take(77).chain("...".chars()).collect()
        }
    }
}
