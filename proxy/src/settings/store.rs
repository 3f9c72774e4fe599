//! The settings in force, and every way to change them.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::sync::{Notify, broadcast};
use tracing::info;
use weir_api::{
    admin::{Change, RevisionView, SettingsView, Superseded},
    config::Route,
    events::Event,
    schema::patch::{self, Leaves},
    settings::{Problem, Problems, Settings},
    units::format_timestamp,
};

use super::{
    Author, Clock, SystemClock,
    file::{SaveError, SourceFile},
    layers::{Layers, diff},
    overrides::MAX_OVERRIDES,
    revision::Revisions,
};

/// What is in force: settings and routes as one value, with its number.
#[derive(Debug, Clone)]
pub struct Published {
    /// Counts publications, from 1.
    pub revision: u64,
    /// The settings.
    pub settings: Arc<Settings>,
    /// The routes, as in the file that the settings' lowest layer was read from.
    pub routes: Arc<[Route]>,
}

/// A server whose name has never been looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// The upstream.
    pub upstream: String,
    /// The server, as the settings have it.
    pub address: String,
}

/// Why a hook keeps settings from being published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Names of servers have to be looked up before.
    Unresolved(Vec<Unresolved>),
    /// Anything else.
    Other(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

/// Looks names of servers up, and waits for it; an error says which one cannot be.
pub type LookUp = Box<dyn Fn(&[Unresolved]) -> Result<(), String> + Send + Sync>;

/// Called with settings before they are in force; an error keeps them from being published.
///
/// It runs while the store is locked: it may read [`Store::current`], which is still the old state,
/// but must not call anything else of the store.
pub type Hook = Box<dyn Fn(&Published) -> Result<(), Refusal> + Send + Sync>;

/// Why a change was not made. Everything is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What would come out is not valid.
    #[error("{0}")]
    Invalid(#[from] Problems),
    /// The engine cannot work with it.
    #[error("the settings are valid but cannot be put in force: {0}")]
    Refused(String),
    /// Names of servers have to be looked up before; [`Store::make`] does.
    #[error("names of servers have not been looked up yet: {}", addresses(.0))]
    Unresolved(Vec<Unresolved>),
    /// There is no such override, or it has ended.
    #[error("there is no override {0:?}: it never existed or has ended")]
    NoOverride(String),
    /// Someone else changed settings in between.
    #[error("the settings are at revision {current}, not at {expected}: read them again")]
    Stale {
        /// The revision in force.
        current: u64,
        /// The revision that the change was made for.
        expected: u64,
    },
    /// There is no such revision, or it is too old.
    #[error("revision {0} is not known: only the last 1000 are kept, and none of before the start")]
    NoRevision(u64),
    /// There is no such upstream.
    #[error("there is no upstream {0:?}: the configuration file creates them")]
    NoUpstream(String),
    /// An upstream has no such server.
    #[error(
        "upstream {upstream:?} has no server {address:?} (addresses as the settings have them)"
    )]
    NoServer {
        /// The upstream.
        upstream: String,
        /// The server's address.
        address: String,
    },
    /// An upstream has such a server already.
    #[error("the server {0:?} is there already")]
    ServerExists(String),
    /// The settings could not be written to the configuration file.
    #[error(transparent)]
    NotSaved(#[from] SaveError),
    /// Too many overrides at once.
    #[error("there are {MAX_OVERRIDES} overrides already, and there may be no more at once")]
    TooMany,
}

/// A change that was made, or with `dry_run` would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Number of the settings in force now.
    pub revision: u64,
    /// What is different from before.
    pub diff: Vec<Change>,
    /// Fields that overrides have lost to the change.
    pub superseded: Vec<Superseded>,
}

/// What a reload of the file did.
#[derive(Debug, Clone, PartialEq)]
pub struct Reloaded {
    /// Number of the settings in force now.
    pub revision: u64,
    /// What is different from before.
    pub diff: Vec<Change>,
    /// Whether the routes are different from before.
    pub routes_changed: bool,
    /// Fields that the file changes without effect, because a patch or an override holds them.
    pub shadowed: Vec<String>,
}

/// Conditions of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Make the change only when the settings still have this number.
    pub expected: Option<u64>,
    /// Check and compare, but change nothing.
    pub dry_run: bool,
}

/// Whether a change is made or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    DryRun,
}

impl From<Conditions> for Kind {
    fn from(conditions: Conditions) -> Self {
        if conditions.dry_run {
            Self::DryRun
        } else {
            Self::Publish
        }
    }
}

/// What changes together.
pub(super) struct State {
    pub(super) layers: Layers,
    revisions: Revisions,
    hooks: Vec<Hook>,
    pub(super) source: Option<SourceFile>,
}

impl State {
    /// The settings without overrides at a revision.
    pub(super) fn lasting_at(&self, revision: u64) -> Option<Arc<Settings>> {
        self.revisions.lasting(revision)
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unresolved(servers) => Self::Unresolved(servers),
            Refusal::Other(reason) => Self::Refused(reason),
        }
    }
}

