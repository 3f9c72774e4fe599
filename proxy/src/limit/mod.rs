//! Request rate limits with the arithmetic of nginx's `limit_req`.
//!
//! - [`Bucket`]: one key's level and the arithmetic, nothing else.
//! - [`Policy`]: rate, burst and delay. Passed to every check, so that a change of settings takes
//!   effect with the next request and leaves the levels as they are.
//! - [`Zone`]: the bounded table of buckets of one limit, with its counters.
//! - [`Zones`]: the zones by name; their state outlives any change of settings.
//! - [`KeyBuf`]: what a request is counted by, as bytes.
//!
//! Source of the arithmetic: the documentation and behaviour of `ngx_http_limit_req_module`, held
//! to the real nginx by the end-to-end tests. Why `governor` is the oracle of the property tests
//! and not the engine: `docs/decisions/0002-rate-limiter.md`.

mod bucket;
mod key;
mod lru_map;
mod policy;
mod segments;
mod zone;
mod zones;

#[cfg(test)]
mod tests;

pub use bucket::Bucket;
pub use key::{KeyBuf, KeySource, build_key, describe_key};
pub use policy::{Decision, Delay, Policy};
pub use zone::{TopKey, Zone, ZoneStats};
pub use zones::{Check, Limit, Verdict, Zones, check_all, check_request, retry_after};

/// Milliseconds on this process's monotonic clock, the time base of limits and server health.
///
/// Starts at an arbitrary value and never goes back.
#[must_use]
pub fn monotonic_ms() -> u64 {
    monotonic_ms_at(std::time::Instant::now())
}

/// What [`monotonic_ms`] says at `now`.
#[must_use]
pub fn monotonic_ms_at(now: std::time::Instant) -> u64 {
    use std::{sync::OnceLock, time::Instant};

    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = now.saturating_duration_since(*START.get_or_init(|| now));
    elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis())
}
