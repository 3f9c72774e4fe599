//! What to send, how much of it, and what counts as good: the model of a scenario file.
//!
//! [`Scenario::load`] resolves a name or a path, parses the TOML and validates it as a whole;
//! a `Scenario` that exists can be run. The file format is described in
//! `docs/reference/scenarios.md`.

mod content;
mod describe;
mod error;
mod explain;
mod file;
mod list;
mod load;
pub mod locate;
mod model;
mod overrides;
mod recorded;
mod set;
mod text;
mod think;
mod trace;
mod transport;
mod validate;
mod validate_load;

/// Name of the login among the endpoints.
pub const LOGIN: &str = "login";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod model_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

pub use self::{
    content::{
        AtEnd, Expect, Extract, Feed, FeedData, FeedError, Flow, FlowStep, From, HeaderCheck,
        JsonCheck, JsonPath, JsonValueCheck, Login, OnFailure, Order, Pattern, Per, Place,
        RequestSpec, Size, Statuses, Template, TemplateError, TextCheck, UserState, Variable,
    },
    error::ScenarioError,
    explain::{Explained, Origin},
    load::FOLDER,
    model::{Arrivals, Closed, Load, Open, Replay, Stage, UserStage, Wave},
    overrides::Overrides,
    set::Setting,
    think::ThinkTime,
    trace::{Kind, Timestamp, Trace, TraceError, TraceLine},
    transport::{ClientCertificate, Http, HttpOverrides, HttpVersion, Tls, TlsVersion},
};
use crate::{
    slo::Rule,
    summary::Model,
    units::{Rate, as_text},
};

/// A validated scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Scenario {
    /// Short name, as used on the command line and in folder names.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// How much load, and whether it waits for answers.
    pub load: Load,
    /// Length of the measured part.
    #[serde(serialize_with = "as_text::duration")]
    pub duration: Duration,
    /// The run ends once so many requests of the measured part have been started and answered, or
    /// after `duration`, whichever comes first; logins do not count.
    pub requests_total: Option<u64>,
    /// Load before the measured part; excluded from every figure.
    #[serde(serialize_with = "as_text::duration")]
    pub warmup: Duration,
    /// Which client sends the requests.
    pub engine: Engine,
    /// Open model: most requests in flight (users of the session engine, connections of the wire
    /// engine). Closed model: always the number of users.
    pub connections: u32,
    /// Whether the session engine keeps cookies, per user.
    pub cookies: bool,
    /// Version of HTTP, and how long connections live.
    pub http: Http,
    /// How `https` targets are talked to.
    pub tls: Tls,
    /// When to give up.
    pub timeouts: Timeouts,
    /// Files of data whose rows the users take.
    pub feeds: Vec<Feed>,
    /// What each user remembers.
    pub variables: Vec<Variable>,
    /// What each user does once before its first request.
    pub login: Option<Login>,
    /// What is sent, chosen by weight; requests and flows are never both empty.
    pub requests: Vec<RequestSpec>,
    /// Requests that are sent one after another, chosen by weight beside the others.
    pub flows: Vec<Flow>,
    /// What counts as good.
    pub thresholds: Thresholds,
    /// Seed of everything random: think times, arrivals, request choice, bodies.
    pub seed: u64,
    /// The file it came from, if any.
    pub source: Option<PathBuf>,
}

/// Which client sends the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// `reqwest`: cookies, a connection per user, opened when needed.
    Session,
    /// One raw connection per user or slot, counted exactly, least cost per request.
    Wire,
}

impl Engine {
    /// Name in scenario files and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Wire => "wire",
        }
    }
}

/// When to give up on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// Connecting, TLS handshake included.
    #[serde(serialize_with = "as_text::duration")]
    pub connect: Duration,
    /// From sending (connecting included, if needed) to the last byte.
    #[serde(serialize_with = "as_text::duration")]
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(30),
        }
    }
}

