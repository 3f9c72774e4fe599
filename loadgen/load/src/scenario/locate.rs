//! From a field of a TOML document to its line and column, and back.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One step of a path into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// An element of an array, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// `requests[2].weight`.
pub fn display(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Line and column, both from 1, columns in characters.
pub fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let before = source.get(..end).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |tail| tail.chars().count())
        + 1;
    (line, column)
}

/// Where a field is; a missing one is sought at its nearest parent that exists.
pub fn offset_of(source: &str, path: &[Step]) -> usize {
    let Ok(document) = DeTable::parse(source) else {
        return 0;
    };
    let mut offset = 0;
    let mut keys: Option<&DeTable<'_>> = Some(document.get_ref());
    let mut items: Option<&[Spanned<DeValue<'_>>]> = None;
    for step in path {
        let found = match step {
            Step::Key(key) => keys.and_then(|table| {
                table
                    .iter()
                    .find(|(name, _)| name.get_ref() == key.as_str())
                    .map(|(name, value)| (name.span().start, value))
            }),
            Step::Index(index) => items
                .and_then(|items| items.get(*index))
                .map(|value| (value.span().start, value)),
        };
        let Some((start, value)) = found else {
            break;
        };
        offset = start;
        keys = value.get_ref().as_table();
        items = value.get_ref().as_array().map(|array| array.as_ref());
    }
    offset
}

/// The deepest field whose key or value covers an offset.
pub fn path_at(source: &str, offset: usize) -> Vec<Step> {
    let mut path = Vec::new();
    if let Ok(document) = DeTable::parse(source) {
        descend_table(document.get_ref(), offset, &mut path);
    }
    path
}

fn descend_table(table: &DeTable<'_>, offset: usize, path: &mut Vec<Step>) -> bool {
    for (name, value) in table.iter() {
        path.push(Step::Key(name.get_ref().to_string()));
        if descend(value, offset, path) || covers(&name.span(), offset) {
            return true;
        }
        path.pop();
    }
    false
}

fn descend(value: &Spanned<DeValue<'_>>, offset: usize, path: &mut Vec<Step>) -> bool {
    if let Some(table) = value.get_ref().as_table() {
        if descend_table(table, offset, path) {
            return true;
        }
    } else if let Some(array) = value.get_ref().as_array() {
        for (index, item) in array.iter().enumerate() {
            path.push(Step::Index(index));
            if descend(item, offset, path) {
                return true;
            }
            path.pop();
        }
    }
    covers(&value.span(), offset)
}

fn covers(span: &Range<usize>, offset: usize) -> bool {
    span.contains(&offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "name = \"x\"\n[load]\nusers = 3\n[[requests]]\nname = \"a\"\n\
                          [[requests]]\nname = \"b\"\nexpect = { status = 200 }\n";

    #[test]
    fn fields_are_found_where_they_are_written() {
        let at = |path: &[Step]| line_column(SOURCE, offset_of(SOURCE, path));
        assert_eq!(at(&["load".into(), "users".into()]), (3, 1));
        assert_eq!(at(&["requests".into(), 1.into(), "name".into()]), (7, 1));
        assert_eq!(
            at(&[
                "requests".into(),
                1.into(),
                "expect".into(),
                "status".into()
            ]),
            (8, 12)
        );
    }

    #[test]
    fn a_missing_field_is_sought_at_its_parent() {
        let path = ["load".into(), "rate".into()];
        assert_eq!(line_column(SOURCE, offset_of(SOURCE, &path)).0, 2);
    }

    #[test]
    fn an_offset_names_its_field() {
        let offset = SOURCE.find("200").unwrap_or_default();
        assert_eq!(
            display(&path_at(SOURCE, offset)),
            "requests[1].expect.status"
        );
    }

    #[test]
    fn columns_count_characters_even_at_the_end() {
        assert_eq!(line_column("é = 1", 3), (1, 3));
        assert_eq!(line_column("é", 1), (1, 1));
        assert_eq!(line_column("a\n", 99), (2, 1));
    }
}
