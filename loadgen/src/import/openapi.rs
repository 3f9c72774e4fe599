//! OpenAPI 3 and Swagger 2 documents, in JSON or YAML.

use std::{collections::BTreeMap, path::Path};

use reqwest::Url;
use serde_json::Value;

use super::{Choice, Draft, ImportError, draft::Item, read, schema::Schemas};

const METHODS: [&str; 7] = ["get", "head", "options", "post", "put", "patch", "delete"];

/// Media type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

const LOAD: &str = "duration = \"1m\"

[load]
model = \"closed\"
users = 10
spawn_rate = \"5/s\"
think_time = { min = \"0.5s\", max = \"2s\" }
";

/// Makes a draft of a document: one request for each operation.
///
/// # Errors
///
/// When the file cannot be read, is not OpenAPI, or no operation of it can be taken over.
pub fn openapi(path: &Path, name: &str, choice: Choice) -> Result<Draft, ImportError> {
    let text = read(path)?;
    let document = parse(path, text.trim_start_matches('\u{feff}'))?;
    let version = document.get("openapi").or_else(|| document.get("swagger"));
    if version.is_none() {
        return Err(ImportError::malformed(
            path,
            0,
            "is not an OpenAPI document: it has neither `openapi` nor `swagger` at the top",
        ));
    }
    let Some(paths) = document.get("paths").and_then(Value::as_object) else {
        return Err(ImportError::malformed(
            path,
            0,
            "has no `paths`: there is nothing that could be sent",
        ));
    };
    let title = document.pointer("/info/title").and_then(Value::as_str);
    let title = title.unwrap_or("an API without a title");
    let mut draft = Draft::new(
        name,
        format!("every operation of {title}, equally often"),
        LOAD,
    );
    let base = base_path(&document);
    let schemas = Schemas {
        document: &document,
    };
    let (mut left_out, mut secured, mut unmade) = (0, 0, 0);
    for (pattern, operations) in paths {
        let operations = schemas.resolve(operations);
        for method in METHODS {
            let Some(operation) = operations.get(method) else {
                continue;
            };
            if !choice.takes(&method.to_ascii_uppercase()) {
                left_out += 1;
                continue;
            }
            let wanted = operation
                .get("security")
                .or_else(|| document.get("security"));
            let needed = wanted
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty());
            secured += usize::from(needed);
            let operation = Operation {
                schemas: &schemas,
                shared: operations.get("parameters"),
                operation,
            };
            unmade += usize::from(matches!(operation.body(), Body::Unmade(_)));
            draft.items.push(operation.item(method, &base, pattern));
        }
    }
    if draft.items.is_empty() {
        return Err(ImportError::Nothing {
            path: path.to_owned(),
            message: if left_out > 0 {
                format!("all {left_out} operations change something; --all-methods takes them over")
            } else {
                "it has no operations".into()
            },
        });
    }
    draft.notes.push(format!(
        "A skeleton of {title}: look through the values, set weights, add checks.\nThe server is not part of the scenario: say `--target` when you run it."
    ));
    draft.note(
        secured,
        "of the operations need authentication: add [login], or a header with {{var.NAME}}.",
    );
    draft.note(
        unmade,
        "of the operations take a body that is not made here (multipart, XML, bytes): they are WITHOUT ITS BODY below; write one by hand, or remove them.",
    );
    draft.note(
        left_out,
        "operations that change something were left out; --all-methods takes them over.",
    );
    Ok(draft)
}

fn parse(path: &Path, text: &str) -> Result<Value, ImportError> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| {
            let message = format!("is not JSON: {error}");
            ImportError::malformed(path, error.line(), message)
        });
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line() as usize);
        let told = error.to_string();
        let first = told.lines().next().unwrap_or_default().to_owned();
        ImportError::malformed(path, line, format!("is not YAML: {first}"))
    })
}

/// What stands before every path: of the first server its path alone, without host.
fn base_path(document: &Value) -> String {
    let base = document.get("basePath").and_then(Value::as_str);
    let server = document.pointer("/servers/0/url").and_then(Value::as_str);
    let base = base.or(server).unwrap_or_default();
    let base = match Url::parse(base) {
        Ok(url) => url.path().to_owned(),
        Err(_) => base.to_owned(),
    };
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '{' | '}' | '#' | '?');
    if base.starts_with('/') && base.chars().all(good) {
        base.trim_end_matches('/').to_owned()
    } else {
        String::new()
    }
}

