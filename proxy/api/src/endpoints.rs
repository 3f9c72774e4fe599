//! The endpoints of the admin API: one table, from which its routes, what a token must be allowed to,
//! the OpenAPI document and the list in `docs/reference/admin-api.md` come.

use std::fmt::Write as _;

/// What a caller must be allowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Nothing: health checks and the dashboard's own files.
    Open,
    /// Looking.
    Read,
    /// Changing.
    Write,
    /// Looking into the process: profiles.
    Profile,
}

impl Scope {
    /// As tokens name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Profile => "profile",
        }
    }
}

/// What can be asked of the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each has its summary in the table")]
pub enum Operation {
    ReadSettings,
    PatchSettings,
    DiscardPatches,
    ReadSetting,
    PutSetting,
    SaveSettings,
    ReloadFile,
    ListRevisions,
    RollBack,
    ListOverrides,
    CreateOverride,
    ReadOverride,
    DeleteOverride,
    RenewOverride,
    Upstreams,
    AddServer,
    ChangeServer,
    RemoveServer,
    DrainServer,
    Limits,
    Stats,
    History,
    Chart,
    Events,
    Profile,
    SettingsSchema,
    OpenApi,
    Healthz,
    Readyz,
    Metrics,
    Dashboard,
    DashboardPart,
}

/// A parameter of the query.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type in JSON Schema: `string`, `integer`, `boolean`.
    pub kind: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// A body, by its type in [`crate::admin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after the types")]
pub enum Body {
    None,
    Patch,
    AnyValue,
    Server,
    ServerFields,
    OverrideRequest,
    RenewRequest,
}

/// A successful answer, by its type in [`crate::admin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after the types")]
pub enum Answer {
    Settings,
    Change,
    AnyValue,
    Save,
    Reload,
    Revisions,
    Overrides,
    Override,
    OverrideCreated,
    OverrideDeleted,
    Drain,
    History,
    Json,
    EventStream,
    Text,
    Html,
    Svg,
}

/// One endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// What it is.
    pub operation: Operation,
    /// HTTP method.
    pub method: &'static str,
    /// Path; names in braces are parameters, `{*path}` takes the rest.
    pub path: &'static str,
    /// What a caller must be allowed to.
    pub scope: Scope,
    /// One sentence.
    pub summary: &'static str,
    /// Parameters of the query.
    pub query: &'static [Parameter],
    /// What is sent.
    pub body: Body,
    /// Status of success.
    pub status: u16,
    /// What comes back then.
    pub answer: Answer,
}

impl Endpoint {
    const fn get(
        operation: Operation,
        path: &'static str,
        answer: Answer,
        summary: &'static str,
    ) -> Self {
        Self {
            operation,
            method: "GET",
            path,
            scope: Scope::Read,
            summary,
            query: &[],
            body: Body::None,
            status: 200,
            answer,
        }
    }

    const fn change(
        operation: Operation,
        (method, path): (&'static str, &'static str),
        body: Body,
        answer: Answer,
        summary: &'static str,
    ) -> Self {
        Self {
            operation,
            method,
            path,
            scope: Scope::Write,
            summary,
            query: &CHANGE,
            body,
            status: 200,
            answer,
        }
    }

    const fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    const fn query(mut self, query: &'static [Parameter]) -> Self {
        self.query = query;
        self
    }

    const fn created(mut self) -> Self {
        self.status = 201;
        self
    }
}

const DRY_RUN: Parameter = Parameter {
    name: "dry_run",
    kind: "boolean",
    help: "Check, and show the difference, but change nothing.",
};
const WHO: Parameter = Parameter {
    name: "who",
    kind: "string",
    help: "Who makes the change, for the revision; at most 200 characters.",
};
const WHY: Parameter = Parameter {
    name: "why",
    kind: "string",
    help: "Why, for the revision; at most 1000 characters.",
};
const WAIT: Parameter = Parameter {
    name: "wait",
    kind: "string",
    help: "How long to wait until nothing is in flight, 0s to 10m.",
};

