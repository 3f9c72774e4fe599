//! Creating, renewing and ending overrides.

use weir_api::{
    admin::OverrideView,
    events::{Event, OverrideAction},
    settings::{Path, Problem, Problems},
    units::format_timestamp,
};

use super::{
    Author, Conditions, NewOverride, Store, StoreError,
    layers::diff,
    overrides::{MAX_OVERRIDES, Override, bad_ttl},
    store::Changed,
};

impl Store {
    /// Changes settings for a time; the override (none in a dry run) and the change.
    ///
    /// # Errors
    /// When the request or what would come out is not valid, there are too many overrides, another
    /// change came in between, or the engine refuses.
    pub fn create_override(
        &self,
        new: NewOverride,
        conditions: Conditions,
    ) -> Result<(OverrideView, Changed), StoreError> {
        let mut state = self.lock();
        self.expect(conditions)?;
        let leaves = self.leaves(&new.settings).map_err(within_settings);
        let leaves = together(new.check(), leaves)?;
        if leaves.is_empty() {
            let path = Path::root().key("settings");
            return Err(Problems::one(Problem::new(
                path,
                "changes nothing",
                "at least one setting",
            ))
            .into());
        }
        if state.layers.overrides.len() >= MAX_OVERRIDES {
            return Err(StoreError::TooMany);
        }
        let created = Override::new(new_id(), new, leaves, self.clock());
        let author = Author::new(
            created.owner.clone(),
            format!("override {}", created.told()),
        );
        let mut layers = state.layers.clone();
        layers.overrides.push(created.clone());
        let changed = self
            .commit(&mut state, layers, author, conditions.into())
            .map_err(|error| match error {
                StoreError::Invalid(problems) => StoreError::Invalid(within_settings(problems)),
                other => other,
            })?;
        let mut view = created.view(self.clock().now(), changed.revision);
        if conditions.dry_run {
            view.id.clear();
        } else {
            self.tell_of(&created, OverrideAction::Created, created.reason.clone());
        }
        Ok((view, changed))
    }

    /// Lets an override last for `ttl` from now; none: as long as it was created for.
    ///
    /// # Errors
    /// When the time is out of range, or there is no such override.
    pub fn renew_override(
        &self,
        id: &str,
        ttl: Option<std::time::Duration>,
    ) -> Result<OverrideView, StoreError> {
        // One that is due has ended, even when the timer has not come to it yet.
        self.expire_due();
        if let Some(problem) = ttl.and_then(bad_ttl) {
            return Err(Problems::one(problem).into());
        }
        let mut state = self.lock();
        let found = state.layers.overrides.iter_mut().find(|o| o.id == id);
        let active = found.ok_or_else(|| StoreError::NoOverride(id.to_owned()))?;
        let ttl = ttl.unwrap_or(active.ttl);
        active.renew(ttl, self.clock());
        self.changed().notify_one();
        self.tell_of(active, OverrideAction::Renewed, active.reason.clone());
        Ok(active.view(self.clock().now(), self.revision()))
    }

    /// Ends an override now.
    ///
    /// # Errors
    /// When there is no such override, or the engine refuses.
    pub fn delete_override(&self, id: &str, who: &str) -> Result<Changed, StoreError> {
        self.expire_due();
        let mut state = self.lock();
        let before = self.current();
        let mut layers = state.layers.clone();
        let at = layers.overrides.iter().position(|o| o.id == id);
        let removed = layers
            .overrides
            .remove(at.ok_or_else(|| StoreError::NoOverride(id.to_owned()))?);
        let author = Author::new(who, format!("deleted override {}", removed.told()));
        self.end(&mut state, layers, author)?;
        self.tell_of(&removed, OverrideAction::Ended, format!("deleted by {who}"));
        let after = self.current();
        Ok(Changed {
            revision: after.revision,
            diff: diff(&before.settings.to_json(), &after.settings.to_json()),
            superseded: Vec::new(),
        })
    }

    /// Tells the readers of events what has happened to an override.
    pub(super) fn tell_of(&self, it: &Override, action: OverrideAction, reason: String) {
        let ends = action != OverrideAction::Ended;
        self.tell(Event::Override {
            revision: self.revision(),
            at: self.timestamp(),
            action,
            id: it.id.clone(),
            owner: it.owner.clone(),
            reason,
            expires_at: ends.then(|| format_timestamp(it.expires_at)),
        });
    }

    /// The overrides that have not ended, oldest first.
    #[must_use]
    pub fn overrides(&self) -> Vec<OverrideView> {
        let (now, revision) = (self.clock().now(), self.revision());
        let state = self.lock();
        let active = state.layers.overrides.iter().filter(|o| o.due > now);
        active.map(|o| o.view(now, revision)).collect()
    }
}

/// Both results' problems together.
fn together<T>(first: Result<(), Problems>, second: Result<T, Problems>) -> Result<T, Problems> {
    match (first, second) {
        (Ok(()), second) => second,
        (Err(first), Ok(_)) => Err(first),
        (Err(first), Err(second)) => Err(first.and(second)),
    }
}

/// Problems of settings that are one field of a larger body.
fn within_settings(problems: Problems) -> Problems {
    problems.within("settings")
}

/// An id that no other override has, also not one of before a restart.
fn new_id() -> String {
    format!("ovr-{:012x}", rand::random::<u64>() >> 16)
}
