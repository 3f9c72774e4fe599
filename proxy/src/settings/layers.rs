//! The layers of settings and what comes out of them.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use weir_api::{
    admin::{Change, Superseded},
    config::Route,
    schema::patch::{self, Leaves},
    settings::{Path, Problems, Settings},
};

use super::overrides::Override;

/// Where settings come from, lowest first.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    /// The file, every default filled in.
    pub(super) file: Value,
    /// The routes of the file; no other layer has any.
    pub(super) routes: Arc<[Route]>,
    /// Changes for good.
    pub(super) patch: Leaves,
    /// Changes for a time, oldest first.
    pub(super) overrides: Vec<Override>,
}

impl Layers {
    pub(super) fn new(file: &Settings, routes: Arc<[Route]>) -> Self {
        Self {
            file: file.to_json(),
            routes,
            patch: Leaves::new(),
            overrides: Vec::new(),
        }
    }

    /// The settings in force when these layers are.
    ///
    /// # Errors
    /// When what comes out is not valid.
    pub(super) fn effective(&self) -> Result<Settings, Problems> {
        let mut merged = self.lasting();
        for active in &self.overrides {
            patch::apply(&active.leaves, &mut merged);
        }
        Settings::from_json(&merged).map_err(|problems| match self.overrides.as_slice() {
            [] => problems,
            overrides => {
                let told: Vec<_> = overrides.iter().map(Override::told).collect();
                problems.remarked(&format!("together with override {}", told.join(", ")))
            }
        })
    }

    /// The settings without the overrides.
    ///
    /// # Errors
    /// When what comes out is not valid.
    pub(super) fn effective_lasting(&self) -> Result<Settings, Problems> {
        Settings::from_json(&self.lasting())
    }

    fn lasting(&self) -> Value {
        let mut merged = self.file.clone();
        patch::apply(&self.patch, &mut merged);
        merged
    }

    /// Puts fields into the patch layer and takes them from the overrides that hold them.
    pub(super) fn patch(&mut self, leaves: Leaves) -> Vec<Superseded> {
        let mut superseded = Vec::new();
        for active in &mut self.overrides {
            for path in leaves.keys() {
                if active.supersede(path) {
                    superseded.push(Superseded {
                        id: active.id.clone(),
                        owner: active.owner.clone(),
                        path: path.to_string(),
                    });
                }
            }
        }
        self.patch.extend(leaves);
        superseded
    }

    /// For each field that is not from the file: which layer won.
    pub(super) fn sources(&self) -> BTreeMap<String, String> {
        let patch = self.patch.keys().map(|path| (path, "patch".to_owned()));
        let overrides = self.overrides.iter().flat_map(|active| {
            let source = format!("override:{}", active.id);
            active.leaves.keys().map(move |path| (path, source.clone()))
        });
        // Later layers replace earlier ones.
        patch
            .chain(overrides)
            .map(|(path, source)| (path.to_string(), source))
            .collect()
    }

    /// Fields that the file changes from what it said before, but that a higher layer holds.
    pub(super) fn shadowed(&self, old_file: &Value) -> Vec<String> {
        let changed = diff(old_file, &self.file);
        let sources = self.sources();
        changed
            .into_iter()
            .filter(|change| sources.contains_key(&change.path))
            .map(|change| change.path)
            .collect()
    }
}

/// The fields in which two settings differ. A list is one value.
pub(super) fn diff(old: &Value, new: &Value) -> Vec<Change> {
    let changes = differences(old, new).into_iter();
    changes
        .map(|(path, old, new)| Change {
            path: path.to_string(),
            old,
            new,
        })
        .collect()
}

/// As [`diff`]: path, old value, new value; null where there is none.
pub(super) fn differences(old: &Value, new: &Value) -> Vec<(Path, Value, Value)> {
    let mut changes = Vec::new();
    compare(old, new, &Path::root(), &mut changes);
    changes
}

fn compare(old: &Value, new: &Value, path: &Path, changes: &mut Vec<(Path, Value, Value)>) {
    if old == new {
        return;
    }
    if !old.is_object() && !new.is_object() {
        changes.push((path.clone(), old.clone(), new.clone()));
        return;
    }
    let keys = |value: &Value| -> Vec<String> {
        let object = value.as_object();
        object
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect()
    };
    let mut names = keys(old);
    names.extend(keys(new).into_iter().filter(|name| old.get(name).is_none()));
    for name in names {
        let side = |value: &Value| value.get(&name).cloned().unwrap_or(Value::Null);
        compare(&side(old), &side(new), &path.key(&name), changes);
    }
}
