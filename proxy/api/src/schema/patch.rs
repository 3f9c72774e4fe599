//! A merge patch (RFC 7396) of the live settings, taken apart into single fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Field, LIVE, Shape, Table, check};
use crate::settings::{Path, Problem, Problems, Subject};

/// The fields that a patch sets, each with its new value; null means back to the default. A list is
/// one value.
pub type Leaves = BTreeMap<Path, Value>;

/// Takes a patch apart. `existing` are the settings it will be applied to: rate limits and upstreams
/// must be there already, because the file creates them. Values are not looked at yet: that is
/// [`check`] of the settings that come out of it.
///
/// # Errors
/// A patch that is no object, unknown fields, names that do not exist, and null where something
/// cannot be taken away.
pub fn leaves(patch: &Value, existing: &Value) -> Result<Leaves, Problems> {
    let mut walk = Walk::default();
    walk.table(&LIVE, patch, existing, &Path::root());
    Problems::none_or(walk.problems)?;
    Ok(walk.leaves)
}

/// Applies single fields to settings in JSON.
pub fn apply(leaves: &Leaves, settings: &mut Value) {
    for (path, value) in leaves {
        let Some((last, parents)) = path.steps().split_last() else {
            continue;
        };
        let table = parents.iter().try_fold(&mut *settings, |table, step| {
            inner(table, &step.to_string())
        });
        let Some(table) = table.and_then(Value::as_object_mut) else {
            continue;
        };
        if value.is_null() {
            // The order of the others stays.
            table.shift_remove(&last.to_string());
        } else {
            table.insert(last.to_string(), value.clone());
        }
    }
}

/// The table of this name in another, made when it is not there.
fn inner<'a>(table: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let entry = table.as_object_mut()?.entry(name);
    Some(entry.or_insert_with(|| Value::Object(Map::new())))
}

/// The field at a path, for instance `upstream.api.keepalive`; none when no such field exists.
#[must_use]
pub fn field(path: &Path) -> Option<&'static Field> {
    let mut table = &LIVE;
    let mut found = None;
    let mut steps = path.steps().iter();
    while let Some(step) = steps.next() {
        let field = table.field(&step.to_string())?;
        found = Some(field);
        match field.shape {
            Shape::Table(inner) => table = inner,
            Shape::Named(inner) | Shape::Tables(inner) => {
                steps.next();
                table = inner;
            }
            _ => return steps.next().is_none().then_some(field),
        }
    }
    found
}

#[derive(Default)]
struct Walk {
    leaves: Leaves,
    problems: Vec<Problem>,
}

impl Walk {
    fn table(&mut self, table: &Table, patch: &Value, existing: &Value, path: &Path) {
        let Some(patch) = self.object(patch, path) else {
            return;
        };
        for (name, value) in patch {
            let path = path.key(name);
            let Some(field) = table.field(name) else {
                self.problems.push(check::unknown(table, name, path));
                continue;
            };
            let existing = existing.get(name).unwrap_or(&Value::Null);
            match field.shape {
                Shape::Table(inner) if field.removable && value.is_null() => {
                    let fields = inner.fields.iter();
                    self.leaves
                        .extend(fields.map(|field| (path.key(field.name), Value::Null)));
                }
                Shape::Table(inner) => self.table(inner, value, existing, &path),
                Shape::Named(inner) => self.named(inner, value, existing, &path),
                _ if field.required && value.is_null() => self.problems.push(Problem::new(
                    path,
                    "null would take it away, and it has no default",
                    "a value",
                )),
                _ => {
                    self.leaves.insert(path, value.clone());
                }
            }
        }
    }

    fn named(&mut self, table: &Table, patch: &Value, existing: &Value, path: &Path) {
        let Some(patch) = self.object(patch, path) else {
            return;
        };
        for (name, value) in patch {
            let path = path.key(name);
            match existing.get(name) {
                Some(existing) => self.table(table, value, existing, &path),
                None => self.problems.push(unnamed(name, path, existing)),
            }
        }
    }

    fn object<'a>(&mut self, value: &'a Value, path: &Path) -> Option<&'a Map<String, Value>> {
        if !value.is_object() {
            let message = if value.is_null() {
                "a whole table cannot be taken away while the proxy runs"
            } else {
                "not a table"
            };
            let allowed = "an object with the fields to change";
            self.problems
                .push(Problem::new(path.clone(), message, allowed));
        }
        value.as_object()
    }
}

