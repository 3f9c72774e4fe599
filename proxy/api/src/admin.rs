//! Bodies of the admin API, as the proxy writes them and tools read them.
//!
//! The endpoints are described in `docs/reference/admin-api.md`.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::settings::{Problem, Problems, Settings};

/// Header of every response: the number of the settings that were in force when it was written.
pub const REVISION_HEADER: &str = "x-weir-revision";

/// Answer of `GET /v1/settings`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct SettingsView {
    /// Number of the settings in force.
    pub revision: u64,
    /// Every live setting as it is in force.
    pub effective: Value,
    /// For each field that is not from the file: `patch`, or `override:ID`.
    pub sources: BTreeMap<String, String>,
}

impl SettingsView {
    /// The settings as a structure.
    ///
    /// # Errors
    /// When the proxy is of another version and has fields that this one does not know.
    pub fn settings(&self) -> Result<Settings, Problems> {
        Settings::from_json(&self.effective)
    }
}

/// One field that has another value than before.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Change {
    /// The field: `timeouts.connect`.
    pub path: String,
    /// The effective value before; null: there was none.
    pub old: Value,
    /// The effective value now; null: there is none.
    pub new: Value,
}

/// A field of an override that a later change has taken from it.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Superseded {
    /// The override's id.
    #[serde(rename = "override")]
    pub id: String,
    /// The override's owner.
    pub owner: String,
    /// The field.
    pub path: String,
}

/// Answer of `PATCH`, `PUT` and `DELETE` of settings, of a rollback, and of changes to servers.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct ChangeView {
    /// Number of the settings now in force; with `dry_run` unchanged.
    pub revision: u64,
    /// Whether nothing was published.
    pub dry_run: bool,
    /// What is different from before.
    pub diff: Vec<Change>,
    /// Fields of temporary overrides that this change has taken over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<Superseded>,
}

/// Body of `POST /v1/overrides`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// The settings to change, as in `PATCH /v1/settings`.
    pub settings: Value,
    /// How long, from `"1s"` to `"24h"`.
    #[serde(with = "crate::units::duration")]
    #[schemars(with = "String")]
    pub ttl: Duration,
    /// Who wants it.
    pub owner: String,
    /// What for.
    #[serde(default)]
    pub reason: String,
}

/// Answer of `POST /v1/overrides` (201).
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct OverrideCreated {
    /// Its id, for renewing and deleting; empty with `dry_run`.
    pub id: String,
    /// When it ends unless it is renewed (RFC 3339, UTC).
    pub expires_at: String,
    /// Number of the settings now in force.
    pub revision: u64,
    /// Whether nothing was published.
    #[serde(default)]
    pub dry_run: bool,
    /// What is different from before.
    pub diff: Vec<Change>,
}

/// Body of `POST /v1/overrides/{id}/renew`; it may be left out.
#[derive(Debug, Clone, PartialEq, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// How long from now, as text; none: as long as it was created for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

/// A temporary override: one of `GET /v1/overrides`, and the answer of renewing it.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct OverrideView {
    /// Its id.
    pub id: String,
    /// Who wanted it.
    pub owner: String,
    /// What for.
    pub reason: String,
    /// When it was created (RFC 3339, UTC).
    pub created_at: String,
    /// When it ends unless it is renewed (RFC 3339, UTC).
    pub expires_at: String,
    /// How long until then.
    #[serde(with = "crate::units::duration")]
    #[schemars(with = "String")]
    pub remaining: Duration,
    /// The fields that it holds, by path.
    pub settings: BTreeMap<String, Value>,
    /// Fields that it held until a later change took them over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<String>,
    /// Number of the settings in force.
    pub revision: u64,
}

/// Answer of `GET /v1/overrides`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct OverrideList {
    /// Number of the settings in force.
    pub revision: u64,
    /// The overrides that have not ended, oldest first.
    pub overrides: Vec<OverrideView>,
}

/// Answer of `DELETE /v1/overrides/{id}`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct OverrideDeleted {
    /// Its id.
    pub id: String,
    /// Number of the settings now in force.
    pub revision: u64,
    /// What is different from before.
    pub diff: Vec<Change>,
}

/// Answer of `POST /v1/settings/save`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct SaveView {
    /// Number of the settings in force.
    pub revision: u64,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The configuration file.
    pub file: String,
    /// What is different in the file from before, as settings.
    pub diff: Vec<Change>,
    /// What is different in the file's text (unified diff); empty when it said all of it already.
    pub text_diff: String,
}

/// Answer of `POST /v1/settings/reload`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct ReloadView {
    /// Number of the settings in force.
    pub revision: u64,
    /// Whether nothing was published.
    pub dry_run: bool,
    /// What is different from before.
    pub diff: Vec<Change>,
    /// Whether the routes are different from before.
    pub routes_changed: bool,
    /// Parts of the file that have changed and need a restart: `server`, `listener` and so on.
    pub needs_restart: Vec<String>,
    /// Fields that have changed in the file while a patch or an override is in force.
    pub shadowed: Vec<String>,
}

/// Answer of `POST /v1/upstreams/{name}/servers/{address}/drain`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct DrainView {
    /// Number of the settings in force.
    pub revision: u64,
    /// Whether nothing was published.
    pub dry_run: bool,
    /// What is different from before; empty when the server was down already.
    pub diff: Vec<Change>,
    /// Requests still in flight on the server.
    pub in_flight: u64,
    /// Whether there is none.
    pub drained: bool,
}

/// One publication of settings.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct RevisionView {
    /// Its number, from 1.
    pub revision: u64,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// Who changed it.
    pub who: String,
    /// Why.
    pub why: String,
    /// What became different.
    pub diff: Vec<Change>,
}

/// Answer of `GET /v1/revisions`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct RevisionList {
    /// Number of the settings in force.
    pub revision: u64,
    /// The newest first; only the last 1000 are kept.
    pub revisions: Vec<RevisionView>,
}

/// One second of the proxy's life.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Moment {
    /// Its end (RFC 3339, UTC).
    pub at: String,
    /// Requests answered, all of them.
    pub requests_per_s: f64,
    /// Answered with 1xx to 3xx.
    pub ok_per_s: f64,
    /// Answered with 429.
    pub limited_per_s: f64,
    /// Answered with another 4xx.
    pub client_errors_per_s: f64,
    /// Answered with 5xx.
    pub server_errors_per_s: f64,
    /// Median latency, milliseconds, interpolated within the histogram's buckets; none without requests.
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// Requests in flight at its end.
    pub in_flight: f64,
    /// Client connections open at its end.
    pub client_connections: f64,
    /// Upstream connections open at its end.
    pub upstream_connections: f64,
    /// Processor time, percent of one core.
    pub cpu_percent: f64,
    /// Resident memory, bytes.
    pub memory_bytes: f64,
}

/// Answer of `GET /v1/history`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct HistoryView {
    /// Number of the settings in force.
    pub revision: u64,
    /// The last seconds, oldest first.
    pub moments: Vec<Moment>,
}

/// Body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// One word for programs: `invalid_settings`, `not_found`, `stale_revision` and so on.
    pub code: String,
    /// One message for people.
    pub message: String,
    /// The first field that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Each thing that is wrong with the settings sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}
