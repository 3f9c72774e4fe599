#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use weir_api::{
    settings::{RateLimit, Server, Settings, Upstream},
    units::Rate,
};

use super::*;

mod expiring;
mod properties;
mod publishing;
mod tuning;

/// A clock that stands until it is moved.
struct Manual {
    start: Instant,
    passed: Mutex<Duration>,
}

impl Clock for Manual {
    fn now(&self) -> Instant {
        self.start + *self.passed.lock()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + *self.passed.lock()
    }
}

impl Manual {
    fn pass(&self, seconds: u64) {
        *self.passed.lock() += Duration::from_secs(seconds);
    }
}

fn file() -> Settings {
    let mut settings = Settings::default();
    let mut limit = RateLimit::new(Rate::per_second(10).unwrap());
    limit.burst = 20;
    limit.nodelay = true;
    settings.rate_limit.insert("api_limit".to_owned(), limit);
    let upstream = Upstream::new(vec![Server::new("127.0.0.1:8000")]);
    settings.upstream.insert("api".to_owned(), upstream);
    settings
}

fn store() -> (Store, Arc<Manual>) {
    let clock = Arc::new(Manual {
        start: Instant::now(),
        passed: Mutex::new(Duration::ZERO),
    });
    let store = Store::with_clock(&file(), Arc::default(), Arc::<Manual>::clone(&clock)).unwrap();
    (store, clock)
}

fn ops() -> Author {
    Author::new("ops", "test")
}

fn patch(store: &Store, patch: Value) -> Changed {
    store.patch(&patch, ops(), Conditions::default()).unwrap()
}

fn refuse(store: &Store, patch: &Value) -> String {
    let before = (store.view(), store.revisions(1000).len());
    let error = store
        .patch(patch, ops(), Conditions::default())
        .unwrap_err();
    assert_eq!(
        (store.view(), store.revisions(1000).len()),
        before,
        "something changed"
    );
    error.to_string()
}

fn raise(store: &Store, settings: Value, seconds: u64) -> String {
    let new = NewOverride {
        settings,
        ttl: Duration::from_secs(seconds),
        owner: "bench".to_owned(),
        reason: "load test".to_owned(),
    };
    store
        .create_override(new, Conditions::default())
        .unwrap()
        .0
        .id
}

fn value(store: &Store, pointer: &str) -> Value {
    store.view().effective.pointer(pointer).unwrap().clone()
}

const RATE: &str = "/rate_limit/api_limit/rate";

fn rate(store: &Store) -> String {
    value(store, RATE).as_str().unwrap().to_owned()
}

fn set_rate(rate: &str) -> Value {
    json!({"rate_limit": {"api_limit": {"rate": rate}}})
}

#[test]
fn the_tuning_table_is_one_patch() {
    let (store, _) = store();
    let changed = patch(
        &store,
        json!({
            "rate_limit": {"api_limit": {"rate": "50r/s", "burst": 50}},
            "upstream": {"api": {"keepalive": 64}},
            "timeouts": {"connect": "10s"},
            "connections": {"max": 2048},
            "compression": {"level": 4}
        }),
    );
    let diff: Vec<_> = changed
        .diff
        .iter()
        .map(|c| format!("{} {} {}", c.path, c.old, c.new))
        .collect();
    assert_eq!(
        diff,
        [
            "connections.max 1024 2048",
            "timeouts.connect \"30s\" \"10s\"",
            "compression.level 6 4",
            "rate_limit.api_limit.rate \"10r/s\" \"50r/s\"",
            "rate_limit.api_limit.burst 20 50",
            "upstream.api.keepalive 32 64",
        ]
    );
    let current = store.current();
    assert_eq!((changed.revision, current.revision), (2, 2));
    assert_eq!(current.settings.timeouts.connect, Duration::from_secs(10));
    assert_eq!(store.view().sources["timeouts.connect"], "patch");
    let newest = store.revisions(1).remove(0);
    assert_eq!(
        (newest.revision, newest.who.as_str(), newest.diff),
        (2, "ops", changed.diff)
    );
    assert_eq!(newest.at, "2027-01-15T08:00:00.000Z");
}

