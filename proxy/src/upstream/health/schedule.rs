//! When which server is checked.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::{Duration, Instant},
};

/// The most by which the first check of a server is put off.
const FIRST_WITHIN: Duration = Duration::from_millis(500);
/// By how much of itself an interval is longer or shorter.
const SPREAD: f64 = 0.1;

/// When which server is checked. A server is never checked twice at once: a check that takes longer than the
/// interval puts the next one off.
///
/// `K` tells servers apart; `T` is what a check needs to know. `chance` gives numbers from 0 (included) to 1.
pub struct Schedule<K, T> {
    entries: HashMap<K, Entry<T>>,
    chance: Box<dyn FnMut() -> f64 + Send>,
}

#[derive(Debug)]
struct Entry<T> {
    target: T,
    interval: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Since then or, for a server not checked yet, none.
    Waiting {
        last: Option<Instant>,
        due: Instant,
    },
    Running {
        since: Instant,
    },
}

/// What another list of servers has changed.
#[derive(Debug)]
pub struct Followed<T> {
    /// Checked from now on.
    pub new: Vec<T>,
    /// Not checked any more.
    pub gone: Vec<T>,
}

impl<K: Eq + Hash + Clone, T: Clone> Schedule<K, T> {
    /// Nothing to check yet.
    pub fn new(chance: impl FnMut() -> f64 + Send + 'static) -> Self {
        Self {
            entries: HashMap::new(),
            chance: Box::new(chance),
        }
    }

    /// Checks these from now on, each at its interval, and no others. One with another interval than before is
    /// due that much after its last check.
    pub fn follow(
        &mut self,
        wanted: impl IntoIterator<Item = (K, T, Duration)>,
        now: Instant,
    ) -> Followed<T> {
        let mut kept = HashSet::new();
        let mut new = Vec::new();
        for (key, target, interval) in wanted {
            kept.insert(key.clone());
            let Some(entry) = self.entries.get_mut(&key) else {
                new.push(target.clone());
                let due = now + interval.min(FIRST_WITHIN).mul_f64((self.chance)());
                let state = State::Waiting { last: None, due };
                let entry = Entry {
                    target,
                    interval,
                    state,
                };
                self.entries.insert(key, entry);
                continue;
            };
            entry.target = target;
            if entry.interval != interval {
                entry.interval = interval;
                if let State::Waiting {
                    last: Some(last),
                    due,
                } = &mut entry.state
                {
                    *due = *last + jittered(interval, (self.chance)());
                }
            }
        }
        let gone = self.entries.extract_if(|key, _| !kept.contains(key));
        let gone = gone.map(|(_, entry)| entry.target).collect();
        Followed { new, gone }
    }

    /// When the next check is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let due = self.entries.values().filter_map(|entry| match entry.state {
            State::Waiting { due, .. } => Some(due),
            State::Running { .. } => None,
        });
        due.min()
    }

    /// Starts what is due.
    pub fn start(&mut self, now: Instant) -> Vec<(K, T)> {
        let mut started = Vec::new();
        for (key, entry) in &mut self.entries {
            if matches!(entry.state, State::Waiting { due, .. } if due <= now) {
                entry.state = State::Running { since: now };
                started.push((key.clone(), entry.target.clone()));
            }
        }
        started
    }

    /// A check has ended. Returns what is known about its server now; none if it is not to be checked any more,
    /// and the result does not count.
    pub fn finish(&mut self, key: &K, now: Instant) -> Option<T> {
        let entry = self.entries.get_mut(key)?;
        let State::Running { since } = entry.state else {
            return None;
        };
        let due = since + jittered(entry.interval, (self.chance)());
        entry.state = State::Waiting {
            last: Some(since),
            due: due.max(now),
        };
        Some(entry.target.clone())
    }
}

fn jittered(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * chance)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// In the middle: no jitter, and half of the first delay.
    fn middle() -> Schedule<u32, &'static str> {
        Schedule::new(|| 0.5)
    }

    #[test]
    fn a_server_is_checked_soon_and_then_at_its_interval() {
        let (mut schedule, start) = (middle(), Instant::now());
        assert_eq!(schedule.next_due(), None);
        let followed = schedule.follow([(1, "a", SECOND)], start);
        assert_eq!(followed.new, ["a"]);
        assert_eq!(schedule.next_due(), Some(start + ms(250)));
        assert!(schedule.start(start).is_empty());
        assert_eq!(schedule.start(start + ms(250)), [(1, "a")]);
        assert_eq!(schedule.next_due(), None, "never twice at once");
        assert_eq!(schedule.finish(&1, start + ms(260)), Some("a"));
        assert_eq!(schedule.next_due(), Some(start + ms(1250)));
        assert_eq!(schedule.start(start + ms(1250)).len(), 1);
        // Longer than the interval.
        schedule.finish(&1, start + ms(3000));
        assert_eq!(schedule.next_due(), Some(start + ms(3000)));
    }

    #[test]
    fn another_interval_counts_from_the_last_check() {
        let (mut schedule, start) = (middle(), Instant::now());
        schedule.follow([(1, "a", 60 * SECOND)], start);
        schedule.start(start + SECOND);
        schedule.finish(&1, start + SECOND);
        assert_eq!(schedule.next_due(), Some(start + 61 * SECOND));
        let followed = schedule.follow([(1, "b", 2 * SECOND)], start + 10 * SECOND);
        assert!(followed.new.is_empty() && followed.gone.is_empty());
        assert_eq!(schedule.next_due(), Some(start + 3 * SECOND));
        assert_eq!(schedule.start(start + 10 * SECOND), [(1, "b")]);
        // While it runs: counts for the next one.
        schedule.follow([(1, "b", 5 * SECOND)], start + 11 * SECOND);
        schedule.finish(&1, start + 11 * SECOND);
        assert_eq!(schedule.next_due(), Some(start + 15 * SECOND));
    }

    #[test]
    fn the_result_for_a_server_that_is_gone_does_not_count() {
        let (mut schedule, start) = (middle(), Instant::now());
        schedule.follow([(1, "a", SECOND), (2, "b", SECOND)], start);
        assert_eq!(schedule.start(start + SECOND).len(), 2);
        assert_eq!(schedule.follow([(2, "b", SECOND)], start).gone, ["a"]);
        assert_eq!(schedule.finish(&1, start + SECOND), None);
        assert_eq!(schedule.finish(&2, start + SECOND), Some("b"));
        // And back again, it is a new one; the old check is not its own.
        schedule.follow([(1, "a", SECOND), (2, "b", SECOND)], start + SECOND);
        assert_eq!(schedule.finish(&1, start + SECOND), None);
    }

    proptest! {
        #[test]
        fn checks_stay_near_their_interval_and_drift_apart(
            interval in 100..10_000_u64, chances in vec(0.0..1.0_f64, 1..20)
        ) {
            let (start, interval) = (Instant::now(), ms(interval));
            let mut given = chances.clone().into_iter().cycle();
            let mut schedule = Schedule::new(move || given.next().unwrap_or_default());
            schedule.follow([(1, "a", interval)], start);
            let mut before = schedule.next_due().unwrap();
            prop_assert!(before - start <= interval.min(FIRST_WITHIN));
            for _ in 0..chances.len() {
                prop_assert_eq!(schedule.start(before).len(), 1);
                schedule.finish(&1, before);
                let due = schedule.next_due().unwrap();
                let apart = (due - before).as_secs_f64() / interval.as_secs_f64();
                prop_assert!((0.899..=1.101).contains(&apart), "{}", apart);
                before = due;
            }
        }
    }
}
