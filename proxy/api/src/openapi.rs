//! The admin API as an OpenAPI 3.1 document, made from [`crate::endpoints`] and the types of the bodies.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    admin,
    endpoints::{Answer, Body, ENDPOINTS, Endpoint, Scope},
    schema::{LIVE, Purpose, Shape, json_schema, patch},
    settings::Path,
};

/// The document. `version` is the proxy's.
#[must_use]
pub fn document(version: &str) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        let path = endpoint.path.replace("{*", "{");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[endpoint.method.to_ascii_lowercase()] = operation(endpoint, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "weir admin API",
            "version": version,
            "description": "Reads and changes a running proxy. Every answer carries X-Weir-Revision, the number of the settings in force.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Needed when admin.tokens is set; scopes: read, write, profile."}
            },
        },
    })
}

fn operation(endpoint: &Endpoint, schemas: &mut Schemas) -> Value {
    let mut parameters: Vec<Value> = path_names(endpoint.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    for query in endpoint.query {
        parameters.push(json!({"name": query.name, "in": "query", "description": query.help, "schema": {"type": query.kind}}));
    }
    if endpoint.scope == Scope::Write {
        parameters.push(json!({"name": "If-Match", "in": "header", "description": "Make the change only while the settings are at this revision; otherwise 412.", "schema": {"type": "string"}}));
    }
    let mut out = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": {
            endpoint.status.to_string(): {"description": "It was done.", "content": answer(endpoint.answer, schemas)},
            "default": {"description": "It was not done, and why.", "content": {"application/json": {"schema": schemas.of::<admin::ErrorBody>()}}},
        },
    });
    if let Some((schema, required)) = body(endpoint.body, schemas) {
        out["requestBody"] =
            json!({"required": required, "content": {"application/json": {"schema": schema}}});
    }
    if endpoint.scope != Scope::Open {
        out["security"] = json!([{"token": [endpoint.scope.as_str()]}]);
    }
    out
}

fn operation_id(endpoint: &Endpoint) -> String {
    let debug = format!("{:?}", endpoint.operation);
    let mut letters = debug.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|step| step.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.trim_start_matches('*'))
}

fn body(body: Body, schemas: &mut Schemas) -> Option<(Value, bool)> {
    let schema = match body {
        Body::None => return None,
        Body::Patch => schemas.settings("SettingsPatch", Purpose::Patch),
        Body::AnyValue => json!({"description": "A value for what is at the path."}),
        Body::Server | Body::ServerFields => {
            let server = patch::field(&Path::root().key("upstream").key("NAME").key("servers"));
            let purpose = if body == Body::Server {
                Purpose::Whole
            } else {
                Purpose::Patch
            };
            match server.map(|field| field.shape) {
                Some(Shape::Tables(table)) => json_schema(table, purpose),
                _ => json!({"type": "object"}),
            }
        }
        Body::OverrideRequest => {
            schemas.settings("SettingsPatch", Purpose::Patch);
            json!({
                "type": "object",
                "required": ["settings", "ttl", "owner"],
                "additionalProperties": false,
                "properties": {
                    "settings": {"$ref": "#/components/schemas/SettingsPatch"},
                    "ttl": {"type": "string", "description": "How long, from 1s to 24h."},
                    "owner": {"type": "string", "description": "Who wants it."},
                    "reason": {"type": "string", "description": "What for."},
                },
            })
        }
        Body::RenewRequest => return Some((schemas.of::<admin::RenewRequest>(), false)),
    };
    Some((schema, true))
}

fn answer(answer: Answer, schemas: &mut Schemas) -> Value {
    let (media, schema) = match answer {
        Answer::Settings => {
            schemas.settings("Settings", Purpose::Whole);
            ("application/json", schemas.of::<admin::SettingsView>())
        }
        Answer::Change => ("application/json", schemas.of::<admin::ChangeView>()),
        Answer::Save => ("application/json", schemas.of::<admin::SaveView>()),
        Answer::Reload => ("application/json", schemas.of::<admin::ReloadView>()),
        Answer::Revisions => ("application/json", schemas.of::<admin::RevisionList>()),
        Answer::Overrides => ("application/json", schemas.of::<admin::OverrideList>()),
        Answer::Override => ("application/json", schemas.of::<admin::OverrideView>()),
        Answer::OverrideCreated => ("application/json", schemas.of::<admin::OverrideCreated>()),
        Answer::OverrideDeleted => ("application/json", schemas.of::<admin::OverrideDeleted>()),
        Answer::Drain => ("application/json", schemas.of::<admin::DrainView>()),
        Answer::History => ("application/json", schemas.of::<admin::HistoryView>()),
        Answer::Html => ("text/html", json!({"type": "string"})),
        Answer::AnyValue | Answer::Json => ("application/json", json!({})),
        Answer::EventStream => ("text/event-stream", json!({"type": "string"})),
        Answer::Text => ("text/plain", json!({"type": "string"})),
        Answer::Svg => ("image/svg+xml", json!({"type": "string"})),
    };
    json!({media: {"schema": schema}})
}

/// The schemas under `components`.
struct Schemas {
    types: SchemaGenerator,
    settings: Map<String, Value>,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|s| s.definitions_path = "/components/schemas".into());
        Self {
            types: settings.into_generator(),
            settings: Map::new(),
        }
    }

    fn of<T: JsonSchema>(&mut self) -> Value {
        self.types.subschema_for::<T>().to_value()
    }

    fn settings(&mut self, name: &str, purpose: Purpose) -> Value {
        self.settings
            .entry(name)
            .or_insert_with(|| json_schema(&LIVE, purpose));
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn finish(mut self) -> Value {
        let mut all = self.types.take_definitions(true);
        all.extend(self.settings);
        Value::Object(all)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    if let Some(Value::String(reference)) = object.get("$ref") {
                        found.push(reference.clone());
                    }
                    object.values().for_each(|v| references(v, found));
                }
                Value::Array(items) => items.iter().for_each(|v| references(v, found)),
                _ => {}
            }
        }
        let document = document("0");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn parameters_of_paths_are_declared() {
        let document = document("0");
        let drain = &document["paths"]["/v1/upstreams/{name}/servers/{address}/drain"]["post"];
        let names: Vec<_> = drain["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "name", "address", "dry_run", "who", "why", "wait", "If-Match"
            ]
        );
        assert_eq!(drain["operationId"], "drainServer");
    }
}
