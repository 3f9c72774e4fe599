//! Changes for a time.

use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use weir_api::{
    admin::OverrideView,
    schema::patch::Leaves,
    settings::{Path, Problem, Problems},
    text::unprintable_in,
    units::{format_duration, format_timestamp},
};

use super::Clock;

/// The shortest time to live.
pub const MIN_TTL: Duration = Duration::from_secs(1);
/// The longest time to live.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
/// Most overrides at once.
pub const MAX_OVERRIDES: usize = 100;

/// An override that someone asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOverride {
    /// What to change, as a merge patch of the settings.
    pub settings: Value,
    /// How long, [`MIN_TTL`] to [`MAX_TTL`].
    pub ttl: Duration,
    /// Who wants it, 1 to 200 characters.
    pub owner: String,
    /// What for, up to 1000 characters.
    pub reason: String,
}

impl NewOverride {
    /// Checks everything but the settings.
    pub(super) fn check(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        problems.extend(bad_ttl(self.ttl));
        let owner = self.owner.trim().chars().count();
        if !(1..=200).contains(&owner) || unprintable_in(&self.owner).is_some() {
            let path = Path::root().key("owner");
            problems.push(Problem::new(
                path,
                "not an owner's name",
                "1 to 200 printable characters",
            ));
        }
        if self.reason.chars().count() > 1000 {
            let path = Path::root().key("reason");
            problems.push(Problem::new(path, "too long", "up to 1000 characters"));
        } else if let Some(c) = unprintable_in(&self.reason) {
            problems.push(Problem::new(
                Path::root().key("reason"),
                format!("has the control character U+{:04X}", u32::from(c)),
                "up to 1000 printable characters on one line",
            ));
        }
        Problems::none_or(problems)
    }
}

/// What is wrong with a time to live, if anything.
pub(super) fn bad_ttl(ttl: Duration) -> Option<Problem> {
    (!(MIN_TTL..=MAX_TTL).contains(&ttl)).then(|| {
        Problem::new(
            Path::root().key("ttl"),
            format!("\"{}\" is not allowed", format_duration(ttl)),
            format!(
                "a duration from {} to {}",
                format_duration(MIN_TTL),
                format_duration(MAX_TTL)
            ),
        )
    })
}

/// An override that has not ended.
#[derive(Debug, Clone)]
pub(super) struct Override {
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) reason: String,
    /// How long it was created for.
    pub(super) ttl: Duration,
    pub(super) created_at: SystemTime,
    pub(super) expires_at: SystemTime,
    /// When it ends.
    pub(super) due: Instant,
    /// The fields that it holds.
    pub(super) leaves: Leaves,
    /// Fields that a later patch has taken over.
    pub(super) superseded: Vec<Path>,
}

impl Override {
    pub(super) fn new(id: String, new: NewOverride, leaves: Leaves, clock: &dyn Clock) -> Self {
        let wall = clock.wall();
        Self {
            id,
            owner: new.owner,
            reason: new.reason,
            ttl: new.ttl,
            created_at: wall,
            expires_at: wall + new.ttl,
            due: clock.now() + new.ttl,
            leaves,
            superseded: Vec::new(),
        }
    }

    /// Lets it end `ttl` from now.
    pub(super) fn renew(&mut self, ttl: Duration, clock: &dyn Clock) {
        self.due = clock.now() + ttl;
        self.expires_at = clock.wall() + ttl;
    }

    /// Takes a field from it; whether it had the field.
    pub(super) fn supersede(&mut self, path: &Path) -> bool {
        let had = self.leaves.remove(path).is_some();
        if had {
            self.superseded.push(path.clone());
        }
        had
    }

    /// Which one it is, for logs and messages.
    pub(super) fn told(&self) -> String {
        if self.reason.is_empty() {
            format!("{} of {}", self.id, self.owner)
        } else {
            format!("{} of {} ({})", self.id, self.owner, self.reason)
        }
    }

    /// As the admin API shows it.
    pub(super) fn view(&self, now: Instant, revision: u64) -> OverrideView {
        OverrideView {
            id: self.id.clone(),
            owner: self.owner.clone(),
            reason: self.reason.clone(),
            created_at: format_timestamp(self.created_at),
            expires_at: format_timestamp(self.expires_at),
            remaining: self.due.saturating_duration_since(now),
            settings: self
                .leaves
                .iter()
                .map(|(path, value)| (path.to_string(), value.clone()))
                .collect(),
            superseded: self.superseded.iter().map(Path::to_string).collect(),
            revision,
        }
    }
}
