//! Values that fit a schema of an OpenAPI document, as templates.

use serde_json::Value;

/// Deepest nesting that is followed: schemas may refer to themselves.
const DEEPEST: usize = 8;

/// Finds schemas in a document and makes values of them.
pub(super) struct Schemas<'d> {
    pub(super) document: &'d Value,
}

impl<'d> Schemas<'d> {
    /// The object that `$ref` leads to, or the value itself.
    pub(super) fn resolve(&self, value: &'d Value) -> &'d Value {
        let mut value = value;
        for _ in 0..DEEPEST {
            let target = value
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix('#'))
                .and_then(|pointer| self.document.pointer(pointer));
            match target {
                Some(target) => value = target,
                None => break,
            }
        }
        value
    }

    /// A value as it stands in a path, a query or a header.
    pub(super) fn text(&self, schema: &'d Value) -> String {
        match self.value(schema, 0) {
            Made::Json(Value::String(text)) => plain(&text),
            Made::Json(other) => plain(&other.to_string()),
            Made::Text(template) | Made::Bare(template) => template,
        }
    }

    /// A value as JSON text with placeholders.
    pub(super) fn json(&self, schema: &'d Value) -> String {
        let mut out = String::new();
        self.value(schema, 0).write(&mut out);
        out
    }

    /// Names and values of an object's properties, each as it stands in a form.
    pub(super) fn fields(&self, schema: &'d Value) -> Vec<(String, String)> {
        self.fields_at(schema, 0)
    }

    fn fields_at(&self, schema: &'d Value, depth: usize) -> Vec<(String, String)> {
        let schema = self.resolve(schema);
        let mut fields = Vec::new();
        if depth < DEEPEST {
            let all = schema.get("allOf").and_then(Value::as_array);
            for part in all.into_iter().flatten() {
                fields.extend(self.fields_at(part, depth + 1));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            if self.resolve(property).get("readOnly") != Some(&Value::Bool(true)) {
                fields.push((name.clone(), self.text(property)));
            }
        }
        fields
    }

    fn value(&self, schema: &'d Value, depth: usize) -> Made {
        let schema = self.resolve(schema);
        for key in ["example", "const", "default"] {
            if let Some(value) = schema.get(key) {
                return Made::Json(value.clone());
            }
        }
        if let Some(value) = schema.get("examples").and_then(|e| e.get(0)) {
            return Made::Json(value.clone());
        }
        if let Some(options) = schema.get("enum").and_then(Value::as_array) {
            return choice(options);
        }
        if depth >= DEEPEST {
            return Made::Json(Value::Null);
        }
        if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
            return self.merged(all, depth);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(first) = schema.get(key).and_then(|list| list.get(0)) {
                return self.value(first, depth + 1);
            }
        }
        match type_of(schema) {
            "object" => self.object(schema, depth),
            "array" => {
                let item = schema.get("items").unwrap_or(&Value::Null);
                let mut out = String::from("[");
                self.value(item, depth + 1).write(&mut out);
                out.push(']');
                Made::Bare(out)
            }
            "integer" => Made::Bare(integer(schema)),
            "number" => Made::Bare(number(schema)),
            "boolean" => Made::Bare("{{choice true|false}}".into()),
            "null" => Made::Json(Value::Null),
            _ => Made::Text(string(schema)),
        }
    }

    fn object(&self, schema: &'d Value, depth: usize) -> Made {
        let mut out = String::from("{");
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            if self.resolve(property).get("readOnly") == Some(&Value::Bool(true)) {
                continue;
            }
            if out.len() > 1 {
                out.push_str(", ");
            }
            out.push_str(&plain(&Value::from(name.as_str()).to_string()));
            out.push_str(": ");
            self.value(property, depth + 1).write(&mut out);
        }
        out.push('}');
        Made::Bare(out)
    }

    /// One object with the properties of all.
    fn merged(&self, all: &'d [Value], depth: usize) -> Made {
        let parts: Vec<String> = all
            .iter()
            .map(|part| {
                let mut text = String::new();
                self.value(part, depth + 1).write(&mut text);
                text
            })
            .filter_map(|text| {
                let inner = text.strip_prefix('{')?.strip_suffix('}')?;
                (!inner.trim().is_empty()).then(|| inner.to_owned())
            })
            .collect();
        Made::Bare(format!("{{{}}}", parts.join(", ")))
    }
}

/// A value in the making.
enum Made {
    /// Known already.
    Json(Value),
    /// A template whose result is text.
    Text(String),
    /// A template whose result is JSON.
    Bare(String),
}

