//! The bounded table of buckets of one limit.

use std::{thread, time::Duration};

use parking_lot::{Mutex, MutexGuard};

use super::{
    bucket::Bucket,
    lru_map::LruMap,
    policy::{Decision, Policy},
};

/// A key takes one place for every started so many bytes, which bounds the memory that long header
/// values can claim.
const BYTES_PER_PLACE: usize = 64;

/// A silent key is forgotten after this time, as in nginx, once its bucket has drained.
const EXPIRE_AFTER_MS: u64 = 60_000;

/// How many silent keys a new one clears away (nginx: two).
const EXPIRE_AT_ONCE: usize = 2;

/// How far [`Zone::top`] looks: the busiest keys are among those used last.
const TOP_SCAN: usize = 2048;

/// How many places [`Zone::set_max_keys`] takes away before it lets requests have the lock again: about a tenth of
/// a millisecond of work.
const SHRINK_STEP: usize = 512;

/// A zone with more keys than this is freed on a thread of its own.
const FREED_AT_ONCE: usize = 4096;

/// The buckets of one limit, least recently used first out when full (nginx: the `zone` of `limit_req_zone`).
///
/// One lock guards the table, as in nginx: it is held for tens of nanoseconds, and it makes the
/// bound and the order of eviction exact, which shards would only approximate. No operation holds it for long,
/// however many keys there are: the table grows and shrinks by an entry at a time. Buckets keep their level
/// whatever changes in the policy.
#[derive(Debug)]
pub struct Zone {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    buckets: LruMap<Bucket>,
    places_used: usize,
    places: usize,
    counters: Counters,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counters {
    admitted: u64,
    delayed: u64,
    rejected: u64,
    dry_run_delayed: u64,
    dry_run_rejected: u64,
    evicted: u64,
    expired: u64,
}

/// What a zone has done since it was created, and how full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ZoneStats {
    /// Requests passed without a wait.
    pub admitted: u64,
    /// Requests passed after a wait.
    pub delayed: u64,
    /// Requests turned away.
    pub rejected: u64,
    /// Requests that would have waited, had the limit not been a dry run.
    pub dry_run_delayed: u64,
    /// Requests that would have been turned away, had the limit not been a dry run.
    pub dry_run_rejected: u64,
    /// Keys dropped for want of room: a sign that `max_keys` is too small.
    pub evicted: u64,
    /// Keys dropped because they had been silent for a minute.
    pub expired: u64,
    /// Keys held now.
    pub keys: u64,
    /// Most keys held at once.
    pub max_keys: u64,
}

/// A busy key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopKey {
    /// The key's bytes; [`super::describe_key`] makes them readable.
    pub key: Vec<u8>,
    /// How far it is ahead of the rate, in thousandths of a request.
    pub excess: u64,
}

/// A level that has been looked up but not stored.
pub(super) enum Probe {
    Within,
    Over,
}

impl Zone {
    /// An empty zone that holds at most `max_keys` keys of up to 64 bytes; longer ones count several times.
    #[must_use]
    pub fn new(max_keys: u32) -> Self {
        Self {
            table: Mutex::new(Table {
                buckets: LruMap::new(),
                places_used: 0,
                places: places(max_keys),
                counters: Counters::default(),
            }),
        }
    }

    /// Decides on a request that only this limit applies to, and counts it.
    ///
    /// `now_ms` is [`super::monotonic_ms`] or a clock of the caller's. A rejected request is not charged.
    pub fn check(&self, key: &[u8], policy: &Policy, now_ms: u64) -> Decision {
        self.table.lock().check(key, policy, now_ms)
    }

    /// First of two steps when several limits apply: whether this one lets the request in.
    pub(super) fn probe(&self, key: &[u8], policy: &Policy, now_ms: u64) -> Probe {
        let mut table = self.table.lock();
        let admitted = table
            .buckets
            .get_mut(key)
            .is_none_or(|bucket| policy.admits(bucket.excess_with_one_more(policy.rate(), now_ms)));
        if admitted {
            Probe::Within
        } else {
            table.counters.over(policy);
            Probe::Over
        }
    }

    /// Second of two steps: charges a request that every limit has let in, and says how long it waits here.
    pub(super) fn charge(&self, key: &[u8], policy: &Policy, now_ms: u64) -> Duration {
        let mut table = self.table.lock();
        let wait = table.charge(key, policy, now_ms);
        table.counters.within(policy, wait)
    }

    /// How long until a request that was turned away would be let in, should no other come.
    #[must_use]
    pub fn until_admitted(&self, key: &[u8], policy: &Policy, now_ms: u64) -> Duration {
        let mut table = self.table.lock();
        table.buckets.get_mut(key).map_or(Duration::ZERO, |bucket| {
            policy.until_admitted(bucket.excess_with_one_more(policy.rate(), now_ms))
        })
    }

    /// Changes how many keys are held; shrinking drops the least recently used.
    ///
    /// Shrinking by many takes a while, as a series of small steps between which requests are decided: each sees a
    /// table within the bound of its moment. When this returns, the new bound holds.
    pub fn set_max_keys(&self, max_keys: u32) {
        let places = places(max_keys);
        let mut table = self.table.lock();
        loop {
            let surplus = table.places_used.saturating_sub(places);
            if surplus <= SHRINK_STEP {
                table.places = places;
                table.make_room(0);
                return;
            }
            table.places = table.places_used - SHRINK_STEP;
            table.make_room(0);
            // Whoever waits gets the lock now.
            MutexGuard::unlock_fair(table);
            table = self.table.lock();
        }
    }

