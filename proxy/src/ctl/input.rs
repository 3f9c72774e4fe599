//! From what the user wrote to a patch of settings.

use std::{io::Read as _, path::Path};

use serde_json::{Map, Value};

use super::{nested, nodes::Fault};

/// Parts of the configuration file that are fixed while the proxy runs.
const FIXED: [&str; 5] = ["server", "admin", "listener", "access_log", "route"];

/// `PATH=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    names: Vec<String>,
    value: Value,
}

/// Reads `PATH=VALUE`. What reads as JSON is JSON; everything else is text.
pub(super) fn assignment(text: &str) -> Result<Assignment, String> {
    let (path, value) = text.split_once('=').ok_or_else(|| {
        format!("{text:?} has no \"=\": write PATH=VALUE, such as timeouts.connect=10s")
    })?;
    Ok(Assignment {
        names: names(path).map_err(|fault| fault.message)?,
        value: serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
    })
}

/// The names of a path, separated by dots or slashes.
pub(super) fn names(path: &str) -> Result<Vec<String>, Fault> {
    let separator = if path.contains('/') { '/' } else { '.' };
    // servers[0] is servers.0.
    let path = path.replace('[', &separator.to_string()).replace(']', "");
    let names: Vec<String> = path
        .trim_matches('/')
        .split(separator)
        .map(str::to_owned)
        .collect();
    if names.iter().any(String::is_empty) {
        return Err(Fault::usage(format!(
            "{path:?} is not a path of settings such as timeouts.connect"
        )));
    }
    Ok(names)
}

/// One merge patch of several assignments.
pub(super) fn merged(assignments: &[Assignment]) -> Result<Value, Fault> {
    merged_or_none(assignments).map(Value::Object)
}

/// As [`merged`], for adding something to it.
pub(super) fn merged_or_none(assignments: &[Assignment]) -> Result<Map<String, Value>, Fault> {
    let mut patch = Map::new();
    for Assignment { names, value } in assignments {
        let Value::Object(one) = nested(names, value.clone()) else {
            continue;
        };
        merge(&mut patch, one, &names.join("."))?;
    }
    Ok(patch)
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>, path: &str) -> Result<(), Fault> {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (None, value) => {
                into.insert(name, value);
            }
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from, path)?,
            (Some(_), _) => return Err(Fault::usage(format!("{path} is set twice"))),
        }
    }
    Ok(())
}

/// The live settings of a file, TOML or JSON. Parts that are fixed while the proxy runs are left out,
/// and that is said.
pub(super) fn file(path: &Path) -> Result<Value, Fault> {
    let name = path.display();
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Fault::usage(format!("{name} cannot be read: {error}")))?;
    let is_json =
        path.extension().is_some_and(|it| it == "json") || text.trim_start().starts_with('{');
    let mut settings: Map<String, Value> = if is_json {
        serde_json::from_str(&text)
            .map_err(|error| Fault::usage(format!("{name} is not a JSON object: {error}")))?
    } else {
        toml::from_str(&text)
            .map_err(|error| Fault::usage(format!("{name} is not TOML: {error}")))?
    };
    let fixed: Vec<_> = FIXED
        .into_iter()
        .filter(|name| settings.remove(*name).is_some())
        .collect();
    if !fixed.is_empty() {
        eprintln!(
            "weir ctl: {name}: left out, since a running proxy cannot change it: {}",
            fixed.join(", ")
        );
    }
    Ok(Value::Object(settings))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(texts: &[&str]) -> Result<Value, String> {
        let parsed: Result<Vec<_>, String> = texts.iter().map(|text| assignment(text)).collect();
        merged(&parsed?).map_err(|fault| fault.message)
    }

    #[test]
    fn assignments_make_one_patch() {
        let patch = all(&[
            "timeouts.connect=10s",
            "timeouts/read=1m30s",
            "connections.max=2048",
            "rate_limit.api_limit.nodelay=true",
            "rate_limit.api_limit.delay=null",
            "compression.types=[\"text/*\"]",
            "client.max_body=",
        ]);
        assert_eq!(
            patch.unwrap(),
            json!({
                "timeouts": {"connect": "10s", "read": "1m30s"},
                "connections": {"max": 2048},
                "rate_limit": {"api_limit": {"nodelay": true, "delay": null}},
                "compression": {"types": ["text/*"]},
                "client": {"max_body": ""}
            })
        );
        assert_eq!(
            names("upstream.api.servers[0].weight").unwrap(),
            ["upstream", "api", "servers", "0", "weight"]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for (texts, says) in [
            (&["timeouts.connect"][..], "no \"=\""),
            (&["=1"], "not a path"),
            (&["a..b=1"], "not a path"),
            (&["a.b=1", "a.b=2"], "twice"),
            (&["a=1", "a.b=2"], "twice"),
        ] {
            let error = all(texts).unwrap_err();
            assert!(error.contains(says), "{texts:?}: {error}");
        }
    }
}
