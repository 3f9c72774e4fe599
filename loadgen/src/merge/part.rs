//! The shards as they lie in their folders, and whether they are parts of one run.

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_load::{shard::ShardRecord, summary::Summary};

use super::{MergeError, error::Difference};
use crate::results::{RunFolder, RunRecord};

/// Longest value that an error message shows.
const LONGEST: usize = 60;

/// One shard.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) shard: ShardRecord,
    pub(super) record: RunRecord,
    pub(super) summary: Summary,
}

/// Reads the shards and makes sure that they are all the parts of one run; by number.
pub(super) fn load(paths: &[PathBuf]) -> Result<Vec<Part>, MergeError> {
    let mut parts = Vec::new();
    for path in paths {
        let (record, summary) = RunFolder::open(path)?.load()?;
        let shard = record
            .shard
            .clone()
            .ok_or_else(|| MergeError::NotAShard(path.clone()))?;
        parts.push(Part {
            path: path.clone(),
            shard,
            record,
            summary,
        });
    }
    parts.sort_by_key(|part| part.shard.number);
    check(&parts)?;
    Ok(parts)
}

fn check(parts: &[Part]) -> Result<(), MergeError> {
    let Some((first, others)) = parts.split_first() else {
        return Ok(());
    };
    let of = first.shard.of;
    for part in others {
        if part.shard.of != of {
            return Err(MergeError::OtherSplit {
                path: part.path.clone(),
                of: part.shard.of,
                first: first.path.clone(),
                first_of: of,
            });
        }
    }
    for pair in parts.windows(2) {
        if let [a, b] = pair
            && a.shard.number == b.shard.number
        {
            return Err(MergeError::Twice {
                number: a.shard.number,
                first: a.path.clone(),
                second: b.path.clone(),
            });
        }
    }
    for part in others {
        same(first, part)?;
    }
    let there = |number: &u32| parts.iter().any(|part| part.shard.number == *number);
    let missing: Vec<_> = (1..=of).filter(|number| !there(number)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(MergeError::Missing { missing, of })
    }
}

/// Whether two shards were run with the same input.
fn same(first: &Part, other: &Part) -> Result<(), MergeError> {
    let thresholds =
        |part: &Part| serde_json::to_value(&part.record.thresholds).unwrap_or_default();
    let version = |part: &Part| {
        let version = part.record.provenance.versions.get("weir-bench");
        Value::from(version.map_or("", String::as_str))
    };
    let engine = |part: &Part| Value::from(part.summary.engine.clone());
    let kinds: [(&'static str, Value, Value); 4] = [
        (
            "scenario",
            without_source(&first.record.scenario),
            without_source(&other.record.scenario),
        ),
        ("thresholds", thresholds(first), thresholds(other)),
        ("engine", engine(first), engine(other)),
        ("version of weir-bench", version(first), version(other)),
    ];
    for (kind, ours, theirs) in kinds {
        if let Some((what, ours, theirs)) = difference(kind, &ours, &theirs) {
            return Err(MergeError::Different(Box::new(Difference {
                path: other.path.clone(),
                first: first.path.clone(),
                kind,
                what,
                ours,
                theirs,
            })));
        }
    }
    Ok(())
}

/// A scenario without the path of its file, which may differ from machine to machine.
fn without_source(scenario: &Value) -> Value {
    let mut scenario = scenario.clone();
    if let Some(fields) = scenario.as_object_mut() {
        fields.remove("source");
    }
    scenario
}

/// The first field in which two values differ, and both of its values.
fn difference(path: &str, ours: &Value, theirs: &Value) -> Option<(String, String, String)> {
    if ours == theirs {
        return None;
    }
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let value =
                    |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or_default();
                difference(&format!("{path}.{key}"), &value(a), &value(b))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(at, (a, b))| difference(&format!("{path}[{at}]"), a, b)),
        _ => Some((path.to_owned(), short(ours), short(theirs))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// A path relative to a shard's folder.
pub(super) fn file(part: &Part, name: &str) -> PathBuf {
    Path::new(&part.path).join(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_field_that_differs_is_named() {
        let ours = json!({"a": 1, "load": {"rate": "500/s", "stages": [1, 2]}});
        let theirs = json!({"a": 1, "load": {"rate": "500/s", "stages": [1, 3]}});
        assert_eq!(
            difference("scenario", &ours, &theirs).unwrap(),
            ("scenario.load.stages[1]".into(), "2".into(), "3".into())
        );
        assert_eq!(difference("scenario", &ours, &ours), None);
        let (what, _, theirs) = difference("x", &json!({"seed": 1}), &json!({})).unwrap();
        assert_eq!((what.as_str(), theirs.as_str()), ("x.seed", "null"));
    }

    #[test]
    fn where_the_scenario_file_lay_does_not_matter() {
        let a = without_source(&json!({"name": "x", "source": "/a"}));
        assert_eq!(a, without_source(&json!({"name": "x", "source": "/b"})));
    }
}
