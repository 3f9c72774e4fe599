//! The table of a zone against simple models, and what a single operation costs.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use super::{super::lru_map::LruMap, *};

/// More entries in one bucket than this do not come about by chance.
const MOST_MOVED: u64 = 40;

/// A zone as a list, most recently used first.
struct Model {
    places: usize,
    entries: VecDeque<(Vec<u8>, Bucket)>,
    evicted: u64,
    expired: u64,
}

impl Model {
    fn used(&self) -> usize {
        self.entries.iter().map(|(key, _)| size(key)).sum()
    }

    fn set_max_keys(&mut self, places: usize) {
        self.places = places;
        self.make_room(0);
    }

    fn make_room(&mut self, needed: usize) {
        while self.used() + needed > self.places && self.entries.pop_back().is_some() {
            self.evicted += 1;
        }
    }

    fn expire(&mut self, policy: &Policy, now: u64) {
        for _ in 0..2 {
            match self.entries.back() {
                Some((_, bucket)) if bucket.is_spent(policy.rate(), 60_000, now) => {
                    self.entries.pop_back();
                    self.expired += 1;
                }
                _ => return,
            }
        }
    }

    fn check(&mut self, key: &[u8], policy: &Policy, now: u64) -> Decision {
        let known = self.entries.iter().position(|(held, _)| held == key);
        let mut entry = match known {
            Some(at) => self.entries.remove(at).unwrap(),
            None => {
                self.expire(policy, now);
                self.make_room(size(key).min(self.places));
                (key.to_vec(), Bucket::first(now))
            }
        };
        let excess = entry.1.excess_with_one_more(policy.rate(), now);
        let admitted = known.is_none() || policy.admits(excess);
        if known.is_some() && admitted {
            entry.1.charge(excess, now);
        }
        self.entries.push_front(entry);
        if !admitted {
            return Decision::Reject;
        }
        match known.map_or(Duration::ZERO, |_| policy.wait(excess)) {
            Duration::ZERO => Decision::Admit,
            wait => Decision::Delay(wait),
        }
    }
}

fn size(key: &[u8]) -> usize {
    key.len().div_ceil(64).max(1)
}

