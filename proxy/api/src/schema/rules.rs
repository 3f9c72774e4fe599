//! Checks of fields against each other.
//!
//! They see documents that may have other problems as well, so each looks only at what has the right
//! type.

use std::{collections::HashMap, hash::Hash, net::SocketAddr};

use serde_json::{Map, Value};

use super::check::similar;
use crate::{
    config::UNIX_PREFIX,
    settings::{Path, Problem, Subject},
};

type Object = Map<String, Value>;

/// `nodelay` and `delay` say different things about the same requests.
pub(super) fn rate_limit(limit: &Object, path: &Path, problems: &mut Vec<Problem>) {
    let nodelay = limit.get("nodelay") == Some(&Value::Bool(true));
    if nodelay && limit.get("delay").is_some_and(|delay| !delay.is_null()) {
        problems.push(Problem::new(
            path.key("delay"),
            "excluded by nodelay = true",
            "either nodelay, or delay = N with nodelay = false",
        ));
    }
}

/// A path is one thing only.
pub(super) fn route_path(table: &Object, path: &Path, problems: &mut Vec<Problem>) {
    let named = ["exact", "regex"]
        .iter()
        .filter(|key| table.contains_key(**key));
    let message = match named.count() {
        0 => "neither exact nor regex",
        1 => return,
        _ => "both exact and regex",
    };
    problems.push(
        Problem::new(
            path.clone(),
            message,
            "a prefix in quotation marks, { exact = \"/x\" } or { regex = \"^/v[0-9]+/\" }",
        )
        .about(Subject::Name),
    );
}

/// An upstream has a server for ordinary times, and no server twice.
pub(super) fn upstream(upstream: &Object, path: &Path, problems: &mut Vec<Problem>) {
    let Some(servers) = upstream.get("servers").and_then(Value::as_array) else {
        return;
    };
    let path = path.key("servers");
    let is_backup = |server: &Value| server.get("backup") == Some(&Value::Bool(true));
    if servers.iter().all(is_backup) {
        problems.push(Problem::new(
            path.clone(),
            if servers.is_empty() {
                "an upstream needs servers"
            } else {
                "every server is a backup"
            },
            "at least one server that is not a backup",
        ));
    }
    let addresses = servers.iter().map(|server| server.get("address"));
    duplicates(addresses, |n, first| {
        problems.push(Problem::new(
            path.index(n).key("address"),
            format!("the same address as servers[{first}]"),
            "each address once; use weight for a larger share",
        ));
    });
}