/// The gate: each value given must be met, strictly.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Thresholds {
    /// Median response time must be below.
    #[serde(serialize_with = "as_text::maybe_duration")]
    pub p50: Option<Duration>,
    /// 95th percentile of the response time must be below.
    #[serde(serialize_with = "as_text::maybe_duration")]
    pub p95: Option<Duration>,
    /// 99th percentile of the response time must be below.
    #[serde(serialize_with = "as_text::maybe_duration")]
    pub p99: Option<Duration>,
    /// Share of failed requests must be below; 0 to 1.
    pub error_rate: Option<f64>,
    /// Successful requests per second must be above.
    pub min_throughput: Option<Rate>,
    /// Rules about anything else, of the whole run or of one endpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl Scenario {
    /// Which load model it uses.
    pub fn model(&self) -> Model {
        match self.load {
            Load::Closed(_) => Model::Closed,
            Load::Open(_) => Model::Open,
        }
    }

    /// Names under which requests are recorded: those of the requests, and `login`.
    pub fn endpoint_names(&self) -> impl Iterator<Item = &str> + Clone {
        let login = self.login.iter().map(|_| crate::scenario::LOGIN);
        let requests = self.requests.iter().map(|request| request.name.as_str());
        requests.chain(login)
    }

    /// Most requests it can have in flight at once: users, or slots of an open model.
    pub fn lanes(&self) -> u32 {
        match &self.load {
            Load::Closed(closed) => closed.users,
            Load::Open(_) => self.connections,
        }
    }

    /// Requests that one start makes on average, by weight: 1 of a request, as many as it has steps
    /// of a flow that is not cut short.
    pub fn requests_per_start(&self) -> f64 {
        let flows = self.flows.iter();
        self.by_weight(
            1.0,
            flows.map(|flow| (flow.weight, flow.steps.len() as f64)),
        )
    }

    /// Time that passes at least, on average, from one start of a closed model's user to that of
    /// its next, every answer at once; none in an open model.
    pub fn mean_cycle(&self) -> Option<Duration> {
        let Load::Closed(closed) = &self.load else {
            return None;
        };
        let usual = match closed.pacing {
            Some(_) => Duration::ZERO,
            None => closed.think_time.mean(),
        };
        let cycle = |flow: &Flow| {
            // What follows the last step is the pause between two starts.
            let within = flow.steps.iter().rev().skip(1);
            let own = within.map(|step| step.think_time.map_or(usual, |own| own.mean()));
            let within: Duration = own.sum();
            match closed.pacing {
                Some(interval) => interval.max(within),
                None => within + usual,
            }
        };
        let flows = self.flows.iter();
        let flows = flows.map(|flow| (flow.weight, cycle(flow).as_secs_f64()));
        Duration::try_from_secs_f64(self.by_weight(closed.cycle().as_secs_f64(), flows)).ok()
    }

    /// The mean, by weight, of what is the same for every request and what each flow has.
    fn by_weight(&self, of_request: f64, of_flows: impl Iterator<Item = (f64, f64)>) -> f64 {
        let requests: f64 = self.requests.iter().map(|request| request.weight).sum();
        let flows: f64 = of_flows.map(|(weight, value)| weight * value).sum();
        (requests * of_request + flows) / self.weight_total()
    }

    /// Sum of the weights; may differ from 100.
    pub fn weight_total(&self) -> f64 {
        let requests = self.requests.iter().map(|request| request.weight);
        requests
            .chain(self.flows.iter().map(|flow| flow.weight))
            .sum()
    }

    /// Everything that is sent, the login apart: requests, then the steps of the flows.
    pub fn sent(&self) -> impl Iterator<Item = &RequestSpec> {
        let steps = self.flows.iter().flat_map(|flow| &flow.steps);
        self.requests.iter().chain(steps.map(|step| &step.request))
    }

    /// Mean arrival rate over the measured part, if the model is open.
    pub fn intended_rate(&self) -> Option<Rate> {
        let Load::Open(open) = &self.load else {
            return None;
        };
        Rate::per_second(open.expected() / self.duration.as_secs_f64()).ok()
    }
}
