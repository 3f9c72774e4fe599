//! From what the user wrote to a patch of settings.

use std::{io::Read as _, path::Path};

use serde_json::{Map, Value};

use super::{nested, nodes::Fault};
use crate::output::complain;

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
    let lasting = Backup::of(&settings)?.map(|backup| backup.lasting());
    if let Some((lasting, temporary)) = lasting {
        settings = lasting;
        if !temporary.is_empty() {
            complain(&format!(
                "weir ctl: {name}: left out, since temporary overrides held them: {}",
                temporary.join(", ")
            ));
        }
    }
    let fixed: Vec<_> = FIXED
        .into_iter()
        .filter(|name| settings.remove(*name).is_some())
        .collect();
    if !fixed.is_empty() {
        complain(&format!(
            "weir ctl: {name}: left out, since a running proxy cannot change it: {}",
            fixed.join(", ")
        ));
    }
    Ok(Value::Object(settings))
}

/// What `weir ctl get --json` printed: the settings in force, and the layer that each comes from.
struct Backup<'a> {
    effective: &'a Map<String, Value>,
    sources: Option<&'a Map<String, Value>>,
}

impl<'a> Backup<'a> {
    /// `None` if these are settings as in the configuration file, which has no table of this name.
    fn of(answer: &'a Map<String, Value>) -> Result<Option<Self>, Fault> {
        let of_one = |answer: &'a Map<String, Value>| {
            Some(Self {
                effective: answer.get("effective")?.as_object()?,
                sources: answer.get("sources").and_then(Value::as_object),
            })
        };
        if answer.contains_key("revision") {
            return Ok(of_one(answer));
        }
        // With several nodes there is an answer for each, by its name.
        let several = !answer.is_empty()
            && answer
                .values()
                .all(|it| it.as_object().is_some_and(|it| of_one(it).is_some()));
        if !several {
            return Ok(None);
        }
        let nodes: Vec<_> = answer.keys().map(String::as_str).collect();
        Err(Fault::usage(format!(
            "these are the settings of several nodes ({}): apply those of one, as printed by \
             weir ctl --node NODE get --json",
            nodes.join(", ")
        )))
    }

    /// The settings without those that an override held, and the paths of those.
    fn lasting(&self) -> (Map<String, Value>, Vec<String>) {
        let mut lasting = self.effective.clone();
        let temporary: Vec<String> = self
            .sources
            .into_iter()
            .flatten()
            .filter(|(_, source)| {
                source
                    .as_str()
                    .is_some_and(|it| it.starts_with("override:"))
            })
            .map(|(path, _)| path.clone())
            .filter(|path| remove(&mut lasting, path))
            .collect();
        (lasting, temporary)
    }
}

/// Removes the setting at a path with dots; whether there was one.
fn remove(from: &mut Map<String, Value>, path: &str) -> bool {
    match path.split_once('.') {
        None => from.remove(path).is_some(),
        Some((name, rest)) => from
            .get_mut(name)
            .and_then(Value::as_object_mut)
            .is_some_and(|inner| remove(inner, rest)),
    }
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

    #[test]
    fn a_backup_is_taken_without_what_overrides_held() {
        let printed = json!({
            "revision": 7,
            "effective": {
                "connections": { "max": 2048 },
                "rate_limit": { "z": { "rate": "100r/s", "burst": 20 } },
            },
            "sources": { "connections.max": "patch", "rate_limit.z.rate": "override:ovr-1" },
        });
        let backup = Backup::of(printed.as_object().unwrap());
        let (settings, temporary) = backup.ok().flatten().unwrap().lasting();
        assert_eq!(
            Value::Object(settings),
            json!({ "connections": { "max": 2048 }, "rate_limit": { "z": { "burst": 20 } } })
        );
        assert_eq!(temporary, ["rate_limit.z.rate"]);
    }

    #[test]
    fn settings_are_no_backup_and_answers_of_several_nodes_are_refused() {
        let settings = json!({ "connections": { "max": 2048 } });
        for none in [settings.as_object().unwrap(), &Map::new()] {
            assert!(matches!(Backup::of(none), Ok(None)));
        }
        let one = json!({ "revision": 1, "effective": {}, "sources": {} });
        let several = json!({ "127.0.0.1:9900": one, "127.0.0.1:9901": one });
        let fault = Backup::of(several.as_object().unwrap()).err().unwrap();
        assert!(
            fault.message.contains("127.0.0.1:9901"),
            "{}",
            fault.message
        );
    }
}
