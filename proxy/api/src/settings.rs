//! The live settings: everything that may change while the proxy runs.
//!
//! The same structure is the live part of the TOML file, the body of `GET /v1/settings` and the
//! schema of `PATCH /v1/settings`; units are strings there (`"30s"`, `"1MiB"`, `"10r/s"`). Ranges
//! and nginx's names are in [`schema::LIVE`], where each field has one entry.

mod defaults;
mod key;
mod networks;
mod problem;
mod statuses;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use key::EXPECTED as LIMIT_KEY_ALLOWED;
pub use key::LimitKey;
pub(crate) use networks::parse as parse_network;
pub use problem::{Path, Problem, Problems, Step, Subject};
pub(crate) use statuses::ALLOWED as STATUSES_ALLOWED;
pub use statuses::Statuses;

use crate::{
    schema,
    units::{ByteSize, Rate},
};

/// Every setting that may change without a restart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Connection limits of the whole process.
    pub connections: Connections,
    /// Time limits of client and upstream connections.
    pub timeouts: Timeouts,
    /// What a client may send, and what it is told.
    pub client: ClientLimits,
    /// Response compression.
    pub compression: Compression,
    /// Request rate limit zones, by name.
    pub rate_limit: BTreeMap<String, RateLimit>,
    /// Groups of servers, by name.
    pub upstream: BTreeMap<String, Upstream>,
}

impl Settings {
    /// Reads settings from JSON: absent fields take their defaults, and every problem there is
    /// comes back, each with its field.
    ///
    /// # Errors
    /// Unknown fields, wrong types, values out of range, and fields that exclude each other.
    pub fn from_json(value: &Value) -> Result<Self, Problems> {
        schema::check(&schema::LIVE, value)?;
        Self::deserialize(value).map_err(|error| Problems::internal(&error))
    }

    /// The settings as JSON, every field present.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Serializing into a value fails only for maps with keys that are not text.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// Checks settings that were put together in code, each field and the fields against each other.
    ///
    /// # Errors
    /// As [`Settings::from_json`].
    pub fn validate(&self) -> Result<(), Problems> {
        schema::check(&schema::LIVE, &self.to_json())
    }
}

/// Connection limits of the whole process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connections {
    /// Most connections open at once, client and upstream together (nginx: `worker_connections`).
    pub max: u32,
}

/// Time limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Establishing a connection to an upstream server (nginx: `proxy_connect_timeout`).
    #[serde(with = "crate::units::duration")]
    pub connect: Duration,
    /// Between two reads from an upstream server (nginx: `proxy_read_timeout`).
    #[serde(with = "crate::units::duration")]
    pub read: Duration,
    /// Between two writes to an upstream server (nginx: `proxy_send_timeout`).
    #[serde(with = "crate::units::duration")]
    pub send: Duration,
    /// The whole request header (nginx: `client_header_timeout`).
    #[serde(with = "crate::units::duration")]
    pub client_header: Duration,
    /// Between two reads of the request body (nginx: `client_body_timeout`).
    #[serde(with = "crate::units::duration")]
    pub client_body: Duration,
    /// An idle client connection (nginx: `keepalive_timeout`).
    #[serde(with = "crate::units::duration")]
    pub keepalive: Duration,
    /// How long a shutdown waits for requests in flight (nginx: `worker_shutdown_timeout`).
    #[serde(with = "crate::units::duration")]
    pub drain: Duration,
}

/// What a client may send, and what it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientLimits {
    /// Largest request body; a larger one is answered with 413 (nginx: `client_max_body_size`).
    pub max_body: ByteSize,
    /// Largest request header; a larger one is answered with 431.
    pub max_header: ByteSize,
    /// Most requests at once on an HTTP/2 connection (nginx: `http2_max_concurrent_streams`).
    pub max_streams: u32,
    /// Proxies whose `X-Forwarded-For` is believed, as CIDR ranges (nginx: `set_real_ip_from`).
    #[serde(with = "networks")]
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether answers say in a `Server-Timing` header how long each stage took.
    pub server_timing: bool,
}

/// Response compression (nginx: `gzip`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Whether to compress at all (nginx: `gzip`).
    pub enabled: bool,
    /// 1 (fastest) to 9 (smallest) (nginx: `gzip_comp_level`).
    pub level: u32,
    /// Bodies known to be smaller are left alone (nginx: `gzip_min_length`).
    pub min_length: ByteSize,
    /// Media types to compress, `text/*` for a whole family (nginx: `gzip_types`).
    pub types: Vec<String>,
}