#[test]
fn a_bad_patch_changes_nothing() {
    let (store, _) = store();
    for (bad, says) in [
        (json!(5), "not a table"),
        (json!({"compression": {"level": 10}}), "from 1 to 9"),
        (
            json!({"rate_limit": {"other": {"rate": "1r/s"}}}),
            "rate_limit.other: does not exist",
        ),
        (
            json!({"rate_limit": {"api_limit": {"delay": 5}}}),
            "excluded by nodelay",
        ),
        (
            json!({"upstream": {"api": {"servers": []}}}),
            "at least one server",
        ),
        (
            json!({"timeouts": {"connect": "10s"}, "connections": {"max": "many"}}),
            "connections.max",
        ),
    ] {
        let error = refuse(&store, &bad);
        assert!(error.contains(says), "{bad}: {error}");
    }
}

#[test]
fn null_is_the_default_and_discarding_is_the_file() {
    let (store, _) = store();
    patch(
        &store,
        json!({"rate_limit": {"api_limit": {"burst": null, "nodelay": false, "delay": 5}}}),
    );
    assert_eq!(value(&store, "/rate_limit/api_limit/burst"), 0);
    patch(
        &store,
        json!({"rate_limit": {"api_limit": {"nodelay": true, "delay": null}}}),
    );
    assert_eq!(store.current().settings.rate_limit["api_limit"].delay, None);
    store.discard_patches(ops(), Conditions::default()).unwrap();
    assert_eq!(*store.current().settings, file());
    assert!(store.view().sources.is_empty());
}

#[test]
fn an_empty_patch_publishes_nothing() {
    let (store, _) = store();
    assert_eq!(patch(&store, json!({"timeouts": {}})).revision, 1);
}

#[test]
fn a_dry_run_and_a_stale_change_publish_nothing() {
    let (store, _) = store();
    let dry = Conditions {
        expected: Some(1),
        dry_run: true,
    };
    let changed = store.patch(&set_rate("50r/s"), ops(), dry).unwrap();
    assert_eq!((changed.revision, changed.diff.len()), (1, 1));
    assert_eq!(rate(&store), "10r/s");
    patch(&store, set_rate("20r/s"));
    let stale = store.patch(&set_rate("50r/s"), ops(), dry).unwrap_err();
    assert!(matches!(
        stale,
        StoreError::Stale {
            current: 2,
            expected: 1
        }
    ));
    assert_eq!(rate(&store), "20r/s");
}

#[test]
fn the_hook_runs_before_publication_and_may_refuse() {
    let (store, _) = store();
    let store = Arc::new(store);
    let (seen, refusing) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let hook = {
        let (store, seen, refusing) =
            (Arc::clone(&store), Arc::clone(&seen), Arc::clone(&refusing));
        Box::new(move |published: &Published| {
            assert!(store.revision() <= published.revision);
            if refusing.load(Ordering::Relaxed) {
                return Err("no such host".to_owned().into());
            }
            seen.store(published.revision, Ordering::Relaxed);
            Ok(())
        })
    };
    store.on_publish(hook).unwrap();
    assert_eq!(
        seen.load(Ordering::Relaxed),
        1,
        "called with the settings in force"
    );
    patch(&store, set_rate("50r/s"));
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    refusing.store(true, Ordering::Relaxed);
    assert!(refuse(&store, &set_rate("60r/s")).contains("no such host"));
    assert_eq!((store.revision(), seen.load(Ordering::Relaxed)), (2, 2));
}

#[test]
fn a_second_hooks_refusal_takes_the_first_one_back() {
    let (store, _) = store();
    let first = Arc::new(AtomicU64::new(0));
    let saw = Arc::clone(&first);
    store
        .on_publish(Box::new(move |p| {
            saw.store(p.revision, Ordering::Relaxed);
            Ok(())
        }))
        .unwrap();
    let refuse_later = |p: &Published| {
        if p.revision > 1 {
            Err("no".to_owned().into())
        } else {
            Ok(())
        }
    };
    store.on_publish(Box::new(refuse_later)).unwrap();
    refuse(&store, &set_rate("60r/s"));
    assert_eq!(first.load(Ordering::Relaxed), 1);
}

