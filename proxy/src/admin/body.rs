//! Reading what a request carries.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::Deserialize;
use serde_json::{Value, error::Category};
use weir_api::{text::unprintable_in, units::parse_duration};

use super::{access::Caller, answer::Failure, json};
use crate::settings::{Author, Conditions};

/// The largest body that is read.
pub(super) const LIMIT: usize = 64 << 10;

/// A body in JSON; none when there is no body.
pub(super) struct Body(pub(super) Option<Value>);

impl Body {
    /// The body, which must be there.
    pub(super) fn required(self) -> Result<Value, Failure> {
        self.0.ok_or_else(|| {
            Failure::bad_request(
                "no_body",
                "the request has no body; a JSON object is needed",
            )
        })
    }
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Failure> {
    let bytes = Bytes::from_request(request, state).await;
    bytes.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let message = format!("the body is larger than {LIMIT} bytes");
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        } else {
            Failure::bad_request("bad_body", rejection.body_text())
        }
    })
}

/// The same request with all of its body there.
pub(super) async fn complete(request: Request) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    let bytes = bytes(Request::from_parts(parts.clone(), body), &()).await?;
    Ok(Request::from_parts(parts, bytes.into()))
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = bytes(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        json::read(&bytes)
            .map(|value| Self(Some(value)))
            // serde_json's message ends with line and column.
            .map_err(|error| match error.classify() {
                Category::Data => Failure::bad_request("duplicate_field", error.to_string()),
                _ => Failure::bad_request("not_json", format!("the body is not JSON: {error}")),
            })
    }
}

/// The conditions of a change and who makes it: `?dry_run=true&who=…&why=…` and `If-Match`.
pub(super) struct Terms {
    pub(super) conditions: Conditions,
    pub(super) author: Author,
    /// How long to wait for what was asked; only where there is something to wait for.
    pub(super) wait: Option<Duration>,
}

/// The longest wait.
const MAX_WAIT: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    who: String,
    #[serde(default)]
    why: String,
    wait: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Terms {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<Parameters>::from_request_parts(parts, state).await;
        let Query(parameters) = query.map_err(|rejection| {
            let message = format!(
                "{}; allowed: dry_run=true or false, who, why",
                rejection.body_text()
            );
            Failure::bad_request("bad_query", message)
        })?;
        let waits = parts.uri.path().ends_with("/drain");
        let wait = parameters.wait.map(|text| {
            let wait = parse_duration(&text).ok();
            wait.filter(|wait| waits && *wait <= MAX_WAIT)
                .ok_or_else(|| {
                    let message =
                        format!("wait={text} is not allowed here; drain takes wait=0s to 10m");
                    Failure::bad_request("bad_query", message)
                })
        });
        free_text("who", &parameters.who, 200)?;
        free_text("why", &parameters.why, 1000)?;
        let caller = parts.extensions.get::<Caller>();
        let who = caller.unwrap_or(&Caller::Trusted).author(&parameters.who);
        Ok(Self {
            conditions: Conditions {
                expected: if_match(&parts.headers)?,
                dry_run: parameters.dry_run,
            },
            author: Author::new(who, parameters.why),
            wait: wait.transpose()?,
        })
    }
}

/// What somebody wrote for others to read: bounded, and nothing that a terminal would obey.
fn free_text(name: &str, text: &str, most: usize) -> Result<(), Failure> {
    if text.chars().count() > most {
        let message = format!("{name} is too long; allowed: up to {most} characters");
        return Err(Failure::bad_request("bad_query", message));
    }
    printable(name, text)
}

/// Refuses what a terminal would obey.
pub(super) fn printable(name: &str, text: &str) -> Result<(), Failure> {
    let Some(c) = unprintable_in(text) else {
        return Ok(());
    };
    let message = format!(
        "{name} has the control character U+{:04X}; allowed: printable characters on one line",
        u32::from(c)
    );
    Err(Failure::bad_request("control_character", message))
}

/// The revision that `If-Match` names: `"7"`, as in `ETag`; `*` matches any.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    text.trim_matches('"').parse().map(Some).map_err(|_| {
        let message = format!("If-Match is {text:?}, not a revision such as \"7\" (as the ETag of /v1/settings has it)");
        Failure::bad_request("bad_if_match", message)
    })
}
