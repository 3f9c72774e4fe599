//! The zones by name, and the check of a request against all its limits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use smallvec::SmallVec;
use weir_api::settings::{LimitKey, RateLimit};

use super::{
    key::{KeyBuf, KeySource, build_key},
    policy::{Decision, Delay, Policy},
    zone::{Probe, Zone},
};

/// The zones by name. A zone, with the levels of its keys, outlives changes of its settings; only a
/// change of what is counted starts it anew, since the old keys would mean something else.
#[derive(Debug, Default)]
pub struct Zones {
    zones: Mutex<HashMap<String, Known>>,
}

/// A zone and what it counts by.
type Known = (Vec<LimitKey>, Arc<Zone>);

/// One rate limit, ready for use: its policy of this moment and its lasting zone.
#[derive(Debug, Clone)]
pub struct Limit {
    /// The limit's name in the settings.
    pub name: String,
    /// Its buckets.
    pub zone: Arc<Zone>,
    /// Its rate, burst and delay.
    pub policy: Policy,
    /// What it counts by.
    pub key: Vec<LimitKey>,
    /// Status of a rejection.
    pub status: u16,
    /// Off: every request passes and nothing is counted.
    pub enabled: bool,
}

/// A limit as it applies to one request.
#[derive(Debug, Clone, Copy)]
pub struct Check<'a> {
    /// The limit's buckets.
    pub zone: &'a Zone,
    /// The limit's policy.
    pub policy: &'a Policy,
    /// What the request is counted by.
    pub key: &'a [u8],
}

/// The decision on a request, and which of its limits was decisive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What to do.
    pub decision: Decision,
    /// The position of the limit that rejects, or that demands the longest wait.
    pub by: Option<usize>,
}

// === impl Zones ===

impl Zones {
    /// The limits of new settings. Zones that are named again keep their state, others are dropped.
    pub fn apply(&self, settings: &BTreeMap<String, RateLimit>) -> BTreeMap<String, Arc<Limit>> {
        let mut zones = self.zones.lock();
        zones.retain(|name, (key, _)| settings.get(name).is_some_and(|limit| limit.key == *key));
        settings
            .iter()
            .map(|(name, limit)| {
                let (_, zone) = zones
                    .entry(name.clone())
                    .or_insert_with(|| (limit.key.clone(), Arc::new(Zone::new(limit.max_keys))));
                zone.set_max_keys(limit.max_keys);
                let limit = Limit {
                    name: name.clone(),
                    zone: Arc::clone(zone),
                    policy: Policy::from(limit),
                    key: limit.key.clone(),
                    status: limit.status,
                    enabled: limit.enabled,
                };
                (name.clone(), Arc::new(limit))
            })
            .collect()
    }
}

impl From<&RateLimit> for Policy {
    fn from(limit: &RateLimit) -> Self {
        let delay = if limit.nodelay {
            Delay::Never
        } else {
            Delay::After(limit.delay.unwrap_or(0))
        };
        Policy::new(limit.rate, limit.burst, delay).dry_run(limit.dry_run)
    }
}

// === impl Verdict ===

impl Verdict {
    const ADMIT: Self = Self {
        decision: Decision::Admit,
        by: None,
    };

    fn new(decision: Decision, by: usize) -> Self {
        let by = (decision != Decision::Admit).then_some(by);
        Self { decision, by }
    }
}

/// Decides on a request under the limits of its route, in order. `by` of the verdict is a position in `limits`.
///
/// Limits that are off, or whose key the request has no value for, do not apply.
pub fn check_request(limits: &[Arc<Limit>], source: &impl KeySource, now_ms: u64) -> Verdict {
    let applies = |limit: &Limit| {
        limit
            .enabled
            .then(|| build_key(&limit.key, source))
            .flatten()
    };
    if let [limit] = limits {
        return applies(limit).map_or(Verdict::ADMIT, |key| {
            Verdict::new(limit.zone.check(&key, &limit.policy, now_ms), 0)
        });
    }
    let keys: SmallVec<[(usize, &Limit, KeyBuf); 4]> = limits
        .iter()
        .enumerate()
        .filter_map(|(at, limit)| applies(limit).map(|key| (at, &**limit, key)))
        .collect();
    let checks: SmallVec<[Check<'_>; 4]> = keys
        .iter()
        .map(|(_, limit, key)| Check {
            zone: &limit.zone,
            policy: &limit.policy,
            key,
        })
        .collect();
    let verdict = check_all(&checks, now_ms);
    Verdict {
        by: verdict.by.and_then(|at| keys.get(at)).map(|(at, _, _)| *at),
        ..verdict
    }
}

/// In how many whole seconds a request that `limit` has turned away would be let in, at least 1. None if the
/// limit does not apply to it.
#[must_use]
pub fn retry_after(limit: &Limit, source: &impl KeySource, now_ms: u64) -> Option<u64> {
    let key = build_key(&limit.key, source)?;
    let wait = limit.zone.until_admitted(&key, &limit.policy, now_ms);
    Some(
        u64::try_from(wait.as_millis().div_ceil(1000))
            .unwrap_or(u64::MAX)
            .max(1),
    )
}

/// Decides on a request that several limits apply to, as nginx does: the first that is exceeded rejects
/// it and then none is charged; otherwise all are, and the longest wait counts.
///
/// As in nginx, the last limit is checked and charged in one step, the others in two. Threads that race
/// between the steps may each let one request in above the burst; it is charged, so the rate holds.
pub fn check_all(checks: &[Check<'_>], now_ms: u64) -> Verdict {
    let Some((last, earlier)) = checks.split_last() else {
        return Verdict::ADMIT;
    };
    // A dry run that would have rejected does not charge the request. More than 64 limits on one
    // request would only cost the rest of them this precision.
    let mut uncharged = 0_u64;
    for (at, check) in earlier.iter().enumerate() {
        if let Probe::Over = check.zone.probe(check.key, check.policy, now_ms) {
            if !check.policy.is_dry_run() {
                return Verdict::new(Decision::Reject, at);
            }
            uncharged |= 1_u64.checked_shl(at as u32).unwrap_or(0);
        }
    }
    let mut verdict = Verdict::new(
        last.zone.check(last.key, last.policy, now_ms),
        earlier.len(),
    );
    let mut longest = match verdict.decision {
        Decision::Reject => return verdict,
        Decision::Delay(wait) => wait,
        Decision::Admit => Duration::ZERO,
    };
    for (at, check) in earlier.iter().enumerate() {
        if uncharged & 1_u64.checked_shl(at as u32).unwrap_or(0) != 0 {
            continue;
        }
        let wait = check.zone.charge(check.key, check.policy, now_ms);
        if wait > longest {
            longest = wait;
            verdict = Verdict::new(Decision::Delay(wait), at);
        }
    }
    verdict
}