#[derive(Debug, Clone)]
enum Step {
    Check { key: u16, length: usize, gap: u64 },
    Resize(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![8 => 0..50_u64, 1 => 0..90_000_u64];
    let length = prop_oneof![8 => Just(4_usize), 1 => 2..400_usize];
    let step = prop_oneof![
        40 => (0..300_u16, length, gap).prop_map(|(key, length, gap)| Step::Check { key, length, gap }),
        1 => (1..400_u32).prop_map(Step::Resize),
    ];
    vec(step, 1..1200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_zone_is_a_list_in_order_of_use(max in 1..300_u32, burst in 0..4_u32, steps in steps()) {
        let policy = Policy::new(per_second(2), burst, Delay::After(1));
        let zone = Zone::new(max);
        let mut model = Model { places: max as usize, entries: VecDeque::new(), evicted: 0, expired: 0 };
        let mut now = 0;
        for step in steps {
            match step {
                Step::Check { key, length, gap } => {
                    now += gap;
                    let mut bytes = key.to_be_bytes().to_vec();
                    bytes.resize(length, 0);
                    prop_assert_eq!(zone.check(&bytes, &policy, now), model.check(&bytes, &policy, now));
                }
                Step::Resize(max) => {
                    zone.set_max_keys(max);
                    model.set_max_keys(max as usize);
                }
            }
            let stats = zone.stats();
            prop_assert_eq!(
                (stats.keys, stats.evicted, stats.expired, stats.max_keys),
                (model.entries.len() as u64, model.evicted, model.expired, model.places as u64)
            );
        }
        let top: Vec<_> = zone.top(usize::MAX, &policy, now).into_iter().map(|top| (top.excess, top.key)).collect();
        let mut expected: Vec<_> =
            model.entries.iter().map(|(key, bucket)| (bucket.level(policy.rate(), now), key.clone())).collect();
        expected.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        prop_assert_eq!(top, expected);
    }

    #[test]
    fn the_map_keeps_order_and_values_through_growth_and_shrinking(
        turns in vec((0..4_u8, 0..600_u32, 1..400_usize), 1..40)
    ) {
        let mut map = LruMap::new();
        let mut model: VecDeque<(u32, u32)> = VecDeque::new();
        let mut next = 0_u32;
        for (what, key, count) in turns {
            for _ in 0..count {
                let before = map.moved;
                match what {
                    0 | 1 => {
                        map.insert(&next.to_be_bytes(), next);
                        model.push_front((next, next));
                        next += 1;
                    }
                    2 => {
                        let removed = map.pop_oldest();
                        prop_assert_eq!(removed, model.pop_back().map(|(_, value)| value));
                    }
                    _ => {
                        map.replace_oldest(&next.to_be_bytes(), next);
                        model.pop_back();
                        model.push_front((next, next));
                        next += 1;
                    }
                }
                prop_assert!(map.moved - before <= MOST_MOVED, "{}", map.moved - before);
            }
            let found = map.get_mut(&key.to_be_bytes()).map(|value| { *value += 1; *value });
            let at = model.iter().position(|(held, _)| *held == key);
            let expected = at.and_then(|at| model.remove(at)).map(|(key, value)| (key, value + 1));
            prop_assert_eq!(found, expected.map(|(_, value)| value));
            if let Some(entry) = expected {
                model.push_front(entry);
            }
            prop_assert_eq!(map.len(), model.len());
            let held: Vec<u32> = map.iter().map(|(_, value)| *value).collect();
            let wanted: Vec<u32> = model.iter().map(|(_, value)| *value).collect();
            prop_assert_eq!(held, wanted);
        }
    }
}

#[test]
fn no_operation_moves_many_entries_however_many_there_are() {
    let mut map = LruMap::new();
    let mut most = 0;
    let mut step = |map: &mut LruMap<u32>, what: &mut dyn FnMut(&mut LruMap<u32>)| {
        let before = map.moved;
        what(map);
        most = most.max(map.moved - before);
    };
    for n in 0..200_000_u32 {
        step(&mut map, &mut |map| map.insert(&n.to_be_bytes(), n));
    }
    for n in 0..200_000_u32 {
        step(&mut map, &mut |map| assert_eq!(map.pop_oldest(), Some(n)));
    }
    assert!(map.is_empty());
    assert!((1..=MOST_MOVED).contains(&most), "{most}");
}

#[test]
fn requests_are_decided_while_a_zone_shrinks() {
    let policy = Policy::new(per_second(1), 0, Delay::Never);
    let zone = Zone::new(100_000);
    for n in 0..100_000_u32 {
        zone.check(&n.to_be_bytes(), &policy, 0);
    }
    std::thread::scope(|scope| {
        let shrinking = scope.spawn(|| zone.set_max_keys(1000));
        let mut last = zone.stats();
        let mut n = 100_000_u32;
        while !shrinking.is_finished() {
            zone.check(&n.to_be_bytes(), &policy, 0);
            n += 1;
            let stats = zone.stats();
            assert!(stats.keys <= stats.max_keys && stats.max_keys <= last.max_keys);
            last = stats;
        }
    });
    let stats = zone.stats();
    assert_eq!((stats.keys, stats.max_keys), (1000, 1000));
}

#[test]
fn a_large_zone_is_freed_elsewhere_and_a_new_one_starts_empty() {
    let policy = Policy::new(per_second(1), 0, Delay::Never);
    let zone = Zone::new(50_000);
    for n in 0..50_000_u32 {
        zone.check(&n.to_be_bytes(), &policy, 0);
    }
    drop(zone);
    assert_eq!(Zone::new(50_000).stats().keys, 0);
}