#[test]
fn an_ending_that_the_engine_refuses_is_tried_again() {
    let (store, clock) = store();
    let refusing = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&refusing);
    store
        .on_publish(Box::new(move |_| {
            if flag.load(Ordering::Relaxed) {
                Err("busy".to_owned().into())
            } else {
                Ok(())
            }
        }))
        .unwrap();
    raise(&store, set_rate("100r/s"), 10);
    refusing.store(true, Ordering::Relaxed);
    clock.pass(10);
    assert_eq!(store.expire_due(), 0);
    assert_eq!(rate(&store), "100r/s");
    refusing.store(false, Ordering::Relaxed);
    clock.pass(1);
    assert_eq!(store.expire_due(), 1);
    assert_eq!(rate(&store), "10r/s");
}

#[test]
fn a_reload_keeps_patches_and_overrides() {
    let (store, clock) = store();
    patch(&store, json!({"timeouts": {"connect": "10s"}}));
    raise(&store, set_rate("100r/s"), 60);
    let mut new = file();
    new.timeouts.connect = Duration::from_secs(5);
    new.timeouts.read = Duration::from_secs(5);
    new.rate_limit.get_mut("api_limit").unwrap().rate = Rate::per_second(20).unwrap();
    let done = store
        .reload(&new, &[], Author::new("SIGHUP", ""), false)
        .unwrap();
    assert_eq!(
        done.shadowed,
        ["timeouts.connect", "rate_limit.api_limit.rate"]
    );
    assert_eq!(done.diff.len(), 1);
    assert_eq!(value(&store, "/timeouts/connect"), "10s");
    assert_eq!(value(&store, "/timeouts/read"), "5s");
    clock.pass(60);
    store.expire_due();
    assert_eq!(
        rate(&store),
        "20r/s",
        "below the override lies the new file"
    );
}

#[test]
fn a_reload_that_does_not_fit_is_refused_with_reasons() {
    let (store, _) = store();
    patch(&store, json!({"upstream": {"api": {"keepalive": 64}}}));
    raise(
        &store,
        json!({"rate_limit": {"api_limit": {"delay": 5, "nodelay": false}}}),
        60,
    );
    let before = store.view();
    let mut new = file();
    new.upstream.clear();
    new.rate_limit.clear();
    let error = store
        .reload(&new, &[], ops(), false)
        .unwrap_err()
        .to_string();
    for part in [
        "upstream.api.keepalive: set by a patch",
        "rate_limit.api_limit.delay: set by override",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let mut bad = file();
    bad.compression.level = 77;
    assert!(
        store
            .reload(&bad, &[], ops(), false)
            .unwrap_err()
            .to_string()
            .contains("compression.level")
    );
    assert_eq!(store.view(), before);
}

#[test]
fn a_patch_that_contradicts_an_override_says_so() {
    let (store, _) = store();
    raise(
        &store,
        json!({"rate_limit": {"api_limit": {"nodelay": false, "delay": 5}}}),
        60,
    );
    let error = refuse(
        &store,
        &json!({"rate_limit": {"api_limit": {"nodelay": true}}}),
    );
    assert!(
        error.contains("together with override ovr-") && error.contains("load test"),
        "{error}"
    );
}

#[test]
fn a_restart_begins_with_the_file() {
    let (old, _) = store();
    patch(&old, set_rate("20r/s"));
    raise(&old, set_rate("100r/s"), 60);
    drop(old);
    let (new, _) = store();
    assert_eq!(*new.current().settings, file());
    assert!(new.overrides().is_empty());
}

#[test]
fn only_the_last_thousand_revisions_are_kept() {
    let (store, _) = store();
    for n in 1..=1005u32 {
        patch(&store, json!({"connections": {"max": 1000 + n}}));
    }
    let kept = store.revisions(usize::MAX);
    assert_eq!(kept.len(), 1000);
    assert_eq!((kept[0].revision, kept[999].revision), (1006, 7));
}
