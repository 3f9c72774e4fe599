//! What a configuration asks for, in a few lines.

use std::fmt;

use super::{ClientAuth, Config, Listener, Route, Transport};
use weir_api::{
    settings::{Balance, HealthCheck, LimitKey, RateLimit, Server, Upstream, UpstreamProtocol},
    units::format_duration,
};

/// What a good configuration asks for; its text is the output of `weir check`, whole lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    lines: Vec<String>,
}

impl Summary {
    /// Sums up a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let settings = config.settings();
        let mut lines = Vec::new();
        for listener in &config.listeners {
            lines.push(front(listener));
        }
        lines.push(format!("admin      {}", config.admin.listen));
        lines.extend(config.routes.iter().map(route));
        for (name, it) in &settings.upstream {
            lines.push(upstream(name, it));
            lines.extend(config.transports.get(name).and_then(transport));
            lines.extend(checks(&it.health_check));
            lines.extend(it.servers.iter().map(server));
        }
        for (name, limit) in &settings.rate_limit {
            lines.push(rate_limit(name, limit));
        }
        lines.push(format!(
            "limits     {} connections",
            settings.connections.max
        ));
        Self { lines }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn front(listener: &Listener) -> String {
    let mut line = format!("listener   {}", listener.address);
    if listener.proxy_protocol {
        line += ", PROXY protocol from trusted proxies";
    }
    if let Some(tls) = &listener.tls {
        let files = tls
            .certificates
            .iter()
            .map(|it| it.cert.display().to_string());
        let files = files.collect::<Vec<_>>().join(", ");
        line += &format!(", TLS {} and later with {files}", tls.min_version.as_str());
        if tls.client_auth != ClientAuth::Off {
            line += &format!(", client certificates {}", tls.client_auth.as_str());
        }
    }
    line
}

fn transport(transport: &Transport) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(version) = transport.proxy_protocol {
        parts.push(format!("PROXY protocol {}", version.as_str()));
    }
    if let Some(tls) = &transport.tls {
        parts.push(match (&tls.ca, tls.verify) {
            (_, false) => "TLS, UNVERIFIED (verify = false): whoever is in between can read and change everything".to_owned(),
            (Some(ca), true) => format!("TLS, verified with {}", ca.display()),
            (None, true) => "TLS, verified with the system's authorities".to_owned(),
        });
        if let Some(name) = &tls.server_name {
            parts.push(format!("as {name}"));
        }
        if let Some(cert) = &tls.cert {
            parts.push(format!("own certificate {}", cert.display()));
        }
    }
    (!parts.is_empty()).then(|| format!("  connects {}", parts.join(", ")))
}

fn route(route: &Route) -> String {
    let host = route.host.as_deref().unwrap_or("any host");
    let limits = match route.rate_limit.as_slice() {
        [] => String::new(),
        names => format!(", limited by {}", names.join(", ")),
    };
    let methods = match route.methods.as_slice() {
        [] => String::new(),
        methods => format!(" {}", methods.join(", ")),
    };
    let fields = route.headers.iter();
    let fields: String = fields
        .map(|(name, value)| format!(" {name}: {value}"))
        .collect();
    format!(
        "route      {host} {}{methods}{fields} -> {}{limits}",
        route.path, route.upstream
    )
}

fn upstream(name: &str, it: &Upstream) -> String {
    let balance = match it.balance {
        Balance::LeastConn => "least_conn",
        Balance::RoundRobin => "round_robin",
    };
    let protocol = match it.protocol {
        UpstreamProtocol::Http1 => "",
        UpstreamProtocol::Http2 => ", HTTP/2",
    };
    let idle = format_duration(it.keepalive_timeout);
    format!(
        "upstream   {name}: {balance}{protocol}, keeps {} idle connections for {idle}, {} tries",
        it.keepalive, it.retry.tries
    )
}

fn checks(check: &HealthCheck) -> Option<String> {
    let Some(path) = &check.path else {
        let said = "  checks   none: health_check has no path".to_owned();
        return (*check != HealthCheck::default()).then_some(said);
    };
    let host = check
        .host
        .as_ref()
        .map_or_else(String::new, |host| format!(", host {host}"));
    let port = check
        .port
        .map_or_else(String::new, |port| format!(", port {port}"));
    Some(format!(
        "  checks   GET {path}{host}{port} every {}, {} within {}; out after {} failed, back after {} passed",
        format_duration(check.interval),
        check.status,
        format_duration(check.timeout),
        check.fall,
        check.rise
    ))
}

fn server(server: &Server) -> String {
    let mut line = format!("  server   {}", server.address);
    if server.weight != 1 {
        line += &format!(", weight {}", server.weight);
    }
    if server.max_fails == 0 {
        line += ", never taken out";
    } else {
        let rest = format_duration(server.fail_timeout);
        line += &format!(", out for {rest} after {} failures", server.max_fails);
    }
    if server.max_conns != 0 {
        line += &format!(", at most {} requests at once", server.max_conns);
    }
    for (set, word) in [(server.backup, ", backup"), (server.down, ", down")] {
        if set {
            line += word;
        }
    }
    line
}

fn rate_limit(name: &str, limit: &RateLimit) -> String {
    let key: Vec<_> = limit.key.iter().map(LimitKey::to_string).collect();
    let excess = match (limit.nodelay, limit.delay) {
        (true, _) => " without delay".to_owned(),
        (false, Some(n)) => format!(", {n} of it without delay"),
        (false, None) => String::new(),
    };
    let off = if limit.enabled { "" } else { " (disabled)" };
    format!(
        "rate_limit {name}: {} by {}, burst {}{excess}, then {}{off}",
        limit.rate,
        key.join("+"),
        limit.burst,
        limit.status
    )
}