/// How often [`Store::make`] looks names up for one change: another change may bring new ones.
const LOOK_UPS: usize = 3;

/// How many events a reader may be behind before it loses some.
const EVENTS: usize = 256;

/// The settings in force and their layers. Readers never wait.
pub struct Store {
    current: ArcSwap<Published>,
    state: Mutex<State>,
    changed: Notify,
    events: broadcast::Sender<Event>,
    look_up: OnceLock<LookUp>,
    /// One save at a time.
    saving: Mutex<()>,
    clock: Arc<dyn Clock>,
}

impl Store {
    /// A store whose lowest layer is the file, with the file's routes; revision 1.
    ///
    /// # Errors
    /// When the settings are not valid.
    pub fn new(file: &Settings, routes: Arc<[Route]>) -> Result<Self, Problems> {
        Self::with_clock(file, routes, Arc::new(SystemClock))
    }

    /// As [`Store::new`], with another clock.
    ///
    /// # Errors
    /// When the settings are not valid.
    pub fn with_clock(
        file: &Settings,
        routes: Arc<[Route]>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Problems> {
        file.validate()?;
        let mut revisions = Revisions::default();
        revisions.add(
            1,
            clock.wall(),
            Author::new("start", "configuration file"),
            Vec::new(),
            file.clone(),
        );
        Ok(Self {
            current: ArcSwap::from_pointee(Published {
                revision: 1,
                settings: Arc::new(file.clone()),
                routes: Arc::clone(&routes),
            }),
            state: Mutex::new(State {
                layers: Layers::new(file, routes),
                revisions,
                hooks: Vec::new(),
                source: None,
            }),
            changed: Notify::new(),
            events: broadcast::Sender::new(EVENTS),
            look_up: OnceLock::new(),
            saving: Mutex::new(()),
            clock,
        })
    }

    /// The settings in force.
    #[must_use]
    pub fn current(&self) -> Arc<Published> {
        self.current.load_full()
    }

    /// Number of the settings in force.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.current.load().revision
    }

    /// Calls `hook` now, and before every later publication.
    ///
    /// # Errors
    /// When the hook refuses the settings in force; it is not kept then.
    pub fn on_publish(&self, hook: Hook) -> Result<(), StoreError> {
        let mut state = self.lock();
        hook(&self.current.load())?;
        state.hooks.push(hook);
        Ok(())
    }

    /// Says how [`Store::make`] looks names up. Only the first one counts.
    pub fn on_unresolved(&self, look_up: LookUp) {
        // An error only says that there is one already.
        let _ = self.look_up.set(look_up);
    }