/// What is fixed in an upstream goes with its servers.
pub(super) fn upstream_in_file(table: &Object, path: &Path, problems: &mut Vec<Problem>) {
    upstream(table, path, problems);
    let Some(tls) = table.get("tls").and_then(Value::as_object) else {
        return;
    };
    let path = path.key("tls");
    together(tls, "cert", "key", &path, problems);
    let off = tls.get("verify") == Some(&Value::Bool(false));
    if off && tls.contains_key("ca") {
        problems.push(Problem::new(
            path.key("ca"),
            "not used with verify = false",
            "either ca, or verify = false",
        ));
    }
    let servers = table.get("servers").and_then(Value::as_array);
    let address = |server: &Value| {
        server
            .get("address")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let mut addresses = servers.into_iter().flatten().filter_map(address);
    let unix = addresses.find(|address| address.starts_with(UNIX_PREFIX));
    if let Some(unix) = unix
        && !off
        && !tls.contains_key("server_name")
    {
        problems.push(
            Problem::new(
                path.clone(),
                format!("{unix} has no name that its certificate could be verified for"),
                "server_name = \"NAME\"",
            )
            .about(Subject::Name),
        );
    }
}

/// Of two fields, both or none.
fn together(table: &Object, one: &str, other: &str, path: &Path, problems: &mut Vec<Problem>) {
    for (here, missing) in [(one, other), (other, one)] {
        if table.contains_key(here) && !table.contains_key(missing) {
            problems.push(
                Problem::new(
                    path.key(missing),
                    format!("missing beside {here}"),
                    format!("{one} and {other}, or neither"),
                )
                .about(Subject::Absence),
            );
        }
    }
}

/// A listener has certificates, written in one way, and whoever asks for client certificates names authorities.
pub(super) fn listener_tls(tls: &Object, path: &Path, problems: &mut Vec<Problem>) {
    together(tls, "cert", "key", path, problems);
    let short = tls.contains_key("cert") || tls.contains_key("key");
    let list = tls.get("certificates").and_then(Value::as_array);
    let (message, allowed) = match (short, list.map(Vec::as_slice)) {
        (true, Some(_)) => (
            "certificates beside cert and key",
            "either cert and key, or certificates with all of them",
        ),
        (false, None | Some([])) if tls.get("certificates").is_none_or(Value::is_array) => (
            "no certificate",
            "cert = \"FILE\" and key = \"FILE\", or certificates = [ { cert = \"FILE\", key = \"FILE\" } ]",
        ),
        _ => ("", ""),
    };
    if !message.is_empty() {
        problems.push(Problem::new(path.clone(), message, allowed).about(Subject::Name));
    }
    let auth = tls.get("client_auth").and_then(Value::as_str);
    if matches!(auth, Some("optional" | "required")) && !tls.contains_key("client_ca") {
        problems.push(
            Problem::new(
                path.key("client_ca"),
                "missing: client certificates are asked for, and nobody signs them",
                "client_ca = \"FILE\", the authorities of clients",
            )
            .about(Subject::Absence),
        );
    }
}

/// Without tokens only this machine may reach the admin API.
pub(super) fn admin(admin: &Object, path: &Path, problems: &mut Vec<Problem>) {
    if let Some(address) = socket(admin.get("listen"))
        && !address.ip().is_loopback()
        && !admin.contains_key("tokens")
    {
        problems.push(Problem::new(
            path.key("listen"),
            format!("{address} can be reached from other machines, and there are no tokens"),
            "a loopback address, such as \"127.0.0.1:9900\" or \"[::1]:9900\"; or tokens = \"FILE\" beside it (weir token new makes one)",
        ));
    }
}

/// HTTP/2 is agreed on in the handshake of TLS; prior knowledge is for connections in the clear.
pub(super) fn listener(listener: &Object, path: &Path, problems: &mut Vec<Problem>) {
    if listener.get("h2c") == Some(&Value::Bool(true)) && listener.contains_key("tls") {
        problems.push(Problem::new(
            path.key("h2c"),
            "h2c is HTTP/2 in the clear, and this listener has tls",
            "either tls, where HTTP/2 is offered anyway (http2 = true), or h2c = true on a listener without tls",
        ));
    }
}

/// Listeners differ, and routes name upstreams and rate limits that exist.
pub(super) fn file(file: &Object, path: &Path, problems: &mut Vec<Problem>) {
    listeners(file, path, problems);
    routes(file, path, problems);
}

fn listeners(file: &Object, path: &Path, problems: &mut Vec<Problem>) {
    let path = path.key("listener");
    let Some(listeners) = file.get("listener").and_then(Value::as_array) else {
        return;
    };
    if listeners.is_empty() {
        problems.push(Problem::new(
            path.clone(),
            "no listener",
            "at least one [[listener]]",
        ));
    }
    // Port 0 asks the system for any free port, each time another one.
    let fixed = |listener: &Value| socket(listener.get("address")).filter(|a| a.port() != 0);
    let addresses: Vec<_> = listeners.iter().map(fixed).collect();
    let written = |listener: &Value| {
        listener
            .get("address")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let unix = |listener: &Value| written(listener).filter(|text| text.starts_with(UNIX_PREFIX));
    let same = listeners.iter().zip(&addresses);
    let same =
        same.map(|(listener, address)| address.map(|it| it.to_string()).or_else(|| unix(listener)));
    duplicates(same, |n, first| {
        problems.push(Problem::new(
            path.index(n).key("address"),
            format!("the same address as listener[{first}]"),
            "each address once",
        ));
    });
    let admin = socket(file.get("admin").and_then(|admin| admin.get("listen")))
        .unwrap_or_else(crate::config::Admin::default_listen);
    for (n, address) in addresses.iter().enumerate() {
        if *address == Some(admin) {
            problems.push(Problem::new(
                path.index(n).key("address"),
                "the same address as admin.listen",
                "another address or port",
            ));
        }
    }
}

fn routes(file: &Object, path: &Path, problems: &mut Vec<Problem>) {
    let path = path.key("route");
    let Some(routes) = file.get("route").and_then(Value::as_array) else {
        return;
    };
    if routes.is_empty() {
        problems.push(Problem::new(
            path.clone(),
            "no route",
            "at least one [[route]]",
        ));
    }
    for (n, route) in routes.iter().enumerate() {
        let path = path.index(n);
        if let Some(name) = route.get("upstream") {
            named(file, "upstream", name, &path.key("upstream"), problems);
        }
        let limits = route.get("rate_limit").and_then(Value::as_array);
        let path = path.key("rate_limit");
        for (k, name) in limits.into_iter().flatten().enumerate() {
            named(file, "rate_limit", name, &path.index(k), problems);
        }
        duplicates(limits.into_iter().flatten().map(Some), |k, first| {
            problems.push(Problem::new(
                path.index(k),
                format!("the same rate limit as rate_limit[{first}]"),
                "each name once",
            ));
        });
    }
    let names = routes.iter().map(|route| route.get("name"));
    duplicates(names, |n, first| {
        problems.push(Problem::new(
            path.index(n).key("name"),
            format!("the same name as route[{first}]"),
            "each name once",
        ));
    });
    let matches = routes.iter().map(|route| {
        let host = route
            .get("host")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let host = host.to_ascii_lowercase();
        let written = |key| route.get(key).map(ToString::to_string).unwrap_or_default();
        let mut methods: Vec<_> = route
            .get("methods")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        methods.sort_unstable();
        Some((
            host.strip_suffix('.').unwrap_or(&host).to_owned(),
            route
                .get("path")
                .map_or_else(|| "\"/\"".to_owned(), ToString::to_string),
            methods,
            written("headers"),
        ))
    });
    duplicates(matches, |n, first| {
        problems.push(
            Problem::new(
                path.index(n),
                format!("the same host, path, methods and headers as route[{first}]: it would never be used"),
                "each combination of host, path, methods and headers once",
            )
            .about(Subject::Name),
        );
    });
}

/// A name must be one of those in the table `of`.
fn named(file: &Object, of: &str, name: &Value, path: &Path, problems: &mut Vec<Problem>) {
    let Some(name) = name.as_str() else { return };
    let table = file.get(of).and_then(Value::as_object);
    if table.is_some_and(|table| table.contains_key(name)) {
        return;
    }
    let known: Vec<&str> = table
        .into_iter()
        .flat_map(Object::keys)
        .map(String::as_str)
        .collect();
    let hint = similar(name, known.iter().copied())
        .map_or_else(String::new, |best| format!(", did you mean {best:?}?"));
    problems.push(Problem::new(
        path.clone(),
        format!("there is no [{of}.{name}]{hint}"),
        if known.is_empty() {
            format!("the name of an [{of}.NAME], of which the file has none")
        } else {
            known.join(", ")
        },
    ));
}

fn socket(value: Option<&Value>) -> Option<SocketAddr> {
    value
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
}

/// Calls `found` with the position of each value that was there before, and where it was first.
fn duplicates<T: Hash + Eq>(
    values: impl Iterator<Item = Option<T>>,
    mut found: impl FnMut(usize, usize),
) {
    let mut seen = HashMap::new();
    for (n, value) in values.enumerate() {
        if let Some(value) = value {
            let first = *seen.entry(value).or_insert(n);
            if first != n {
                found(n, first);
            }
        }
    }
}
