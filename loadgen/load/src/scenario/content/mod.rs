//! What is sent and what comes back: requests, flows, feeds, variables, checks.

mod escape;
mod expect;
mod extract;
mod feed;
mod generator;
mod names;
mod pattern;
mod raw;
mod state;
mod template;
pub(super) mod text;
mod validate;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use serde::Serialize;

pub use self::{
    escape::Place,
    expect::{Expect, HeaderCheck, JsonCheck, JsonValueCheck, Size, Statuses, TextCheck},
    extract::{Extract, From},
    feed::{AtEnd, Feed, FeedData, FeedError, Order, Per},
    pattern::{JsonPath, Pattern},
    state::UserState,
    template::{Template, TemplateError},
};
pub(super) use self::{
    raw::{RawFeed, RawFlow, RawLogin, RawRequest},
    validate::{Content, RawContent, content},
};
use super::ThinkTime;
use crate::units::as_text;

/// A request that each user sends once, whose answer may hold a token for the others.
#[derive(Debug, Clone, Serialize)]
pub struct Login {
    /// HTTP method.
    #[serde(serialize_with = "as_text::display")]
    pub method: http::Method,
    /// Path, with query if any.
    pub path: Template,
    /// Body, sent as `application/json` unless the headers say otherwise.
    pub body: Option<Template>,
    /// Extra headers.
    pub headers: Vec<(String, Template)>,
    /// Where the token is in the JSON answer, as a dotted path: `access_token`, `data.token`.
    /// Without one, the login leaves cookies or extracted values.
    pub token: Option<String>,
    /// What a good answer looks like.
    pub expect: Expect,
    /// Values to keep from the answer.
    pub extract: Vec<Extract>,
}

/// One kind of request.
#[derive(Debug, Clone, Serialize)]
pub struct RequestSpec {
    /// Name in reports; unique.
    pub name: String,
    /// HTTP method.
    #[serde(serialize_with = "as_text::display")]
    pub method: http::Method,
    /// Path, with query if any; may hold placeholders.
    pub path: Template,
    /// Extra headers; may hold placeholders.
    pub headers: Vec<(String, Template)>,
    /// Body; may hold placeholders.
    pub body: Option<Template>,
    /// Relative weight; above 0. Weights need not add up to 100. A step of a flow has that of
    /// its flow.
    pub weight: f64,
    /// What a good answer looks like.
    pub expect: Expect,
    /// Values to keep from a good answer.
    pub extract: Vec<Extract>,
}

/// Requests that a user sends one after another.
#[derive(Debug, Clone, Serialize)]
pub struct Flow {
    /// Name; unique among flows.
    pub name: String,
    /// Relative weight beside those of requests and other flows.
    pub weight: f64,
    /// Whether the steps after a failed one are left out.
    pub on_failure: OnFailure,
    /// The requests, in order; never empty.
    pub steps: Vec<FlowStep>,
}

/// A request of a flow.
#[derive(Debug, Clone, Serialize)]
pub struct FlowStep {
    /// What is sent.
    #[serde(flatten)]
    pub request: RequestSpec,
    /// Pause after it; `None` is the think time of the load (none in an open model).
    pub think_time: Option<ThinkTime>,
}

/// What becomes of a flow when a step fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The rest of it is left out.
    #[default]
    Stop,
    /// It goes on.
    Continue,
}

/// A variable that each user has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variable {
    /// Name: `{{var.NAME}}`.
    pub name: String,
    /// Value at the start, rendered once for each user; `None` until something is extracted.
    pub initial: Option<Template>,
}