/// An operation of the document.
struct Operation<'d> {
    schemas: &'d Schemas<'d>,
    /// Parameters of all operations of the path.
    shared: Option<&'d Value>,
    operation: &'d Value,
}

impl<'d> Operation<'d> {
    fn item(&self, method: &str, base: &str, pattern: &str) -> Item {
        let parameters = self.parameters();
        let of = |place: &str| {
            parameters
                .iter()
                .filter(|((own, _), _)| own == place)
                .map(|((_, name), value)| (name.clone(), *value))
                .collect::<Vec<_>>()
        };
        let mut path = base.to_owned();
        path.push_str(&self.filled(pattern, &of("path")));
        let query: Vec<String> = of("query")
            .into_iter()
            .filter(|(_, parameter)| is_required(parameter))
            .map(|(name, parameter)| {
                format!(
                    "{}={}",
                    encoded(&name),
                    encoded_value(&self.value_of(parameter))
                )
            })
            .collect();
        if !query.is_empty() {
            path.push('?');
            path.push_str(&query.join("&"));
        }
        let mut headers: Vec<(String, String)> = of("header")
            .into_iter()
            .filter(|(name, parameter)| {
                let own = ["accept", "content-type", "authorization"];
                is_required(parameter)
                    && http::HeaderName::from_bytes(name.as_bytes()).is_ok()
                    && !own.contains(&name.to_ascii_lowercase().as_str())
            })
            .map(|(name, parameter)| (name, self.value_of(parameter)))
            .filter(|(_, value)| http::HeaderValue::from_str(value).is_ok())
            .collect();
        let (body, missing) = match self.body() {
            Body::None => (None, None),
            Body::Made(kind, text) => {
                if kind != "application/json" {
                    headers.push(("content-type".into(), kind));
                }
                (Some(text), None)
            }
            Body::Unmade(kind) => (None, Some(kind)),
        };
        let summary = ["summary", "operationId"]
            .iter()
            .find_map(|key| self.operation.get(key).and_then(Value::as_str));
        let missing = missing.map(|kind| format!("WITHOUT ITS BODY, {kind}: write one by hand"));
        let remarks: Vec<_> = summary
            .map(str::to_owned)
            .into_iter()
            .chain(missing)
            .collect();
        Item {
            method: method.to_ascii_uppercase(),
            path,
            headers,
            body,
            template: true,
            statuses: self.good_statuses(),
            remark: (!remarks.is_empty()).then(|| remarks.join(" · ")),
            ..Item::default()
        }
    }