    /// Makes a change that may need names of servers looked up: while that lasts, the store is not
    /// locked, and what else changes goes on. May wait: not for a thread that others wait for.
    ///
    /// # Errors
    /// Those of the change; [`StoreError::Refused`] when a name cannot be looked up.
    pub fn make<T>(
        &self,
        change: impl Fn(&Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..LOOK_UPS {
            match (change(self), self.look_up.get()) {
                (Err(StoreError::Unresolved(servers)), Some(look_up)) => {
                    look_up(&servers).map_err(StoreError::Refused)?;
                }
                (done, _) => return done,
            }
        }
        change(self)
    }

    /// The settings in force with the layer that each changed field comes from.
    #[must_use]
    pub fn view(&self) -> SettingsView {
        let state = self.lock();
        let current = self.current.load();
        SettingsView {
            revision: current.revision,
            effective: current.settings.to_json(),
            sources: state.layers.sources(),
        }
    }

    /// The last revisions, newest first.
    #[must_use]
    pub fn revisions(&self, most: usize) -> Vec<RevisionView> {
        self.lock().revisions.view(most)
    }

    /// Changes settings until the proxy stops. A patch wins over overrides: see the
    /// [module](super).
    ///
    /// # Errors
    /// When the patch or what would come out is not valid, another change came in between, or the
    /// engine refuses.
    pub fn patch(
        &self,
        patch: &Value,
        author: Author,
        conditions: Conditions,
    ) -> Result<Changed, StoreError> {
        let mut state = self.lock();
        self.expect(conditions)?;
        let leaves = self.leaves(patch)?;
        if leaves.is_empty() {
            return Ok(self.unchanged());
        }
        let mut layers = state.layers.clone();
        let superseded = layers.patch(leaves);
        layers.effective_lasting()?;
        let mut changed = self.commit(&mut state, layers, author, conditions.into())?;
        changed.superseded = superseded;
        Ok(changed)
    }

    /// Takes every patch back: what is left is the file and the overrides.
    ///
    /// # Errors
    /// When what would come out is not valid, another change came in between, or the engine refuses.
    pub fn discard_patches(
        &self,
        author: Author,
        conditions: Conditions,
    ) -> Result<Changed, StoreError> {
        let mut state = self.lock();
        self.expect(conditions)?;
        let mut layers = state.layers.clone();
        layers.patch = Leaves::new();
        self.commit(&mut state, layers, author, conditions.into())
    }

    /// Replaces the lowest layer and the routes, or only says what would come of it. Patches and
    /// overrides stay.
    ///
    /// # Errors
    /// When a patch or an override has no place in the new file or is not valid together with it, or
    /// the engine refuses; nothing changes then.
    pub fn reload(
        &self,
        file: &Settings,
        routes: &[Route],
        author: Author,
        dry_run: bool,
    ) -> Result<Reloaded, StoreError> {
        file.validate()?;
        let mut state = self.lock();
        let mut layers = state.layers.clone();
        let routes_changed = *layers.routes != *routes;
        if routes_changed {
            layers.routes = routes.into();
        }
        let old = std::mem::replace(&mut layers.file, file.to_json());
        Problems::none_or(homeless(&layers))?;
        layers.effective_lasting()?;
        let shadowed = layers.shadowed(&old);
        let kind = if dry_run { Kind::DryRun } else { Kind::Publish };
        let changed = self.commit(&mut state, layers, author, kind)?;
        Ok(Reloaded {
            revision: changed.revision,
            diff: changed.diff,
            routes_changed,
            shadowed,
        })
    }

    /// What happens from now on. A reader that is more than 256 events behind loses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Tells the readers of events, if there are any.
    pub fn tell(&self, event: Event) {
        // An error only says that there is none.
        let _ = self.events.send(event);
    }

    /// The time for people, as events and revisions have it.
    #[must_use]
    pub fn timestamp(&self) -> String {
        format_timestamp(self.clock.wall())
    }

    pub(super) fn saving(&self) -> MutexGuard<'_, ()> {
        self.saving.lock()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Signalled when the overrides have changed.
    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Checks what comes out of the layers, asks the hooks, and publishes.
    pub(super) fn commit(
        &self,
        state: &mut State,
        layers: Layers,
        author: Author,
        kind: Kind,
    ) -> Result<Changed, StoreError> {
        let settings = layers.effective()?;
        let lasting = layers.effective_lasting()?;
        let old = self.current();
        let diff = diff(&old.settings.to_json(), &settings.to_json());
        if kind == Kind::DryRun {
            return Ok(Changed {
                diff,
                ..self.unchanged()
            });
        }
        let published = Published {
            revision: old.revision + 1,
            settings: Arc::new(settings),
            routes: Arc::clone(&layers.routes),
        };
        for (n, hook) in state.hooks.iter().enumerate() {
            if let Err(reason) = hook(&published) {
                // Those that have already accepted go back; they accepted this state before.
                for hook in state.hooks.iter().take(n) {
                    let _ = hook(&old);
                }
                return Err(reason.into());
            }
        }
        let revision = published.revision;
        info!(revision, who = author.who, why = author.why, changes = %told(&diff), "settings");
        self.current.store(Arc::new(published));
        state.layers = layers;
        self.tell(Event::Settings {
            revision,
            at: self.timestamp(),
            who: author.who.clone(),
            why: author.why.clone(),
            diff: diff.clone(),
        });
        let at = self.clock.wall();
        state
            .revisions
            .add(revision, at, author, diff.clone(), lasting);
        self.changed.notify_one();
        Ok(Changed {
            revision,
            diff,
            superseded: Vec::new(),
        })
    }

    pub(super) fn expect(&self, conditions: Conditions) -> Result<(), StoreError> {
        let current = self.revision();
        match conditions.expected {
            Some(expected) if expected != current => Err(StoreError::Stale { current, expected }),
            _ => Ok(()),
        }
    }

    pub(super) fn leaves(&self, patch: &Value) -> Result<Leaves, Problems> {
        patch::leaves(patch, &self.current.load().settings.to_json())
    }

    fn unchanged(&self) -> Changed {
        Changed {
            revision: self.revision(),
            diff: Vec::new(),
            superseded: Vec::new(),
        }
    }
}

fn addresses(servers: &[Unresolved]) -> String {
    let addresses = servers.iter().map(|server| server.address.as_str());
    addresses.collect::<Vec<_>>().join(", ")
}

/// Changes in a log line.
fn told(diff: &[Change]) -> String {
    let changes = diff
        .iter()
        .map(|change| format!("{} {} -> {}", change.path, change.old, change.new));
    changes.collect::<Vec<_>>().join(", ")
}

/// Fields of patches and overrides whose rate limit or upstream the file no longer has.
fn homeless(layers: &Layers) -> Vec<Problem> {
    let patch = layers.patch.keys().map(|path| (path, "a patch".to_owned()));
    let overrides = layers.overrides.iter().flat_map(|active| {
        let holder = format!("override {}", active.told());
        active.leaves.keys().map(move |path| (path, holder.clone()))
    });
    patch
        .chain(overrides)
        .filter(|(path, _)| match path.steps() {
            [table, name, _, ..] => layers
                .file
                .get(table.to_string())
                .and_then(|table| table.get(name.to_string()))
                .is_none(),
            _ => false,
        })
        .map(|(path, holder)| {
            let message = format!("set by {holder}, but the new file does not have it");
            Problem::new(
                path.clone(),
                message,
                "keep it in the file, or end what sets it first",
            )
        })
        .collect()
}
