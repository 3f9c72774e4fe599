//! Active health checks: what they make of a server, and when the next is due.
//!
//! - [`Standing`]: the state machine of one server, nothing else.
//! - [`Checks`]: what is known about one server; holds the one flag that balancing reads.
//! - [`CheckResult`]: how a check ended.
//! - [`Schedule`]: when which server is checked, spread so that many are not asked in step.
//!
//! Who connects and asks is the engine. The rules, and how they go together with `max_fails`, `down` and
//! `backup`: `docs/guide/health-checks.md`.

mod checks;
mod result;
mod schedule;
mod standing;

pub use checks::{CheckView, Checks};
pub use result::CheckResult;
pub use schedule::Schedule;
pub use standing::{Standing, Thresholds};

/// What a check changed about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It takes no new requests from now on.
    Out,
    /// It takes requests again.
    Back,
}
