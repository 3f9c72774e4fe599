//! Checks of fields against each other.
//!
//! They see documents that may have other problems as well, so each looks only at what has the right
//! type.

use std::{collections::HashMap, hash::Hash, net::SocketAddr};

use serde_json::{Map, Value};

use super::check::similar;
use crate::settings::{Path, Problem, Subject};

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
    duplicates(addresses.iter().map(Option::as_ref), |n, first| {
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
    let matches = routes.iter().map(|route| {
        let text = |key| route.get(key).and_then(Value::as_str);
        Some((
            text("host").unwrap_or_default().to_ascii_lowercase(),
            text("path").unwrap_or("/").to_owned(),
        ))
    });
    duplicates(matches, |n, first| {
        problems.push(
            Problem::new(
                path.index(n),
                format!("the same host and path as route[{first}]: it would never be used"),
                "each pair of host and path once",
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