/// One request rate limit (nginx: `limit_req_zone` and `limit_req`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Off means every request passes.
    #[serde(default = "defaults::yes")]
    pub enabled: bool,
    /// Decide and count, but let every request pass (nginx: `limit_req_dry_run`).
    #[serde(default)]
    pub dry_run: bool,
    /// What is counted. Several parts combine (text: `"client_ip+route"`).
    #[serde(with = "key::parts", default = "defaults::limit_key")]
    pub key: Vec<LimitKey>,
    /// Sustained rate of a key.
    pub rate: Rate,
    /// Requests above the rate that are let in (nginx: `burst`).
    #[serde(default)]
    pub burst: u32,
    /// Excess requests within the burst are not delayed (nginx: `nodelay`).
    #[serde(default)]
    pub nodelay: bool,
    /// Excess requests up to this many are not delayed (nginx: `delay=N`); excludes `nodelay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<u32>,
    /// Status of a rejection (nginx: `limit_req_status`, there 503 by default).
    #[serde(default = "defaults::limit_status")]
    pub status: u16,
    /// Most keys held at once; the least recently used goes first.
    #[serde(default = "defaults::max_keys")]
    pub max_keys: u32,
}

impl RateLimit {
    /// A limit of this rate by client address, everything else at its default.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            enabled: defaults::yes(),
            dry_run: false,
            key: defaults::limit_key(),
            rate,
            burst: 0,
            nodelay: false,
            delay: None,
            status: defaults::limit_status(),
            max_keys: defaults::max_keys(),
        }
    }
}

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Fewest requests in flight relative to weight (nginx: `least_conn`).
    #[default]
    LeastConn,
    /// In turn, by weight (nginx: the default).
    RoundRobin,
}

/// The version of HTTP that servers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// HTTP/1.1, a connection for each request under way.
    #[default]
    Http1,
    /// HTTP/2, connections shared by many requests (nginx: `grpc_pass`; Envoy: `http2_protocol_options`).
    Http2,
}

/// A group of servers (nginx: `upstream`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// How a server is chosen.
    #[serde(default)]
    pub balance: Balance,
    /// The version of HTTP that the servers speak.
    #[serde(default)]
    pub protocol: UpstreamProtocol,
    /// Idle connections kept to this upstream (nginx: `keepalive`).
    #[serde(default = "defaults::upstream_keepalive")]
    pub keepalive: u32,
    /// How long a connection may stay idle (nginx: `keepalive_timeout` in `upstream`).
    #[serde(
        with = "crate::units::duration",
        default = "defaults::keepalive_timeout"
    )]
    pub keepalive_timeout: Duration,
    /// Trying another server after a failure.
    #[serde(default)]
    pub retry: Retry,
    /// Asking every server at intervals whether it is well (nginx Plus: `health_check`).
    #[serde(default)]
    pub health_check: HealthCheck,
    /// The servers; never empty.
    pub servers: Vec<Server>,
}

impl Upstream {
    /// These servers, everything else at its default.
    #[must_use]
    pub fn new(servers: Vec<Server>) -> Self {
        Self {
            balance: Balance::default(),
            protocol: UpstreamProtocol::default(),
            keepalive: defaults::upstream_keepalive(),
            keepalive_timeout: defaults::keepalive_timeout(),
            retry: Retry::default(),
            health_check: HealthCheck::default(),
            servers,
        }
    }
}

/// Trying another server after a failure (nginx: `proxy_next_upstream`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Most servers tried for one request, the first included (nginx: `proxy_next_upstream_tries`). 1 means no retry.
    pub tries: u32,
    /// No new try after this much time; zero: no limit (nginx: `proxy_next_upstream_timeout`).
    #[serde(with = "crate::units::duration")]
    pub timeout: Duration,
}

/// Asking every server of an upstream at intervals whether it is well (nginx Plus: `health_check`; HAProxy:
/// `option httpchk`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// What is asked for with `GET`; none: no checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// From the start of one check to the start of the next (HAProxy: `inter`).
    #[serde(with = "crate::units::duration")]
    pub interval: Duration,
    /// Most time for a check (HAProxy: `timeout check`).
    #[serde(with = "crate::units::duration")]
    pub timeout: Duration,
    /// Checks passed in a row that bring a server back.
    pub rise: u32,
    /// Checks failed in a row that take a server out.
    pub fall: u32,
    /// Statuses that pass (HAProxy: `http-check expect status`).
    pub status: Statuses,
    /// `Host` of the check; none: the server's address as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port that is asked; none: the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `host:port`; a name that resolves to several addresses is several servers.
    pub address: String,
    /// Share of the load relative to the others, 1 to 65535.
    #[serde(default = "defaults::one")]
    pub weight: u32,
    /// Failures within `fail_timeout` that take the server out; 0: never.
    #[serde(default = "defaults::one")]
    pub max_fails: u32,
    /// Both the window of counting failures and the time a failed server rests.
    #[serde(with = "crate::units::duration", default = "defaults::fail_timeout")]
    pub fail_timeout: Duration,
    /// Most requests in flight; 0: no limit.
    #[serde(default)]
    pub max_conns: u32,
    /// Used only when no other server is available.
    #[serde(default)]
    pub backup: bool,
    /// Taken out of rotation.
    #[serde(default)]
    pub down: bool,
}

impl Server {
    /// A server at this address, everything else at its default.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            weight: defaults::one(),
            max_fails: defaults::one(),
            fail_timeout: defaults::fail_timeout(),
            max_conns: 0,
            backup: false,
            down: false,
        }
    }
}