fn unnamed(name: &str, path: Path, existing: &Value) -> Problem {
    let known: Vec<&str> = existing
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect();
    let hint = check::similar(name, known.iter().copied())
        .map_or_else(String::new, |best| format!(", did you mean {best:?}?"));
    let message =
        format!("does not exist{hint} (the configuration file creates it, not the admin API)");
    let allowed = if known.is_empty() {
        "none: the file has none".to_owned()
    } else {
        known.join(", ")
    };
    Problem::new(path, message, allowed).about(Subject::Name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn existing() -> Value {
        json!({
            "timeouts": {"connect": "30s", "read": "60s"},
            "rate_limit": {"api_limit": {"rate": "10r/s", "delay": 5}},
            "upstream": {"api": {"keepalive": 32, "servers": [{"address": "127.0.0.1:1"}]}}
        })
    }

    #[test]
    fn a_patch_sets_single_fields_and_leaves_the_others() {
        let patch = json!({
            "timeouts": {"connect": "10s"},
            "rate_limit": {"api_limit": {"delay": null, "nodelay": true}},
            "upstream": {"api": {"servers": [{"address": "127.0.0.1:2"}], "retry": {"tries": 1}}},
            "compression": {}
        });
        let leaves = leaves(&patch, &existing()).unwrap();
        let paths: Vec<_> = leaves.keys().map(Path::to_string).collect();
        assert_eq!(
            paths,
            [
                "rate_limit.api_limit.delay",
                "rate_limit.api_limit.nodelay",
                "timeouts.connect",
                "upstream.api.retry.tries",
                "upstream.api.servers",
            ]
        );
        let mut settings = existing();
        apply(&leaves, &mut settings);
        assert_eq!(
            settings,
            json!({
                "timeouts": {"connect": "10s", "read": "60s"},
                "rate_limit": {"api_limit": {"rate": "10r/s", "nodelay": true}},
                "upstream": {"api": {
                    "keepalive": 32,
                    "servers": [{"address": "127.0.0.1:2"}],
                    "retry": {"tries": 1}
                }}
            })
        );
    }

    #[test]
    fn a_table_that_may_be_taken_away_goes_back_to_its_defaults() {
        let mut settings = existing();
        let on = json!({"upstream": {"api": {"health_check": {"path": "/health", "rise": 1}}}});
        apply(&leaves(&on, &settings).unwrap(), &mut settings);
        assert_eq!(
            settings["upstream"]["api"]["health_check"],
            json!({"path": "/health", "rise": 1})
        );
        let off = json!({"upstream": {"api": {"health_check": null}}});
        apply(&leaves(&off, &settings).unwrap(), &mut settings);
        assert_eq!(settings["upstream"]["api"]["health_check"], json!({}));
    }

    #[test]
    fn what_cannot_be_patched_is_named() {
        for (patch, field, says) in [
            (json!([]), "", "not a table"),
            (
                json!({"timeout": {}}),
                "timeout",
                "did you mean \"timeouts\"?",
            ),
            (json!({"timeouts": null}), "timeouts", "taken away"),
            (
                json!({"timeouts": {"conect": "1s"}}),
                "timeouts.conect",
                "\"connect\"",
            ),
            (
                json!({"rate_limit": {"api": {}}}),
                "rate_limit.api",
                "does not exist",
            ),
            (
                json!({"rate_limit": {"api_limt": {}}}),
                "rate_limit.api_limt",
                "\"api_limit\"",
            ),
            (
                json!({"rate_limit": {"api_limit": null}}),
                "rate_limit.api_limit",
                "taken away",
            ),
            (
                json!({"rate_limit": {"api_limit": {"rate": null}}}),
                "rate_limit.api_limit.rate",
                "no default",
            ),
            (
                json!({"upstream": {"api": 5}}),
                "upstream.api",
                "not a table",
            ),
            (json!({"listener": []}), "listener", "unknown field"),
        ] {
            let problems = leaves(&patch, &existing()).unwrap_err();
            assert_eq!(problems.as_slice()[0].field, field, "{patch}");
            assert!(problems.to_string().contains(says), "{patch}: {problems}");
        }
    }

    #[test]
    fn fields_are_found_by_path() {
        let path = |names: &[&str]| names.iter().fold(Path::root(), |path, name| path.key(name));
        let found = field(&path(&["upstream", "any", "retry", "tries"])).unwrap();
        assert_eq!(found.nginx, "proxy_next_upstream_tries");
        assert!(field(&path(&["timeouts", "connect", "x"])).is_none());
        assert!(field(&path(&["nothing"])).is_none());
    }
}
