//! JSON Schema (draft 2020-12) of settings, made from the definitions.

use serde_json::{Map, Value, json};

use super::{Field, Kind, Shape, Table};

/// What a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A whole document: what is required must be there.
    Whole,
    /// A merge patch: everything may be left out, and null means the default.
    Patch,
}

/// The schema of a table. What JSON Schema has no word for stands beside it: `x-weir-applies` (when a
/// change takes effect), `x-weir-nginx` (nginx's name) and `x-weir-range` (ends of durations and sizes).
#[must_use]
pub fn json_schema(table: &Table, purpose: Purpose) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in table.fields {
        if matches!(field.shape, Shape::Later) {
            continue;
        }
        properties.insert(field.name.to_owned(), of_field(field, purpose));
        if field.required && purpose == Purpose::Whole {
            required.push(Value::from(field.name));
        }
    }
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = Value::Array(required);
    }
    schema
}

fn of_field(field: &Field, purpose: Purpose) -> Value {
    let mut schema = match field.shape {
        Shape::One(kind) => of_kind(kind),
        Shape::List(kind) => json!({"type": "array", "items": of_kind(kind)}),
        Shape::Table(table) => json_schema(table, purpose),
        Shape::Tables(table) => {
            // A list is replaced as a whole, in a patch too.
            json!({"type": "array", "items": json_schema(table, Purpose::Whole)})
        }
        Shape::Named(table) => json!({
            "type": "object",
            "propertyNames": {"description": super::text::NAME.allowed, "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "additionalProperties": json_schema(table, purpose),
        }),
        Shape::Texts(names, texts) => json!({
            "type": "object",
            "propertyNames": {"description": names.allowed},
            "additionalProperties": {"type": "string", "description": texts.allowed},
        }),
        Shape::Either(kind, table) => {
            json!({"anyOf": [of_kind(kind), json_schema(table, Purpose::Whole)]})
        }
        Shape::Later => Value::Bool(false),
    };
    let is_value = matches!(field.shape, Shape::One(_) | Shape::List(_));
    if purpose == Purpose::Patch && (is_value && !field.required || field.removable) {
        schema = json!({"anyOf": [schema, {"type": "null", "description": "back to the default"}]});
    }
    if let Some(object) = schema.as_object_mut() {
        describe(field, object);
    }
    schema
}

fn describe(field: &Field, schema: &mut Map<String, Value>) {
    schema.insert("description".to_owned(), field.help.into());
    let default = field
        .default
        .and_then(|text| serde_json::from_str(text).ok());
    if let Some(default) = default {
        schema.insert("default".to_owned(), default);
    }
    schema.insert("x-weir-applies".to_owned(), field.applies.as_str().into());
    if !field.nginx.is_empty() {
        schema.insert("x-weir-nginx".to_owned(), field.nginx.into());
    }
    if let Shape::One(kind @ (Kind::Bytes(..) | Kind::Duration(..))) = field.shape {
        schema.insert("x-weir-range".to_owned(), kind.range().into());
    }
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Bytes(..) => json!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+(B|k|K|KiB|m|M|MiB|g|G|GiB|TiB)?$",
            "minimum": 0,
        }),
        Kind::Duration(..) => {
            json!({"type": "string", "format": "weir-duration", "examples": ["500ms", "30s", "10m", "1h30m"]})
        }
        Kind::Rate => json!({"type": "string", "pattern": "^[0-9]+r/[sm]$"}),
        Kind::OneOf(words) => json!({"type": "string", "enum": words}),
        Kind::Text(rule) => json!({"type": "string", "x-weir-allowed": rule.allowed}),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schema::{FILE, LIVE};

    #[test]
    fn limits_and_defaults_are_those_of_the_definitions() {
        let schema = json_schema(&LIVE, Purpose::Patch);
        let level = &schema["properties"]["compression"]["properties"]["level"];
        assert_eq!(
            level["anyOf"][0],
            json!({"type": "integer", "minimum": 1, "maximum": 9})
        );
        assert_eq!(level["default"], 6);
        assert_eq!(level["x-weir-nginx"], "gzip_comp_level");
        let limit = &schema["properties"]["rate_limit"]["additionalProperties"];
        assert_eq!(
            limit["properties"]["rate"]["type"], "string",
            "required: null is no value for it"
        );
        assert!(limit.get("required").is_none(), "a patch may leave it out");
    }

    #[test]
    fn a_whole_file_needs_what_is_required() {
        let schema = json_schema(&FILE, Purpose::Whole);
        assert_eq!(schema["required"], json!(["listener", "route"]));
        let server =
            &schema["properties"]["upstream"]["additionalProperties"]["properties"]["servers"];
        assert_eq!(server["items"]["required"], json!(["address"]));
    }
}
