//! Reading and writing by path.

use serde_json::{Map, Value};
use weir_api::{
    schema::{Field, Shape, patch},
    settings::{Path, Problem, Problems},
};

/// What is at the end of a path: `["upstream", "api", "servers", "0", "weight"]`.
///
/// # Errors
/// When there is nothing: which part of the path leads nowhere, and what would.
pub fn lookup<'a>(settings: &'a Value, names: &[&str]) -> Result<&'a Value, Problem> {
    let (mut value, mut path) = (settings, Path::root());
    for name in names {
        let index = name.parse::<usize>().ok();
        let (inner, next) = match (value, index) {
            (Value::Array(items), Some(index)) => (items.get(index), path.index(index)),
            (Value::Array(items), None) => {
                let allowed = format!("a number from 0 to {}", items.len().saturating_sub(1));
                return Err(Problem::new(path.key(name), "no such element", allowed));
            }
            (other, _) => (other.get(name), path.key(name)),
        };
        // A field that has no value, for instance `delay`.
        let single = |field: &Field| matches!(field.shape, Shape::One(_) | Shape::List(_));
        let unset = patch::field(&next)
            .is_some_and(single)
            .then_some(&Value::Null);
        value = inner.or(unset).ok_or_else(|| {
            let allowed = match value {
                Value::Object(table) => table.keys().cloned().collect::<Vec<_>>().join(", "),
                Value::Array(items) => format!("0 to {}", items.len().saturating_sub(1)),
                _ => format!("nothing: {path} is a single value"),
            };
            Problem::new(next.clone(), "no such setting", allowed)
        })?;
        path = next;
    }
    Ok(value)
}

/// The merge patch that gives what is at the end of a path another value. A table is replaced:
/// fields that the new one leaves out go back to their defaults.
///
/// # Errors
/// When the path leads into a list, which is one value.
pub fn replacing(settings: &Value, names: &[&str], value: Value) -> Result<Value, Problems> {
    let mut present = Some(settings);
    let mut path = Path::root();
    for (n, name) in names.iter().enumerate() {
        if present.is_some_and(Value::is_array) {
            let list = names.get(..n).unwrap_or_default().join("/");
            return Err(Problems::one(Problem::new(
                path,
                "a list is one value",
                format!(
                    "all of /v1/settings/{list}, or for servers /v1/upstreams/NAME/servers/ADDRESS"
                ),
            )));
        }
        present = present.and_then(|table| table.get(name));
        path = path.key(name);
    }
    let mut patch = match present {
        Some(old) => whole(old, value),
        None => value,
    };
    for name in names.iter().rev() {
        patch = Value::Object(Map::from_iter([((*name).to_owned(), patch)]));
    }
    Ok(patch)
}

/// A merge patch that makes a table into another one: what the new one lacks is null.
fn whole(old: &Value, new: Value) -> Value {
    let (Some(old), Value::Object(mut new)) = (old.as_object(), new.clone()) else {
        return new;
    };
    for (name, old) in old {
        let inner = match new.get_mut(name) {
            Some(inner) => whole(old, inner.take()),
            None if old.is_object() => whole(old, Value::Object(Map::new())),
            None => Value::Null,
        };
        new.insert(name.clone(), inner);
    }
    Value::Object(new)
}
