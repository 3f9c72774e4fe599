//! The configuration of a rig's proxy: the documented settings, one thread, no access log.

use std::{
    fmt::Write as _, net::SocketAddr, os::unix::fs::MetadataExt as _, path::Path, time::Duration,
};

use serde::Serialize;
use serde_json::Value;

/// The upstream, named as in the documented configuration.
pub const UPSTREAM: &str = "api";
/// The rate limit, named as in the documented configuration.
pub const LIMIT: &str = "api_limit";

/// What a workload needs of its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RigSpec {
    /// The documented rate limit is on.
    pub limited: bool,
    /// Compression is on.
    pub compressed: bool,
    /// Number of replicas; at least 1.
    pub replicas: usize,
    /// Slots and service time of each replica; none: it answers at once.
    pub capacity: Option<Capacity>,
    /// Idle upstream connections kept; none: the documented 32.
    pub keepalive: Option<u32>,
}

/// Declared capacity of a stand-in replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Requests that it serves at once.
    pub slots: u32,
    /// Time that each holds its slot.
    #[serde(serialize_with = "weir_load::units::as_text::duration")]
    pub service_time: Duration,
}

impl Capacity {
    /// Requests per second of one replica at most.
    #[must_use]
    pub fn rps(&self) -> f64 {
        f64::from(self.slots) / self.service_time.as_secs_f64()
    }
}

/// `weir`.
pub fn weir(spec: RigSpec, replicas: &[SocketAddr], folder: &Path) -> String {
    let servers: Vec<_> = replicas
        .iter()
        .map(|server| {
            format!("{{ address = \"{server}\", max_fails = 3, fail_timeout = \"30s\" }}")
        })
        .collect();
    format!(
        r#"[server]
threads = 1
upgrade_socket = "{socket}"
[admin]
listen = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
[access_log]
enabled = false
[connections]
max = 1024
[timeouts]
connect = "30s"
[compression]
enabled = {compressed}
level = 6
min_length = "256B"
types = ["application/json", "text/*"]
[rate_limit.{LIMIT}]
key = "client_ip"
rate = "10r/s"
burst = 20
nodelay = true
status = 429
enabled = {limited}
[upstream.{UPSTREAM}]
balance = "least_conn"
keepalive = {keepalive}
retry = {{ tries = 2, timeout = "0s" }}
servers = [ {servers} ]
[[route]]
path = "/"
upstream = "{UPSTREAM}"
rate_limit = ["{LIMIT}"]
"#,
        socket = folder.join("upgrade.sock").display(),
        compressed = spec.compressed,
        limited = spec.limited,
        servers = servers.join(", "),
        keepalive = spec.keepalive.unwrap_or(32),
    )
}

/// HAProxy with least connections over the replicas.
pub fn haproxy(listen: SocketAddr, replicas: &[SocketAddr]) -> String {
    let servers = replicas
        .iter()
        .enumerate()
        .fold(String::new(), |mut text, (number, server)| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    server s{number} {server} pool-max-conn 1024");
            text
        });
    format!(
        "global\n    nbthread 1\n    maxconn 8000\n\
         defaults\n    mode http\n    timeout connect 30s\n    timeout client 75s\n    timeout server 60s\n    \
         retries 1\n    option redispatch\n    retry-on conn-failure empty-response response-timeout\n        http-reuse always\n\
         frontend web\n    bind {listen} backlog 4096\n    default_backend api\n\
         backend api\n    balance leastconn\n{servers}"
    )
}

/// nginx with the settings of `settings` (in the shape of weir's), one worker, and a page that says
/// which configuration a worker has.
pub fn nginx(settings: &Value, listen: SocketAddr, generation: u64, folder: &Path) -> String {
    let at = |pointer: &str| settings.pointer(pointer);
    let number = |pointer: &str, other: u64| at(pointer).and_then(Value::as_u64).unwrap_or(other);
    let text = |pointer: &str, other: &str| {
        at(pointer)
            .and_then(Value::as_str)
            .unwrap_or(other)
            .to_owned()
    };
    let is_on = |pointer: &str| at(pointer).and_then(Value::as_bool).unwrap_or(false);
    let mut servers = String::new();
    for server in at("/upstream/api/servers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let address = server
            .get("address")
            .and_then(Value::as_str)
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(servers, "server {address} max_fails=3 fail_timeout=30s;");
    }
    let balance = if text("/upstream/api/balance", "least_conn") == "least_conn" {
        "least_conn;"
    } else {
        ""
    };
    let limit = if is_on("/rate_limit/api_limit/enabled") {
        let nodelay = if is_on("/rate_limit/api_limit/nodelay") {
            " nodelay"
        } else {
            ""
        };
        let burst = number("/rate_limit/api_limit/burst", 20);
        format!("limit_req zone={LIMIT} burst={burst}{nodelay}; limit_req_status 429;")
    } else {
        String::new()
    };
    let gzip = if is_on("/compression/enabled") {
        format!(
            "gzip on; gzip_comp_level {}; gzip_min_length 256; gzip_types application/json text/plain; gzip_proxied any;",
            number("/compression/level", 6)
        )
    } else {
        "gzip off;".to_owned()
    };
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    format!(
        r#"{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    {gzip}
    limit_req_zone $binary_remote_addr zone={LIMIT}:10m rate={rate};
    upstream {UPSTREAM} {{
        {balance}
        {servers}
        {keepalive}
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location = /__generation {{ return 200 "{generation}"; }}
        location / {{
            {limit}
            proxy_pass http://{UPSTREAM};
            proxy_http_version 1.1;
            proxy_connect_timeout {connect};
            proxy_next_upstream_tries 2;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"#,
        user = if root { "user root;" } else { "" },
        dir = folder.display(),
        files = number("/connections/max", 1024).max(1024) * 2 + 256,
        connections = number("/connections/max", 1024),
        rate = text("/rate_limit/api_limit/rate", "10r/s"),
        keepalive = match number("/upstream/api/keepalive", 32) {
            0 => String::new(),
            idle => format!("keepalive {idle};"),
        },
        connect = text("/timeouts/connect", "30s"),
    )
}

/// The settings that nginx's configuration above knows.
pub const KNOWN_TO_NGINX: [&str; 8] = [
    "/connections/max",
    "/upstream/api/keepalive",
    "/upstream/api/balance",
    "/upstream/api/servers",
    "/rate_limit/api_limit/rate",
    "/rate_limit/api_limit/burst",
    "/timeouts/connect",
    "/compression/level",
];
