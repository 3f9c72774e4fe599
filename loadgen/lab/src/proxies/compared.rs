//! The configuration that each contender gets: the same job, in three languages.
//!
//! All of them: one thread, `least_conn` over two servers, kept-alive connections on both sides
//! without a limit on requests, `X-Real-IP`, `X-Forwarded-For`, `X-Forwarded-Proto` and
//! `X-Request-ID` towards the servers, no compression; and, unless switched off, a rate limit by
//! client address that is counted but never reached, one line of access log a request to a file,
//! and a metrics endpoint.

use std::{fmt::Write as _, net::SocketAddr, os::unix::fs::MetadataExt, path::Path};

/// Idle connections kept to the servers; more than are ever in flight.
const UPSTREAM_KEEPALIVE: u32 = 1024;
/// A rate that no test here reaches.
const NEVER_REACHED: u32 = 1_000_000;

/// What a proxy does besides passing requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Features {
    /// One line a request, to a file.
    pub access_log: bool,
    /// A limit by client address that is never reached.
    pub rate_limit: bool,
    /// Most connections that the proxy may hold, client and upstream together.
    pub max_connections: u64,
}

/// nginx: one worker, buffered access log (64 KiB, at most 1 s old), `stub_status`.
pub fn nginx(
    dir: &Path,
    listen: SocketAddr,
    metrics: SocketAddr,
    servers: &[SocketAddr],
    features: Features,
) -> String {
    let dir = dir.display();
    let servers = servers.iter().fold(String::new(), |mut text, server| {
        let _ = writeln!(
            text,
            "        server {server} max_fails=3 fail_timeout=30s;"
        );
        text
    });
    let log = if features.access_log {
        format!("access_log {dir}/access.log json buffer=64k flush=1s;")
    } else {
        "access_log off;".to_owned()
    };
    let limit = if features.rate_limit {
        "limit_req zone=api_limit burst=1000000 nodelay; limit_req_status 429;"
    } else {
        ""
    };
    // As root the worker must be able to write below a private directory.
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let user = if root { "user root;" } else { "" };
    format!(
        r#"{user}
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections {max}; }}
http {{
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    log_format json escape=json '{{"time":"$time_iso8601","id":"$request_id","client":"$remote_addr","method":"$request_method",'
        '"host":"$host","target":"$request_uri","protocol":"$server_protocol","status":$status,"bytes":$body_bytes_sent,'
        '"duration":$request_time,"route":"/","server":"$upstream_addr","connect":$upstream_connect_time,'
        '"first_byte":$upstream_header_time,"user_agent":"$http_user_agent"}}';
    {log}
    keepalive_timeout 600s;
    client_header_timeout 600s;
    keepalive_requests 1000000000;
    gzip off;
    limit_req_zone $binary_remote_addr zone=api_limit:10m rate={NEVER_REACHED}r/s;
    upstream api {{
        least_conn;
{servers}        keepalive {UPSTREAM_KEEPALIVE};
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            {limit}
            proxy_pass http://api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-ID $request_id;
        }}
    }}
    server {{
        listen {metrics};
        access_log off;
        location = /metrics {{ stub_status; }}
    }}
}}
"#,
        max = features.max_connections,
    )
}

