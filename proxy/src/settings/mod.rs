//! What may change while the proxy runs: layers, publication, revisions, temporary overrides.
//!
//! Layers, lowest first: the file with its defaults, patches (`PATCH /v1/settings`), temporary
//! overrides in the order of their creation. The settings in force are all of them, merged; a change
//! is checked as a whole and published with one pointer swap, so a request that holds a
//! [`Published`] sees one state from start to end.
//!
//! Rules that one may trip over:
//!
//! - **A patch wins over an override.** A patch is the later word of an operator, so it is in force at
//!   once, also on a field that an override holds. The override loses that field (its owner reads so
//!   under `superseded` when it renews), and what the patch set outlives the override.
//! - **An override takes away only itself.** When it ends, each of its fields shows what lies below:
//!   an earlier override, a patch, or the file.
//! - **Patches and overrides are in memory.** A restart begins with the file; [`Store::save`] writes
//!   what the patches say into it.
//! - **Rolling back concerns what lasts.** [`Store::rollback`] replaces the patches; overrides stay.
//! - **Names are made in the file.** A patch changes rate limits and upstreams that exist.

mod clock;
mod expiry;
mod file;
mod layers;
mod overrides;
pub mod paths;
mod revision;
mod rollback;
mod servers;
mod store;
mod temporary;

pub use clock::{Clock, SystemClock};
pub use file::{SaveError, Saved};
pub use overrides::{MAX_OVERRIDES, MAX_TTL, MIN_TTL, NewOverride};
pub use revision::Author;
pub use servers::ServerChange;
pub use store::{
    Changed, Conditions, Hook, LookUp, Published, Refusal, Reloaded, Store, StoreError, Unresolved,
};

#[cfg(test)]
mod tests;