static CHANGE: [Parameter; 3] = [DRY_RUN, WHO, WHY];
static DRAIN: [Parameter; 4] = [DRY_RUN, WHO, WHY, WAIT];
static LIMIT: [Parameter; 1] = [Parameter {
    name: "limit",
    kind: "integer",
    help: "How many, the newest first.",
}];
static SPAN: [Parameter; 1] = [Parameter {
    name: "seconds",
    kind: "integer",
    help: "How many of the last seconds, 1 to 300.",
}];
static PROFILE: [Parameter; 2] = [
    Parameter {
        name: "seconds",
        kind: "integer",
        help: "How long to look, 1 to 60.",
    },
    Parameter {
        name: "frequency",
        kind: "integer",
        help: "Samples a second, 1 to 1000.",
    },
];

use Operation as O;

/// Every endpoint.
pub static ENDPOINTS: &[Endpoint] = &[
    Endpoint::get(
        O::ReadSettings,
        "/v1/settings",
        Answer::Settings,
        "The settings in force, and which layer each comes from.",
    ),
    Endpoint::change(
        O::PatchSettings,
        ("PATCH", "/v1/settings"),
        Body::Patch,
        Answer::Change,
        "Changes settings until the proxy stops (JSON merge patch).",
    ),
    Endpoint::change(
        O::DiscardPatches,
        ("DELETE", "/v1/settings"),
        Body::None,
        Answer::Change,
        "Takes all patches back: the file holds again.",
    ),
    Endpoint::get(
        O::ReadSetting,
        "/v1/settings/{*path}",
        Answer::AnyValue,
        "One setting or table: `/v1/settings/timeouts/connect`.",
    ),
    Endpoint::change(
        O::PutSetting,
        ("PUT", "/v1/settings/{*path}"),
        Body::AnyValue,
        Answer::Change,
        "Another value for one setting or table.",
    ),
    Endpoint::change(
        O::SaveSettings,
        ("POST", "/v1/settings/save"),
        Body::None,
        Answer::Save,
        "Writes the lasting settings to the configuration file.",
    ),
    Endpoint::change(
        O::ReloadFile,
        ("POST", "/v1/settings/reload"),
        Body::None,
        Answer::Reload,
        "Reads the configuration file again, as SIGHUP does; with `dry_run` only says what would change.",
    ),
    Endpoint::get(
        O::ListRevisions,
        "/v1/revisions",
        Answer::Revisions,
        "Who changed what, when and why; the last 1000.",
    )
    .query(&LIMIT),
    Endpoint::change(
        O::RollBack,
        ("POST", "/v1/revisions/{number}/rollback"),
        Body::None,
        Answer::Change,
        "Brings the lasting settings back to those of that revision.",
    ),
    Endpoint::get(
        O::ListOverrides,
        "/v1/overrides",
        Answer::Overrides,
        "The overrides that have not ended.",
    ),
    Endpoint::change(
        O::CreateOverride,
        ("POST", "/v1/overrides"),
        Body::OverrideRequest,
        Answer::OverrideCreated,
        "Changes settings for a time.",
    )
    .created(),
    Endpoint::get(
        O::ReadOverride,
        "/v1/overrides/{id}",
        Answer::Override,
        "One override.",
    ),
    Endpoint::change(
        O::DeleteOverride,
        ("DELETE", "/v1/overrides/{id}"),
        Body::None,
        Answer::OverrideDeleted,
        "Ends an override now.",
    ),
    Endpoint::change(
        O::RenewOverride,
        ("POST", "/v1/overrides/{id}/renew"),
        Body::RenewRequest,
        Answer::Override,
        "Lets an override last longer.",
    )
    .query(&[]),
    Endpoint::get(
        O::Upstreams,
        "/v1/upstreams",
        Answer::Json,
        "The state of every server: in flight, idle connections, health, counters.",
    ),
    Endpoint::change(
        O::AddServer,
        ("POST", "/v1/upstreams/{name}/servers"),
        Body::Server,
        Answer::Change,
        "Adds a server.",
    )
    .created(),
    Endpoint::change(
        O::ChangeServer,
        ("PATCH", "/v1/upstreams/{name}/servers/{address}"),
        Body::ServerFields,
        Answer::Change,
        "Changes a server: weight, limits, down.",
    ),
    Endpoint::change(
        O::RemoveServer,
        ("DELETE", "/v1/upstreams/{name}/servers/{address}"),
        Body::None,
        Answer::Change,
        "Removes a server; requests in flight on it finish.",
    ),
    Endpoint::change(
        O::DrainServer,
        ("POST", "/v1/upstreams/{name}/servers/{address}/drain"),
        Body::None,
        Answer::Drain,
        "Takes a server down and waits until nothing is in flight on it.",
    )
    .query(&DRAIN),
    Endpoint::get(
        O::Limits,
        "/v1/limits",
        Answer::Json,
        "The state of every rate limit: decisions, keys held, the fullest buckets.",
    ),
    Endpoint::get(
        O::Stats,
        "/v1/stats",
        Answer::Json,
        "Counters, gauges and the latency histogram of the moment, for live views.",
    ),
    Endpoint::get(
        O::History,
        "/v1/history",
        Answer::History,
        "The last five minutes, second by second: rates, latencies, what is in flight.",
    )
    .query(&SPAN),
    Endpoint::get(
        O::Chart,
        "/v1/charts/{name}",
        Answer::Html,
        "A chart of the last minutes for the dashboard: `rate`, `latency`, `load`, `process`.",
    )
    .query(&SPAN),
    Endpoint::get(
        O::Events,
        "/v1/events",
        Answer::EventStream,
        "What happens, as it happens (server-sent events).",
    ),
    Endpoint::get(
        O::Profile,
        "/v1/profile",
        Answer::Svg,
        "A CPU profile of this process as a flame graph; off unless `admin.profile` allows it.",
    )
    .scope(Scope::Profile)
    .query(&PROFILE),
    Endpoint::get(
        O::SettingsSchema,
        "/v1/schema",
        Answer::Json,
        "JSON Schema of the live settings.",
    ),
    Endpoint::get(
        O::OpenApi,
        "/v1/openapi.json",
        Answer::Json,
        "This API as an OpenAPI 3.1 document.",
    ),
    Endpoint::get(
        O::Healthz,
        "/healthz",
        Answer::Text,
        "200 while the process lives.",
    )
    .scope(Scope::Open),
    Endpoint::get(
        O::Readyz,
        "/readyz",
        Answer::Text,
        "200 while the proxy takes requests; 503 while it starts or drains.",
    )
    .scope(Scope::Open),
    Endpoint::get(
        O::Metrics,
        "/metrics",
        Answer::Text,
        "Metrics in Prometheus' text format.",
    ),
    Endpoint::get(O::Dashboard, "/", Answer::Html, "The dashboard.").scope(Scope::Open),
    Endpoint::get(
        O::DashboardPart,
        "/dashboard/{file}",
        Answer::Text,
        "What the dashboard's page loads.",
    )
    .scope(Scope::Open),
];

/// The endpoints as a Markdown table.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| request | scope | does |\n|---|---|---|\n");
    for endpoint in ENDPOINTS {
        let query: Vec<_> = endpoint.query.iter().map(|p| p.name).collect();
        let query = if query.is_empty() {
            String::new()
        } else {
            format!(" (`{}`)", query.join("`, `"))
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| `{} {}` | {} | {}{query} |",
            endpoint.method,
            endpoint.path.replace('*', ""),
            endpoint.scope.as_str(),
            endpoint.summary
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_operation_and_each_request_is_there_once() {
        let operations: HashSet<_> = ENDPOINTS.iter().map(|e| e.operation).collect();
        let requests: HashSet<_> = ENDPOINTS.iter().map(|e| (e.method, e.path)).collect();
        assert_eq!(operations.len(), ENDPOINTS.len());
        assert_eq!(requests.len(), ENDPOINTS.len());
    }

    #[test]
    fn whatever_changes_something_needs_the_right_to_write() {
        for endpoint in ENDPOINTS {
            assert_eq!(
                endpoint.method != "GET",
                endpoint.scope == Scope::Write,
                "{}",
                endpoint.path
            );
        }
    }
}