    /// Counters and occupancy.
    #[must_use]
    pub fn stats(&self) -> ZoneStats {
        let table = self.table.lock();
        let counters = table.counters;
        ZoneStats {
            admitted: counters.admitted,
            delayed: counters.delayed,
            rejected: counters.rejected,
            dry_run_delayed: counters.dry_run_delayed,
            dry_run_rejected: counters.dry_run_rejected,
            evicted: counters.evicted,
            expired: counters.expired,
            keys: table.buckets.len() as u64,
            max_keys: table.places as u64,
        }
    }

    /// The `count` keys furthest ahead of the rate, among the 2,048 used last.
    #[must_use]
    pub fn top(&self, count: usize, policy: &Policy, now_ms: u64) -> Vec<TopKey> {
        let table = self.table.lock();
        let mut keys: Vec<(u64, &[u8])> = table
            .buckets
            .iter()
            .take(TOP_SCAN)
            .map(|(key, bucket)| (bucket.level(policy.rate(), now_ms), key))
            .collect();
        keys.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        keys.truncate(count);
        keys.into_iter()
            .map(|(excess, key)| TopKey {
                key: key.to_vec(),
                excess,
            })
            .collect()
    }
}

impl Drop for Zone {
    /// The last request under older settings may be what drops a zone, and must not pay for a million keys.
    fn drop(&mut self) {
        let buckets = std::mem::replace(&mut self.table.get_mut().buckets, LruMap::new());
        if buckets.len() > FREED_AT_ONCE {
            // Without a thread it is freed here.
            let _ = thread::Builder::new().spawn(move || drop(buckets));
        }
    }
}

// === impl Table ===

impl Table {
    fn check(&mut self, key: &[u8], policy: &Policy, now_ms: u64) -> Decision {
        let wait = match self.buckets.get_mut(key) {
            Some(bucket) => {
                let excess = bucket.excess_with_one_more(policy.rate(), now_ms);
                if !policy.admits(excess) {
                    self.counters.over(policy);
                    return if policy.is_dry_run() {
                        Decision::Admit
                    } else {
                        Decision::Reject
                    };
                }
                bucket.charge(excess, now_ms);
                policy.wait(excess)
            }
            None => self.insert(key, policy, now_ms),
        };
        match self.counters.within(policy, wait) {
            Duration::ZERO => Decision::Admit,
            wait => Decision::Delay(wait),
        }
    }

    fn charge(&mut self, key: &[u8], policy: &Policy, now_ms: u64) -> Duration {
        match self.buckets.get_mut(key) {
            Some(bucket) => {
                let excess = bucket.excess_with_one_more(policy.rate(), now_ms);
                bucket.charge(excess, now_ms);
                policy.wait(excess)
            }
            None => self.insert(key, policy, now_ms),
        }
    }

    fn insert(&mut self, key: &[u8], policy: &Policy, now_ms: u64) -> Duration {
        self.expire(policy, now_ms);
        let needed = places_of(key).min(self.places);
        let bucket = Bucket::first(now_ms);
        self.make_room_but_one(needed);
        if self.lacks(needed) && !self.buckets.is_empty() {
            self.release_oldest();
            self.counters.evicted += 1;
            self.buckets.replace_oldest(key, bucket);
        } else {
            self.buckets.insert(key, bucket);
        }
        self.places_used += places_of(key);
        Duration::ZERO
    }

    /// Forgets up to two keys at the far end that nobody will miss.
    fn expire(&mut self, policy: &Policy, now_ms: u64) {
        for _ in 0..EXPIRE_AT_ONCE {
            match self.buckets.oldest() {
                Some((_, bucket)) if bucket.is_spent(policy.rate(), EXPIRE_AFTER_MS, now_ms) => {
                    self.drop_oldest();
                    self.counters.expired += 1;
                }
                _ => return,
            }
        }
    }

    fn lacks(&self, needed: usize) -> bool {
        self.places_used + needed > self.places
    }

    /// Drops the least recently used keys until `needed` places are free.
    fn make_room(&mut self, needed: usize) {
        while self.lacks(needed) && !self.buckets.is_empty() {
            self.drop_oldest();
            self.counters.evicted += 1;
        }
    }

    /// The same, save for the last key that has to go: the new one takes its place in the table.
    fn make_room_but_one(&mut self, needed: usize) {
        while let Some((key, _)) = self.buckets.oldest() {
            let released = self.places_used.saturating_sub(places_of(key));
            if released + needed <= self.places {
                return;
            }
            self.drop_oldest();
            self.counters.evicted += 1;
        }
    }

    fn drop_oldest(&mut self) {
        self.release_oldest();
        self.buckets.pop_oldest();
    }

    /// Gives the places of the least recently used key back.
    fn release_oldest(&mut self) {
        if let Some((key, _)) = self.buckets.oldest() {
            self.places_used = self.places_used.saturating_sub(places_of(key));
        }
    }
}

// === impl Counters ===

impl Counters {
    fn over(&mut self, policy: &Policy) {
        if policy.is_dry_run() {
            self.dry_run_rejected += 1;
        } else {
            self.rejected += 1;
        }
    }

    /// Counts a request that was let in, and returns the wait that is really imposed.
    fn within(&mut self, policy: &Policy, wait: Duration) -> Duration {
        if wait.is_zero() {
            self.admitted += 1;
        } else if policy.is_dry_run() {
            self.dry_run_delayed += 1;
        } else {
            self.delayed += 1;
            return wait;
        }
        Duration::ZERO
    }
}

fn places(max_keys: u32) -> usize {
    usize::try_from(max_keys.max(1)).unwrap_or(usize::MAX)
}

fn places_of(key: &[u8]) -> usize {
    key.len().div_ceil(BYTES_PER_PLACE).max(1)
}
