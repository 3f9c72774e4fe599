//! HAR: what a browser or a proxy recorded (HTTP Archive 1.2).

use std::{collections::BTreeMap, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Url;
use serde::Deserialize;

use super::{
    Choice, Draft, ImportError,
    draft::Item,
    moment::rfc3339,
    read,
    secrets::{body_without_secrets, is_secret, without_secrets},
};

/// Shortest pause that is somebody thinking; shorter ones are a browser loading things.
const SHORTEST_PAUSE: f64 = 0.2;
/// Longest pause that is taken over.
const LONGEST_PAUSE: f64 = 30.0;

const LOAD: &str = "duration = \"1m\"

[load]
model = \"closed\"
users = 10
spawn_rate = \"5/s\"
think_time = \"1s\"
";

/// Headers that the client writes itself, or that belong to the browser and its cache alone.
const LEFT_OUT: [&str; 22] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "accept-encoding",
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-range",
    "range",
    "cache-control",
    "pragma",
    "origin",
    "referer",
    "upgrade-insecure-requests",
    "dnt",
    "priority",
];

/// How the requests of a recording are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// One flow, in the order of the recording, with its pauses.
    Flow,
    /// Requests drawn by weight: how often each was recorded.
    Requests,
}

#[derive(Deserialize)]
struct Document {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    started_date_time: String,
    /// Milliseconds.
    #[serde(default)]
    time: Option<f64>,
    request: Request,
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostData {
    #[serde(default)]
    mime_type: String,
    #[serde(default)]
    text: String,
    /// `base64` for bodies that are not text.
    #[serde(default)]
    encoding: String,
    /// Fields of a form, by some recorders instead of the text.
    #[serde(default)]
    params: Vec<Param>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Param {
    name: String,
    #[serde(default)]
    value: String,
    /// Of an uploaded file, whose content is not recorded as a field.
    file_name: Option<String>,
}

impl PostData {
    /// The body as text, empty if there is none; `None` if a scenario cannot say it.
    fn body(&self) -> Option<String> {
        if self.encoding.eq_ignore_ascii_case("base64") {
            let packed: String = self.text.split_whitespace().collect();
            let bytes = BASE64_STANDARD.decode(packed).ok()?;
            return String::from_utf8(bytes).ok();
        }
        if !self.text.is_empty() || self.params.is_empty() {
            return Some(self.text.clone());
        }
        let form = self
            .mime_type
            .starts_with("application/x-www-form-urlencoded");
        if !form || self.params.iter().any(|param| param.file_name.is_some()) {
            return None;
        }
        let pairs = self.params.iter().map(|param| (&param.name, &param.value));
        let url = Url::parse_with_params("http://form/", pairs).ok()?;
        url.query().map(str::to_owned)
    }
}

#[derive(Deserialize)]
struct Response {
    status: i64,
}

#[derive(Default)]
struct Skipped {
    other_hosts: usize,
    unsafe_methods: usize,
    failed: usize,
    not_http: usize,
    no_text: usize,
    secrets: usize,
}

/// Makes a draft of a recording. Requests of one host are taken: `host`, or else that of the first
/// request.
///
/// # Errors
///
/// When the file cannot be read, is not HAR, or nothing of it can be taken over.
pub fn har(
    path: &Path,
    name: &str,
    host: Option<&str>,
    shape: Shape,
    choice: Choice,
) -> Result<Draft, ImportError> {
    let text = read(path)?;
    let document: Document =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            let message = format!("is not a HAR recording: {error}");
            ImportError::malformed(path, error.line(), message)
        })?;
    let mut entries = document.log.entries;
    entries.sort_by(|a, b| start(a).total_cmp(&start(b)));
    let hosts: Vec<String> = entries.iter().filter_map(host_of).collect();
    let Some(host) = host.map(str::to_owned).or_else(|| hosts.first().cloned()) else {
        return Err(ImportError::Nothing {
            path: path.to_owned(),
            message: "it holds no request to an http or https URL".into(),
        });
    };
    let mut draft = Draft::new(name, format!("what was recorded of {host}"), LOAD);
    draft.flow = shape == Shape::Flow;
    let mut skipped = Skipped::default();
    let mut end_of_last: Option<f64> = None;
    for entry in &entries {
        let Some(own) = host_of(entry) else {
            skipped.not_http += 1;
            continue;
        };
        if own != host {
            skipped.other_hosts += 1;
            continue;
        }
        let Some(mut item) = item(entry, choice, &mut skipped) else {
            continue;
        };
        let begin = start(entry);
        let gap = end_of_last.map_or(0.0, |end| begin - end);
        if gap >= SHORTEST_PAUSE && gap.is_finite() {
            let pause = (gap.min(LONGEST_PAUSE) * 10.0).round() / 10.0;
            item.pause = Duration::try_from_secs_f64(pause).unwrap_or_default();
        }
        let end = begin + entry.time.unwrap_or(0.0).max(0.0) / 1e3;
        end_of_last = Some(end_of_last.map_or(end, |last| last.max(end)));
        draft.items.push(item);
    }
    if draft.items.is_empty() {
        return Err(nothing(path, &host, &hosts, &skipped));
    }
    if shape == Shape::Requests {
        draft.items = counted(std::mem::take(&mut draft.items));
    }
    draft.notes.push(format!(
        "Imported from a recording of {host}. The host is not part of the scenario: say `--target` when you run it."
    ));
    note(&mut draft, &skipped);
    Ok(draft)
}

