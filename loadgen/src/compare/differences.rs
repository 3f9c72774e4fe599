//! What else differs between two groups of runs, so that a change may not be what is tested.

use serde_json::Value;

use crate::compare::kept::KeptRun;

/// Something to know about a run.
type Fact = fn(&KeptRun) -> String;

/// One sentence for everything that differs.
pub(super) fn differences(before: &[KeptRun], after: &[KeptRun]) -> Vec<String> {
    let facts: [(&str, Fact); 8] = [
        ("host", |run| run.provenance.host.name.clone()),
        ("CPU", |run| {
            let host = &run.provenance.host;
            format!("{} with {} cores", host.cpu, host.cores)
        }),
        ("kernel", |run| run.provenance.host.kernel.clone()),
        ("scenario", |run| run.summary.scenario.clone()),
        ("topology or size", |run| run.subject.clone()),
        ("engine", |run| run.summary.engine.clone()),
        ("version of weir-bench", |run| version(run, "weir-bench")),
        ("version of weir", |run| version(run, "weir")),
    ];
    let mut sentences = Vec::new();
    for (what, fact) in facts {
        let (old, new) = (values(before, fact), values(after, fact));
        if old != new {
            sentences.push(format!(
                "{what} differs: {} before, {} now",
                old.join(" and "),
                new.join(" and ")
            ));
        }
    }
    let mut fields = Vec::new();
    if let (Some(old), Some(new)) = (before.first(), after.first()) {
        changed("", &old.scenario, &new.scenario, &mut fields);
        let settings = |run: &KeptRun| run.proxy_settings.clone().unwrap_or(Value::Null);
        if settings(old) != settings(new) {
            sentences.push("the settings of the proxy differ".to_owned());
        }
    }
    // Where a scenario was read from does not change what it does, and its gate is no load.
    fields.retain(|field: &String| {
        !["source", "description", "name"].contains(&field.as_str())
            && !field.starts_with("thresholds")
    });
    if !fields.is_empty() {
        let more = fields.len().saturating_sub(5);
        fields.truncate(5);
        let more = if more > 0 {
            format!(" and {more} more fields")
        } else {
            String::new()
        };
        sentences.push(format!("the load differs in {}{more}", fields.join(", ")));
    }
    sentences
}

fn version(run: &KeptRun, program: &str) -> String {
    let versions = &run.provenance.versions;
    versions
        .get(program)
        .cloned()
        .unwrap_or_else(|| "none".to_owned())
}

/// The different values of a fact, in order of appearance.
fn values(runs: &[KeptRun], fact: Fact) -> Vec<String> {
    let mut values = Vec::new();
    for run in runs {
        let value = fact(run);
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values.sort();
    values
}

/// Dotted paths of the fields that differ.
fn changed(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    if old == new {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        found.push(path.to_owned());
        return;
    };
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let inner = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let of =
            |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or(Value::Null);
        changed(&inner, &of(old), &of(new), found);
    }
}