impl Made {
    fn write(&self, out: &mut String) {
        match self {
            Self::Json(value) => out.push_str(&plain(&value.to_string())),
            Self::Text(template) => {
                out.push('"');
                out.push_str(template);
                out.push('"');
            }
            Self::Bare(template) => out.push_str(template),
        }
    }
}

/// Text without placeholders.
fn plain(text: &str) -> String {
    text.replace("{{", "{{\"{{\"}}")
}

fn type_of(schema: &Value) -> &str {
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => Some(kind.as_str()),
        // OpenAPI 3.1 allows several: the first that is not null.
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null"),
        _ => None,
    };
    match kind {
        Some(kind) => kind,
        None if schema.get("properties").is_some() => "object",
        None if schema.get("items").is_some() => "array",
        None => "string",
    }
}

fn choice(options: &[Value]) -> Made {
    let simple = |value: &Value| match value {
        Value::String(text) => {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_.: ".contains(c);
            (!text.trim().is_empty() && text.chars().all(good)).then(|| text.trim().to_owned())
        }
        _ => None,
    };
    let texts: Option<Vec<String>> = options.iter().map(simple).collect();
    match texts {
        Some(texts) if !texts.is_empty() => {
            Made::Text(format!("{{{{choice {}}}}}", texts.join("|")))
        }
        _ => Made::Json(options.first().cloned().unwrap_or(Value::Null)),
    }
}

fn bound(schema: &Value, key: &str) -> Option<f64> {
    schema.get(key).and_then(Value::as_f64)
}

fn integer(schema: &Value) -> String {
    let whole = |key| bound(schema, key).map(|bound| bound as i64);
    let min = whole("minimum").unwrap_or(1);
    let max = whole("maximum").unwrap_or(min.saturating_add(999)).max(min);
    format!("{{{{int {min} {max}}}}}")
}

fn number(schema: &Value) -> String {
    let min = bound(schema, "minimum").unwrap_or(0.0);
    let max = bound(schema, "maximum").unwrap_or(min + 1000.0).max(min);
    format!("{{{{float {min} {max}}}}}")
}

fn string(schema: &Value) -> String {
    match schema.get("format").and_then(Value::as_str) {
        Some("uuid") => "{{uuid}}".into(),
        Some("date-time") => "{{now}}".into(),
        Some("date") => "2026-01-{{int 10 28}}".into(),
        Some("email") => "user-{{user}}@example.com".into(),
        Some("uri" | "url") => "https://example.com/{{string 8}}".into(),
        _ => {
            let length = |key| schema.get(key).and_then(Value::as_u64);
            let most = length("maxLength").unwrap_or(1024).clamp(1, 1024);
            let length = length("minLength").unwrap_or(0).max(8).min(most);
            format!("{{{{string {length}}}}}")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use weir_load::scenario::{Place, Template, UserState};

    use super::*;

    #[test]
    fn values_fit_their_schema() {
        let document = json!({
            "components": { "schemas": {
                "Node": { "type": "object", "properties": {
                    "id": { "type": "string", "format": "uuid", "readOnly": true },
                    "name": { "type": "string", "maxLength": 4 },
                    "kind": { "enum": ["a", "b c"] },
                    "count": { "type": ["null", "integer"], "minimum": 5, "maximum": 5 },
                    "share": { "type": "number", "maximum": 1 },
                    "tags": { "type": "array", "items": { "type": "boolean" } },
                    "odd": { "example": "{{x}}\"" },
                    "parent": { "$ref": "#/components/schemas/Node" },
                }},
                "Both": { "allOf": [{ "properties": { "a": { "const": 1 } } }, { "properties": { "b": { "type": "null" } } }] },
            }}
        });
        let schemas = Schemas {
            document: &document,
        };
        let make = |name: &str| {
            let reference = &document["components"]["schemas"][name];
            let template = Template::parse(&schemas.json(reference)).unwrap();
            let mut random = rand::rng();
            let text = template.render(Place::Body, &UserState::new(3, 0, &[]), &mut random);
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let node = make("Node");
        assert_eq!(node.get("id"), None);
        assert_eq!(node["name"].as_str().unwrap().len(), 4);
        assert_eq!(node["count"], 5);
        assert_eq!(node["odd"], "{{x}}\"");
        assert!(node["tags"][0].is_boolean());
        assert!(node["share"].as_f64().unwrap() <= 1.0);
        assert!(node["parent"]["parent"].is_object());
        assert_eq!(make("Both"), json!({ "a": 1, "b": null }));
    }
}