fn note(draft: &mut Draft, skipped: &Skipped) {
    draft.note(
        skipped.other_hosts,
        "requests to other hosts were left out; import them one by one with --host.",
    );
    draft.note(
        skipped.unsafe_methods,
        "requests that change something were left out; --all-methods takes them over.",
    );
    draft.note(
        skipped.failed,
        "requests that had failed or had no answer were left out.",
    );
    draft.note(
        skipped.not_http,
        "entries without an http or https URL were left out.",
    );
    draft.note(
        skipped.no_text,
        "requests were left out whose body a scenario cannot hold: bytes that are not UTF-8 text, or an upload recorded without its content.",
    );
    draft.note(
        skipped.secrets,
        "secrets (Authorization, cookies, tokens, passwords) were left out; log in with [login], or take them over with --keep-secrets.",
    );
}

fn nothing(path: &Path, host: &str, hosts: &[String], skipped: &Skipped) -> ImportError {
    let mut names: Vec<_> = hosts.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let message = if skipped.no_text > 0 && skipped.unsafe_methods == 0 {
        format!(
            "the bodies of all {} requests to {host} are not text, which a scenario cannot hold",
            skipped.no_text
        )
    } else if skipped.unsafe_methods > 0 {
        format!(
            "all {} requests to {host} change something; --all-methods takes them over",
            skipped.unsafe_methods
        )
    } else {
        format!(
            "no good request to {host}; the recording has {}",
            names.join(", ")
        )
    };
    ImportError::Nothing {
        path: path.to_owned(),
        message,
    }
}

fn start(entry: &Entry) -> f64 {
    rfc3339(&entry.started_date_time).unwrap_or(0.0)
}

/// Host and port, as the URL writes them.
fn host_of(entry: &Entry) -> Option<String> {
    let url = Url::parse(&entry.request.url).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

fn item(entry: &Entry, choice: Choice, skipped: &mut Skipped) -> Option<Item> {
    let request = &entry.request;
    let method = request.method.to_ascii_uppercase();
    let status = u16::try_from(entry.response.status).unwrap_or(0);
    if !(100..400).contains(&status) || method == "CONNECT" || method == "TRACE" {
        skipped.failed += 1;
        return None;
    }
    if !choice.takes(&method) {
        skipped.unsafe_methods += 1;
        return None;
    }
    let url = Url::parse(&request.url).ok()?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let (path, hidden) = if choice.keep_secrets {
        (path, 0)
    } else {
        without_secrets(&path)
    };
    skipped.secrets += hidden;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for Header { name, value } in &request.headers {
        let name = name.to_ascii_lowercase();
        let known = LEFT_OUT.contains(&name.as_str()) || name.starts_with("sec-");
        let readable = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && http::HeaderValue::from_str(value).is_ok()
            && value.is_ascii();
        if known || !readable {
            continue;
        }
        if is_secret(&name) && !choice.keep_secrets {
            skipped.secrets += 1;
            continue;
        }
        headers.insert(name, value.clone());
    }
    let body = match &request.post_data {
        None => None,
        Some(data) => {
            let Some(text) = data.body() else {
                skipped.no_text += 1;
                return None;
            };
            let (text, hidden) = if choice.keep_secrets {
                (text, 0)
            } else {
                body_without_secrets(&text, &data.mime_type)
            };
            skipped.secrets += hidden;
            Some(text).filter(|text| !text.is_empty())
        }
    };
    Some(Item {
        method,
        path,
        headers: headers.into_iter().collect(),
        body,
        // A 304 came from the browser's cache and a 206 from a range: neither is asked for here.
        statuses: Some(status)
            .filter(|status| !matches!(status, 200 | 206 | 304))
            .into_iter()
            .collect(),
        ..Item::default()
    })
}

/// The same requests once each, with the number of their appearances as weight.
fn counted(items: Vec<Item>) -> Vec<Item> {
    let mut distinct: Vec<Item> = Vec::new();
    for item in items {
        let same = distinct.iter_mut().find(|other| {
            other.method == item.method && other.path == item.path && other.body == item.body
        });
        match same {
            Some(other) => other.weight = other.weight.map(|weight| weight + 1),
            None => distinct.push(Item {
                weight: Some(1),
                ..item
            }),
        }
    }
    distinct
}
