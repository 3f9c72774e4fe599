//! What is known about one server.

use std::sync::atomic::{
    AtomicI64, AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};

use super::health::Checks;

/// A time that lies before every other.
const NEVER: i64 = i64::MIN / 2;

/// The live figures of one server of a group. They outlive changes of settings.
///
/// The balancing figures change only under the lock of the group; they are atomics so that several revisions
/// of the settings can share them, and so that readers need no lock.
#[derive(Debug)]
pub struct ServerState {
    in_flight: AtomicU32,
    current_weight: AtomicI64,
    effective_weight: AtomicI64,
    configured_weight: AtomicI64,
    fails: AtomicU32,
    /// Time of the last failure.
    failed_ms: AtomicI64,
    /// Start of the present `fail_timeout`: the last failure, or the last pick after it ran out.
    checked_ms: AtomicI64,
    requests: AtomicU64,
    failures: AtomicU64,
    /// What health checks have told.
    pub checks: Checks,
    /// Upkeep of the connections to this server, by the engine.
    pub connections: Connections,
}

/// Connections to one server, counted by whoever opens, reuses and parks them.
#[derive(Debug, Default)]
pub struct Connections {
    /// Connections opened since the start.
    pub opened: AtomicU64,
    /// Requests sent over a connection that had served one before.
    pub reused: AtomicU64,
    /// Connections open and unused now.
    pub idle: AtomicU32,
}

// === impl ServerState ===

impl ServerState {
    pub(super) fn new(weight: i64) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            current_weight: AtomicI64::new(0),
            effective_weight: AtomicI64::new(weight),
            configured_weight: AtomicI64::new(weight),
            fails: AtomicU32::new(0),
            failed_ms: AtomicI64::new(NEVER),
            checked_ms: AtomicI64::new(NEVER),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            checks: Checks::default(),
            connections: Connections::default(),
        }
    }

    /// Requests in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Requests sent here since the start, retries included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Failures since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Failures that count towards `max_fails` now.
    #[must_use]
    pub fn fails(&self) -> u32 {
        self.fails.load(Relaxed)
    }

    /// Time of the last failure, in milliseconds of the caller's clock.
    #[must_use]
    pub fn last_failure_ms(&self) -> Option<u64> {
        u64::try_from(self.failed_ms.load(Relaxed)).ok()
    }

    /// Whether the server rests after failures, and until when (milliseconds of the caller's clock).
    #[must_use]
    pub(super) fn rests_until(
        &self,
        max_fails: u32,
        fail_timeout_ms: i64,
        now_ms: i64,
    ) -> Option<i64> {
        if max_fails == 0 || self.fails.load(Relaxed) < max_fails {
            return None;
        }
        let until = self
            .checked_ms
            .load(Relaxed)
            .saturating_add(fail_timeout_ms);
        (now_ms <= until).then_some(until)
    }

    // The rest runs under the group's lock.

    pub(super) fn effective_weight(&self) -> i64 {
        self.effective_weight.load(Relaxed)
    }

    pub(super) fn add_current_weight(&self, by: i64) -> i64 {
        let weight = self.current_weight.load(Relaxed) + by;
        self.current_weight.store(weight, Relaxed);
        weight
    }

    /// One step back to the configured weight after failures.
    pub(super) fn recover_weight(&self, weight: i64) {
        let effective = self.effective_weight.load(Relaxed);
        if effective < weight {
            self.effective_weight.store(effective + 1, Relaxed);
        }
    }

    pub(super) fn reset_current_weight(&self) {
        self.current_weight.store(0, Relaxed);
    }

    /// Takes over a configured weight; true if it is a new one.
    pub(super) fn configure_weight(&self, weight: i64) -> bool {
        let changed = self.configured_weight.swap(weight, Relaxed) != weight;
        if changed {
            self.effective_weight.store(weight, Relaxed);
        }
        changed
    }

    pub(super) fn start(&self, fail_timeout_ms: i64, now_ms: i64) {
        if now_ms - self.checked_ms.load(Relaxed) > fail_timeout_ms {
            self.checked_ms.store(now_ms, Relaxed);
        }
        self.in_flight.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn fail(&self, weight: i64, max_fails: u32, now_ms: i64) {
        self.fails
            .store(self.fails.load(Relaxed).saturating_add(1), Relaxed);
        self.failed_ms.store(now_ms, Relaxed);
        self.checked_ms.store(now_ms, Relaxed);
        if max_fails > 0 {
            let lowered = self.effective_weight.load(Relaxed) - weight / i64::from(max_fails);
            self.effective_weight.store(lowered.max(0), Relaxed);
        }
    }

    /// After an answer: forgets the failures if the request was the trial after a rest.
    pub(super) fn recover(&self) {
        if self.failed_ms.load(Relaxed) < self.checked_ms.load(Relaxed) {
            self.fails.store(0, Relaxed);
        }
    }

    /// Forgets the failures, whatever the time: health checks have brought the server back.
    pub(super) fn forgive(&self) {
        self.fails.store(0, Relaxed);
        let weight = self.configured_weight.load(Relaxed);
        self.effective_weight.store(weight, Relaxed);
    }

    // The rest needs no lock.

    pub(super) fn count_failure(&self, now_ms: i64) {
        self.failures.fetch_add(1, Relaxed);
        self.failed_ms.fetch_max(now_ms, Relaxed);
    }

    pub(super) fn finish(&self) {
        self.in_flight.fetch_sub(1, Release);
    }
}