/// HAProxy: one thread, stick table with `http_req_rate`, Prometheus exporter. It writes its log to
/// standard output, which is a file here, line by line: HAProxy does not buffer it.
pub fn haproxy(
    listen: SocketAddr,
    metrics: SocketAddr,
    servers: &[SocketAddr],
    features: Features,
) -> String {
    let servers = servers
        .iter()
        .enumerate()
        .fold(String::new(), |mut text, (number, server)| {
            let _ = writeln!(
                text,
                "    server s{number} {server} pool-max-conn {UPSTREAM_KEEPALIVE}"
            );
            text
        });
    let log = if features.access_log {
        r#"    log stdout format raw local0 info
    http-request capture req.hdr(host) len 64
    http-request capture req.hdr(user-agent) len 64
    log-format '{"time":"%Ts.%ms","id":"%ID","client":"%ci","method":"%HM","host":"%[capture.req.hdr(0)]","target":"%HU","protocol":"%HV","status":%ST,"bytes":%B,"duration":%Ta,"route":"/","server":"%si:%sp","connect":%Tc,"first_byte":%Tr,"user_agent":"%[capture.req.hdr(1)]"}'"#
    } else {
        "    no log"
    };
    let limit = if features.rate_limit {
        format!(
            "    stick-table type ip size 160k expire 60s store http_req_rate(1s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {NEVER_REACHED} }}"
        )
    } else {
        String::new()
    };
    format!(
        r#"global
    nbthread 1
    maxconn {max}
defaults
    mode http
    timeout connect 30s
    timeout client 600s
    timeout server 60s
    timeout http-request 600s
    timeout http-keep-alive 600s
    retries 1
    option redispatch
    http-reuse always
frontend web
    bind {listen} backlog 4096
{log}
{limit}
    unique-id-format %[uuid()]
    unique-id-header X-Request-ID
    option forwardfor
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-Proto http
    default_backend api
backend api
    balance leastconn
{servers}frontend metrics
    bind {metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
"#,
        // HAProxy counts client connections and sets two descriptors aside for each.
        max = features.max_connections / 2,
    )
}

/// `weir`: one thread; its metrics are always on, on the admin listener.
pub fn weir(dir: &Path, servers: &[SocketAddr], features: Features) -> String {
    let servers = servers
        .iter()
        .map(|server| {
            format!("{{ address = \"{server}\", max_fails = 3, fail_timeout = \"30s\" }}")
        })
        .collect::<Vec<_>>()
        .join(", ");
    let limits = if features.rate_limit { "\"bench\"" } else { "" };
    let log = if features.access_log {
        format!(
            "[access_log]\nenabled = true\nformat = \"json\"\npath = \"{}\"\n",
            dir.join("access.log").display()
        )
    } else {
        "[access_log]\nenabled = false\n".to_owned()
    };
    format!(
        r#"[server]
threads = 1

[admin]
listen = "127.0.0.1:0"

[[listener]]
address = "127.0.0.1:0"

{log}
[connections]
max = {max}

[timeouts]
keepalive = "600s"
client_header = "600s"

[compression]
enabled = false

[rate_limit.bench]
key = "client_ip"
rate = "{NEVER_REACHED}r/s"
burst = 1000000
nodelay = true

[upstream.api]
balance = "least_conn"
keepalive = {UPSTREAM_KEEPALIVE}
servers = [ {servers} ]

[[route]]
path = "/"
upstream = "api"
rate_limit = [{limits}]
"#,
        max = features.max_connections,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addresses() -> [SocketAddr; 2] {
        [([127, 0, 0, 1], 9001).into(), ([127, 0, 0, 1], 9002).into()]
    }

    fn features(on: bool) -> Features {
        Features {
            access_log: on,
            rate_limit: on,
            max_connections: 8000,
        }
    }

    #[test]
    fn weir_accepts_its_configuration() {
        for on in [true, false] {
            let text = weir(Path::new("/tmp"), &addresses(), features(on));
            let config = weir_api::config::parse(&text, "weir.toml").unwrap();
            assert_eq!(config.server.threads, 1);
            assert_eq!(config.access_log.enabled, on);
            assert_eq!(config.routes[0].rate_limit.len(), usize::from(on));
            assert_eq!(config.settings().upstream["api"].servers.len(), 2);
        }
    }

    #[test]
    fn leaving_features_out_leaves_them_out_of_every_file() {
        let [listen, metrics] = addresses();
        let nginx = |on| {
            nginx(
                Path::new("/tmp"),
                listen,
                metrics,
                &addresses(),
                features(on),
            )
        };
        let haproxy = |on| haproxy(listen, metrics, &addresses(), features(on));
        assert!(nginx(true).contains("limit_req zone=") && nginx(true).contains("access.log json"));
        assert!(
            !nginx(false).contains("limit_req zone=") && nginx(false).contains("access_log off;")
        );
        assert!(haproxy(true).contains("stick-table") && haproxy(true).contains("log stdout"));
        assert!(!haproxy(false).contains("stick-table") && !haproxy(false).contains("log stdout"));
    }
}
