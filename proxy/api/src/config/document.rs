//! A TOML document as JSON, with the place of every key and value.

use std::{collections::HashMap, ops::Range};

use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::settings::{Path, Problem, Subject};

/// Where something is in the text, in bytes.
pub(super) type Span = Range<usize>;

/// A document and the places of what is in it.
#[derive(Default)]
pub(super) struct Document {
    pub(super) value: Value,
    /// Values that TOML has and settings have not.
    pub(super) problems: Vec<Problem>,
    keys: HashMap<Path, Span>,
    values: HashMap<Path, Span>,
}

impl Document {
    /// Reads a text; a syntax error comes back with its message and place.
    pub(super) fn parse(text: &str) -> Result<Self, (String, Option<Span>)> {
        let root = DeTable::parse(text).map_err(|e| (e.message().to_owned(), e.span()))?;
        let mut document = Self::default();
        let value = document.table(root.get_ref(), &Path::root());
        document.value = value;
        Ok(document)
    }

    /// Where to point for a problem: at the field, or at the nearest thing that is there.
    pub(super) fn find(&self, path: &Path, subject: Subject) -> Option<Span> {
        if subject == Subject::Value
            && let Some(span) = self.values.get(path)
        {
            return Some(span.clone());
        }
        let mut path = path.clone();
        loop {
            let span = self.keys.get(&path).or_else(|| self.values.get(&path));
            if let Some(span) = span {
                return Some(span.clone());
            }
            path = path.parent()?;
        }
    }

    fn table(&mut self, table: &DeTable<'_>, path: &Path) -> Value {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut object = Map::new();
        for (key, value) in entries {
            let path = path.key(key.get_ref());
            self.keys.insert(path.clone(), key.span());
            object.insert(key.get_ref().to_string(), self.value(value, &path));
        }
        Value::Object(object)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &Path) -> Value {
        // A table's span is its header or all of its text: its key says better where it is.
        if !value.get_ref().is_table() || !self.keys.contains_key(path) {
            self.values.insert(path.clone(), value.span());
        }
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(number) => {
                let parsed =
                    i128::from_str_radix(&number.as_str().replace('_', ""), number.radix());
                match parsed.ok().and_then(Number::from_i128) {
                    Some(number) => Value::Number(number),
                    None => Value::String(number.to_string()),
                }
            }
            DeValue::Float(number) => {
                let parsed = number.as_str().replace('_', "").parse().ok();
                match parsed.and_then(Number::from_f64) {
                    Some(number) => Value::Number(number),
                    None => Value::String(number.to_string()),
                }
            }
            DeValue::Datetime(time) => {
                let message = format!("{time} is a date, and no setting is");
                self.problems.push(Problem::new(
                    path.clone(),
                    message,
                    "a text in quotation marks",
                ));
                Value::String(time.to_string())
            }
            DeValue::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(
                    items
                        .map(|(n, item)| self.value(item, &path.index(n)))
                        .collect(),
                )
            }
            DeValue::Table(table) => self.table(table, path),
        }
    }
}
