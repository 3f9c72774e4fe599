//! Back to an older revision, as a new one.

use serde_json::Value;
use weir_api::{
    schema::patch::Leaves,
    settings::{Path, Problem, Problems},
};

use super::{Author, Conditions, Store, StoreError, layers::differences, store::Changed};

impl Store {
    /// Makes the lasting settings (without overrides) what they were at an older revision, by
    /// replacing all patches. Overrides stay on top. Rate limits and upstreams that the file has got
    /// since then stay as the file has them.
    ///
    /// # Errors
    /// When the revision is not known (any more), the file has lost a rate limit or an upstream since
    /// then, what would come out is not valid, another change came in between, or the engine refuses.
    pub fn rollback(
        &self,
        revision: u64,
        mut author: Author,
        conditions: Conditions,
    ) -> Result<Changed, StoreError> {
        let mut state = self.lock();
        self.expect(conditions)?;
        let target = state
            .lasting_at(revision)
            .ok_or(StoreError::NoRevision(revision))?;
        let mut layers = state.layers.clone();
        layers.patch = towards(&layers.file, &target.to_json())?;
        layers.effective_lasting()?;
        author.why = match author.why.as_str() {
            "" => format!("back to revision {revision}"),
            why => format!("back to revision {revision}: {why}"),
        };
        self.commit(&mut state, layers, author, conditions.into())
    }
}

/// The patch that makes the file's settings into others.
fn towards(file: &Value, target: &Value) -> Result<Leaves, Problems> {
    let (mut leaves, mut problems) = (Leaves::new(), Vec::new());
    for (path, old, new) in differences(file, target) {
        if let Some((table, name)) = named(&path) {
            let has = |settings: &Value| {
                let table = settings.get(table.to_string());
                table.is_some_and(|table| table.get(name.to_string()).is_some())
            };
            if !has(target) {
                continue;
            }
            if !has(file) {
                let lost = Path::root().key(&table.to_string()).key(&name.to_string());
                if !problems.iter().any(|p: &Problem| p.path == lost) {
                    problems.push(Problem::new(
                        lost,
                        "the revision has it, but the file does not any more",
                        "put it into the file first",
                    ));
                }
                continue;
            }
        }
        if old != new {
            leaves.insert(path, new);
        }
    }
    Problems::none_or(problems)?;
    Ok(leaves)
}

/// The table and the name of something that the file creates.
fn named(path: &Path) -> Option<(&weir_api::settings::Step, &weir_api::settings::Step)> {
    match path.steps() {
        [table, name, _, ..] if matches!(table.to_string().as_str(), "rate_limit" | "upstream") => {
            Some((table, name))
        }
        _ => None,
    }
}
