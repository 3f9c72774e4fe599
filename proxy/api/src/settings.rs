//! The live settings: everything that may change while the proxy runs.
//!
//! The same structure is the live part of the TOML file, the body of `GET /v1/settings` and the
//! schema of `PATCH /v1/settings`; units are strings there (`"30s"`, `"1MiB"`, `"10r/s"`).

use std::{collections::BTreeMap, time::Duration};

use crate::units::{ByteSize, Rate};

/// Every setting that may change without a restart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// Connection limits of the whole process.
    pub connections: Connections,
    /// Time limits of client and upstream connections.
    pub timeouts: Timeouts,
    /// Limits on what a client may send.
    pub client: ClientLimits,
    /// Response compression.
    pub compression: Compression,
    /// Request rate limit zones, by name.
    pub rate_limit: BTreeMap<String, RateLimit>,
    /// Groups of servers, by name.
    pub upstream: BTreeMap<String, Upstream>,
}

/// Connection limits of the whole process.
#[derive(Debug, Clone, PartialEq)]
pub struct Connections {
    /// Most connections open at once, client and upstream together (nginx: `worker_connections`).
    pub max: u32,
}

/// Time limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    /// Establishing a connection to an upstream server (nginx: `proxy_connect_timeout`).
    pub connect: Duration,
    /// Between two reads from an upstream server (nginx: `proxy_read_timeout`).
    pub read: Duration,
    /// Between two writes to an upstream server (nginx: `proxy_send_timeout`).
    pub send: Duration,
    /// The whole request header (nginx: `client_header_timeout`).
    pub client_header: Duration,
    /// Between two reads of the request body (nginx: `client_body_timeout`).
    pub client_body: Duration,
    /// An idle client connection (nginx: `keepalive_timeout`).
    pub keepalive: Duration,
    /// How long a shutdown waits for requests in flight (nginx: `worker_shutdown_timeout`).
    pub drain: Duration,
}

/// Limits on what a client may send.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientLimits {
    /// Largest request body; a larger one is answered with 413 (nginx: `client_max_body_size`).
    pub max_body: ByteSize,
    /// Largest request header; a larger one is answered with 431.
    pub max_header: ByteSize,
    /// Proxies whose `X-Forwarded-For` is believed, as CIDR ranges (nginx: `set_real_ip_from`).
    pub trusted_proxies: Vec<ipnet::IpNet>,
}

/// Response compression (nginx: `gzip`).
#[derive(Debug, Clone, PartialEq)]
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

/// What a rate limit counts by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// The client's address (nginx: `$binary_remote_addr`). In text: `client_ip`.
    ClientIp,
    /// A request header's value. In text: `header:NAME`. A request without it is not limited, as with an empty key in nginx.
    Header(String),
    /// The matched route. In text: `route`.
    Route,
    /// One bucket for everything. In text: `global`.
    Global,
}

/// One request rate limit (nginx: `limit_req_zone` and `limit_req`).
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    /// Off means every request passes.
    pub enabled: bool,
    /// Decide and count, but let every request pass (nginx: `limit_req_dry_run`).
    pub dry_run: bool,
    /// What is counted. Several parts combine (text: `"client_ip+route"`).
    pub key: Vec<LimitKey>,
    /// Sustained rate of a key.
    pub rate: Rate,
    /// Requests above the rate that are let in (nginx: `burst`).
    pub burst: u32,
    /// Excess requests within the burst are not delayed (nginx: `nodelay`).
    pub nodelay: bool,
    /// Excess requests up to this many are not delayed (nginx: `delay=N`); excludes `nodelay`.
    pub delay: Option<u32>,
    /// Status of a rejection (nginx: `limit_req_status`, there 503 by default).
    pub status: u16,
    /// Most keys held at once; the least recently used goes first.
    pub max_keys: u32,
}

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Fewest requests in flight relative to weight (nginx: `least_conn`).
    LeastConn,
    /// In turn, by weight (nginx: the default).
    RoundRobin,
}

/// A group of servers (nginx: `upstream`).
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// How a server is chosen.
    pub balance: Balance,
    /// Idle connections kept to this upstream (nginx: `keepalive`).
    pub keepalive: u32,
    /// How long a connection may stay idle (nginx: `keepalive_timeout` in `upstream`).
    pub keepalive_timeout: Duration,
    /// Trying another server after a failure.
    pub retry: Retry,
    /// The servers; never empty.
    pub servers: Vec<Server>,
}

/// Trying another server after a failure (nginx: `proxy_next_upstream`).
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Most servers tried for one request, the first included (nginx: `proxy_next_upstream_tries`). 1 means no retry.
    pub tries: u32,
    /// No new try after this much time (nginx: `proxy_next_upstream_timeout`).
    pub timeout: Duration,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// `host:port`; a name that resolves to several addresses is several servers.
    pub address: String,
    /// Share of the load relative to the others, 1 to 65535.
    pub weight: u32,
    /// Failures within `fail_timeout` that take the server out; 0: never.
    pub max_fails: u32,
    /// Both the window of counting failures and the time a failed server rests.
    pub fail_timeout: Duration,
    /// Most requests in flight; 0: no limit.
    pub max_conns: u32,
    /// Used only when no other server is available.
    pub backup: bool,
    /// Taken out of rotation.
    pub down: bool,
}