    /// Parameters by place and name; those of the operation win over those of the path.
    fn parameters(&self) -> BTreeMap<(String, String), &'d Value> {
        let own = self.operation.get("parameters");
        let mut all = BTreeMap::new();
        for list in [self.shared, own].into_iter().flatten() {
            for parameter in list.as_array().into_iter().flatten() {
                let parameter = self.schemas.resolve(parameter);
                let text = |key: &str| parameter.get(key).and_then(Value::as_str);
                if let (Some(place), Some(name)) = (text("in"), text("name")) {
                    all.insert((place.to_owned(), name.to_owned()), parameter);
                }
            }
        }
        all
    }

    /// A path whose `{name}` became values.
    fn filled(&self, pattern: &str, parameters: &[(String, &'d Value)]) -> String {
        let mut out = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(&encoded_path(before));
            let known = parameters.iter().find(|(own, _)| own == name);
            let value = known.map_or_else(
                || "{{int 1 1000}}".to_owned(),
                |(_, parameter)| self.value_of(parameter),
            );
            out.push_str(&encoded_value(&value));
            rest = tail;
        }
        out.push_str(&encoded_path(rest));
        if out.starts_with('/') {
            out
        } else {
            format!("/{out}")
        }
    }

    fn value_of(&self, parameter: &'d Value) -> String {
        if let Some(example) = parameter.get("example") {
            return match example {
                Value::String(text) => text.replace("{{", ""),
                other => other.to_string().replace("{{", ""),
            };
        }
        // Swagger 2 writes type and format beside the name.
        self.schemas
            .text(parameter.get("schema").unwrap_or(parameter))
    }

    fn body(&self) -> Body {
        let Some(body) = self.operation.get("requestBody") else {
            return self.body_of_swagger();
        };
        let content = self.schemas.resolve(body).get("content");
        let Some(content) = content.and_then(Value::as_object) else {
            return Body::None;
        };
        let ways: [fn(&str) -> bool; 3] = [is_json, is_form, |kind| kind.starts_with("text/")];
        let best = ways
            .iter()
            .find_map(|good| content.iter().find(|(kind, _)| good(kind)));
        let Some((kind, media)) = best.or_else(|| content.iter().next()) else {
            return Body::None;
        };
        match self.text_of(kind, media) {
            Some(text) => Body::Made(kind.clone(), text),
            None => Body::Unmade(kind.clone()),
        }
    }

    /// The body of a media type, from its example or its schema; `None` if it cannot be made.
    fn text_of(&self, kind: &str, media: &'d Value) -> Option<String> {
        let first = media.get("examples").and_then(Value::as_object);
        let first = first.and_then(|examples| examples.values().next());
        let first = first.and_then(|example| self.schemas.resolve(example).get("value"));
        let example = media.get("example").or(first);
        match (example, media.get("schema")) {
            (Some(Value::String(text)), _) if !is_json(kind) => Some(literal(text)),
            (Some(value), _) if is_json(kind) => Some(literal(&value.to_string())),
            (Some(Value::Object(fields)), _) if is_form(kind) => {
                let fields = fields.iter().map(|(name, value)| {
                    let text = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    (name.clone(), literal(&text))
                });
                Some(form(fields))
            }
            (None, Some(schema)) if is_json(kind) => Some(self.schemas.json(schema)),
            (None, Some(schema)) if is_form(kind) => Some(form(self.schemas.fields(schema))),
            (None, Some(schema)) if kind == "text/plain" => Some(self.schemas.text(schema)),
            _ => None,
        }
    }

    /// Swagger 2 writes the body among the parameters.
    fn body_of_swagger(&self) -> Body {
        let parameters = self.parameters();
        let body = parameters.iter().find(|((place, _), _)| place == "body");
        if let Some(schema) = body.and_then(|(_, parameter)| parameter.get("schema")) {
            return Body::Made("application/json".into(), self.schemas.json(schema));
        }
        let fields: Vec<_> = parameters
            .iter()
            .filter(|((place, _), _)| place == "formData")
            .collect();
        let is_file = |parameter: &Value| parameter.get("type") == Some(&Value::from("file"));
        if fields.is_empty() {
            return Body::None;
        }
        if fields.iter().any(|(_, parameter)| is_file(parameter)) {
            return Body::Unmade("multipart/form-data".into());
        }
        let fields = fields
            .iter()
            .map(|((_, name), parameter)| (name.clone(), self.value_of(parameter)));
        Body::Made(FORM.into(), form(fields))
    }

    /// The statuses of success that the document names.
    fn good_statuses(&self) -> Vec<u16> {
        let responses = self.operation.get("responses").and_then(Value::as_object);
        let mut good: Vec<u16> = responses
            .into_iter()
            .flatten()
            .filter_map(|(status, _)| status.parse().ok())
            .filter(|status| (200..400).contains(status))
            .collect();
        good.sort_unstable();
        good
    }
}

/// The body of an operation.
enum Body {
    /// It has none.
    None,
    /// Media type and template.
    Made(String, String),
    /// One of this media type, which is not made here.
    Unmade(String),
}

fn is_json(kind: &str) -> bool {
    kind.contains("json")
}

fn is_form(kind: &str) -> bool {
    kind.starts_with(FORM)
}

/// Fields of a form as they are sent; the values are templates.
fn form(fields: impl IntoIterator<Item = (String, String)>) -> String {
    let pairs: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| format!("{}={}", encoded(&name), encoded_value(&value)))
        .collect();
    pairs.join("&")
}

/// Text without placeholders.
fn literal(text: &str) -> String {
    text.replace("{{", "{{\"{{\"}}")
}

fn is_required(parameter: &Value) -> bool {
    parameter.get("required") == Some(&Value::Bool(true))
}

fn encoded_path(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"#?{}%".contains(&byte) || byte == b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A value for a path or a query: placeholders stay, everything else is percent-encoded.
fn encoded_value(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(&encoded(before));
        let (inside, tail) = after.split_once("}}").unwrap_or((after, ""));
        // Options of a choice may hold spaces: in a path they stand as they would be encoded.
        let inside = match inside.strip_prefix("choice ") {
            Some(options) => format!("choice {}", options.replace(' ', "%20")),
            None => inside.to_owned(),
        };
        out.push_str(&format!("{{{{{inside}}}}}"));
        rest = tail;
    }
    out.push_str(&encoded(rest));
    out
}
