//! The limiter: buckets, limits, keys, and what outlives a change of settings.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use weir_api::{
    settings::{LimitKey, RateLimit},
    units::Rate,
};

use super::*;

mod properties;
mod several;
mod table;

const KEY: &[u8] = b"a";

fn per_second(n: u32) -> Rate {
    Rate::per_second(n).unwrap()
}

fn admitted(decision: Decision) -> bool {
    decision != Decision::Reject
}

/// How many of `count` requests at one instant get in.
fn volley(zone: &Zone, policy: &Policy, count: usize, now_ms: u64) -> usize {
    (0..count)
        .filter(|_| admitted(zone.check(KEY, policy, now_ms)))
        .count()
}

#[test]
fn a_volley_passes_one_plus_burst() {
    for burst in [0, 1, 20, 200] {
        let policy = Policy::new(per_second(10), burst, Delay::Never);
        let passed = volley(&Zone::new(8), &policy, 3 * burst as usize + 5, 7);
        assert_eq!(passed, burst as usize + 1);
    }
}

#[test]
fn the_burst_comes_back_at_the_rate() {
    let policy = Policy::new(per_second(10), 20, Delay::Never);
    let zone = Zone::new(8);
    assert_eq!(volley(&zone, &policy, 100, 0), 21);
    assert_eq!(volley(&zone, &policy, 100, 99), 0);
    assert_eq!(volley(&zone, &policy, 100, 100), 1);
    assert_eq!(volley(&zone, &policy, 100, 1100), 10);
    // An empty bucket admits the burst and the request that finds it empty.
    assert_eq!(volley(&zone, &policy, 100, 10_000), 21);
}

#[test]
fn without_nodelay_the_excess_waits_its_turn() {
    let policy = Policy::new(per_second(10), 3, Delay::After(0));
    let zone = Zone::new(8);
    let waits = [0, 100, 200, 300].map(Duration::from_millis);
    for wait in waits {
        let expected = if wait.is_zero() {
            Decision::Admit
        } else {
            Decision::Delay(wait)
        };
        assert_eq!(zone.check(KEY, &policy, 0), expected);
    }
    assert_eq!(zone.check(KEY, &policy, 0), Decision::Reject);
    let stats = zone.stats();
    assert_eq!((stats.admitted, stats.delayed, stats.rejected), (1, 3, 1));
}

#[test]
fn with_a_delay_the_first_of_the_excess_passes_at_once() {
    let policy = Policy::new(per_second(10), 4, Delay::After(2));
    let zone = Zone::new(8);
    let decisions: Vec<_> = (0..6).map(|_| zone.check(KEY, &policy, 0)).collect();
    let wait = |ms| Decision::Delay(Duration::from_millis(ms));
    assert_eq!(
        decisions,
        [
            Decision::Admit,
            Decision::Admit,
            Decision::Admit,
            wait(100),
            wait(200),
            Decision::Reject
        ]
    );
}

#[test]
fn the_documented_profile_lets_3021_of_24000_in() {
    // 80 requests a second from one address for 5 minutes, 10r/s and burst 20.
    let policy = Policy::new(per_second(10), 20, Delay::Never);
    let zone = Zone::new(8);
    let passed = (0..24_000_u64)
        .filter(|i| admitted(zone.check(KEY, &policy, i * 1000 / 80)))
        .count();
    assert!((3019..=3021).contains(&passed), "{passed}");
}

#[test]
fn a_rejected_request_is_not_charged() {
    let policy = Policy::new(per_second(1), 0, Delay::Never);
    let zone = Zone::new(8);
    assert!(admitted(zone.check(KEY, &policy, 0)));
    for ms in 1..1000 {
        assert!(!admitted(zone.check(KEY, &policy, ms)));
    }
    assert!(admitted(zone.check(KEY, &policy, 1000)));
}

#[test]
fn a_new_rate_applies_at_once_and_keeps_the_level() {
    let slow = Policy::new(per_second(10), 20, Delay::Never);
    let fast = Policy::new(per_second(100), 20, Delay::Never);
    let zone = Zone::new(8);
    assert_eq!(volley(&zone, &slow, 50, 0), 21);
    assert_eq!(volley(&zone, &fast, 50, 0), 0, "the level is kept");
    assert_eq!(
        volley(&zone, &fast, 50, 50),
        5,
        "and drains at the new rate"
    );
    let wide = Policy::new(per_second(10), 30, Delay::Never);
    assert_eq!(
        volley(&zone, &wide, 50, 50),
        10,
        "a larger burst adds the difference"
    );
    assert_eq!(
        volley(&zone, &slow, 50, 150),
        0,
        "a smaller one takes it back"
    );
}

#[test]
fn a_clock_that_goes_back_gives_nothing_away() {
    let policy = Policy::new(per_second(1000), 2, Delay::Never);
    let zone = Zone::new(8);
    assert_eq!(volley(&zone, &policy, 9, 100_000), 3);
    assert_eq!(volley(&zone, &policy, 9, 99_999), 0);
    assert_eq!(volley(&zone, &policy, 9, 100_001), 1);
    // Set anew by more than a minute: one millisecond is taken to have passed, and time starts from there.
    assert_eq!(volley(&zone, &policy, 9, 1_000), 1);
    assert_eq!(volley(&zone, &policy, 9, 1_001), 1);
}

#[test]
fn a_request_from_a_thread_that_is_behind_does_not_make_time_pass_twice() {
    let policy = Policy::new(per_second(1000), 10, Delay::Never);
    let zone = Zone::new(8);
    assert_eq!(volley(&zone, &policy, 1, 100_000), 1);
    assert_eq!(volley(&zone, &policy, 1, 99_500), 1);
    assert_eq!(volley(&zone, &policy, 50, 100_000), 9);
}

#[test]
fn the_least_recently_used_key_goes_first() {
    let policy = Policy::new(per_second(1), 0, Delay::Never);
    let zone = Zone::new(3);
    for key in [b"a", b"b", b"c"] {
        assert!(admitted(zone.check(key, &policy, 0)));
    }
    assert!(
        !admitted(zone.check(b"a", &policy, 1)),
        "rejected, yet used"
    );
    assert!(
        admitted(zone.check(b"d", &policy, 2)),
        "takes the place of b"
    );
    assert!(!admitted(zone.check(b"a", &policy, 3)));
    assert!(!admitted(zone.check(b"c", &policy, 3)));
    assert!(
        admitted(zone.check(b"b", &policy, 3)),
        "b had been forgotten"
    );
    let stats = zone.stats();
    assert_eq!((stats.keys, stats.evicted, stats.expired), (3, 2, 0));
}

#[test]
fn shrinking_drops_the_oldest_and_growing_keeps_all() {
    let policy = Policy::new(per_second(1), 0, Delay::Never);
    let zone = Zone::new(4);
    for key in 0..4_u8 {
        zone.check(&[key], &policy, 0);
    }
    zone.set_max_keys(2);
    assert_eq!((zone.stats().keys, zone.stats().evicted), (2, 2));
    zone.set_max_keys(10);
    assert!(!admitted(zone.check(&[3], &policy, 0)));
    assert!(!admitted(zone.check(&[2], &policy, 0)));
    assert!(admitted(zone.check(&[1], &policy, 0)));
}

#[test]
fn long_keys_take_several_places() {
    let policy = Policy::new(per_second(1), 0, Delay::Never);
    let zone = Zone::new(10);
    for key in 0..10_u8 {
        zone.check(&[key; 640], &policy, 0);
        assert_eq!(zone.stats().keys, 1);
    }
    zone.check(&[99; 100_000], &policy, 0);
    assert_eq!(
        zone.stats().keys,
        1,
        "even a key larger than the zone has room, alone"
    );
    zone.check(b"short", &policy, 0);
    assert_eq!(zone.stats().keys, 1);
    let zone = Zone::new(15);
    zone.check(&[1; 640], &policy, 0);
    zone.check(&[2; 640], &policy, 0);
    assert_eq!(zone.stats().keys, 1, "there is no room for both");
}

#[test]
fn silent_keys_are_cleared_away_by_new_ones() {
    let policy = Policy::new(per_second(1), 0, Delay::Never);
    let zone = Zone::new(100);
    for key in 0..4_u8 {
        zone.check(&[key], &policy, 0);
    }
    zone.check(b"new", &policy, 59_999);
    assert_eq!(zone.stats().expired, 0);
    zone.check(b"newer", &policy, 60_000);
    assert_eq!((zone.stats().expired, zone.stats().keys), (2, 4));
}

#[test]
fn a_silent_key_that_is_still_ahead_of_its_rate_is_not_forgotten() {
    let policy = Policy::new(Rate::per_minute(1).unwrap(), 20, Delay::Never);
    let zone = Zone::new(100);
    assert_eq!(volley(&zone, &policy, 50, 0), 21);
    zone.check(b"new", &policy, 60_000);
    assert_eq!(volley(&zone, &policy, 50, 60_000), 0);
}

#[test]
fn a_dry_run_counts_and_lets_pass() {
    let policy = Policy::new(per_second(10), 1, Delay::After(0)).dry_run(true);
    let zone = Zone::new(8);
    for _ in 0..5 {
        assert_eq!(zone.check(KEY, &policy, 0), Decision::Admit);
    }
    let stats = zone.stats();
    assert_eq!(
        (
            stats.admitted,
            stats.dry_run_delayed,
            stats.dry_run_rejected
        ),
        (1, 1, 3)
    );
    assert_eq!((stats.delayed, stats.rejected), (0, 0));
}

#[test]
fn the_busiest_keys_come_first() {
    let policy = Policy::new(per_second(10), 20, Delay::Never);
    let zone = Zone::new(8);
    for (key, count) in [(b"x", 3), (b"y", 9), (b"z", 1)] {
        for _ in 0..count {
            zone.check(key, &policy, 0);
        }
    }
    let top = zone.top(2, &policy, 100);
    assert_eq!(
        top[0],
        TopKey {
            key: b"y".to_vec(),
            excess: 7000
        }
    );
    assert_eq!(
        top[1],
        TopKey {
            key: b"x".to_vec(),
            excess: 1000
        }
    );
}

// === keys ===

struct Request {
    ip: IpAddr,
    headers: BTreeMap<String, Vec<u8>>,
    route: String,
}

impl KeySource for Request {
    fn client_ip(&self) -> IpAddr {
        self.ip
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name).map(Vec::as_slice)
    }
    fn route(&self) -> &str {
        &self.route
    }
}

fn request(ip: &str, token: &[u8], route: &str) -> Request {
    Request {
        ip: ip.parse().unwrap(),
        headers: ["x-token", "x-other"]
            .map(|name| (name.into(), token.to_vec()))
            .into(),
        route: route.into(),
    }
}

#[test]
fn an_address_counts_once_however_it_is_written() {
    let parts = [LimitKey::ClientIp];
    let key = |ip| build_key(&parts, &request(ip, b"", "")).unwrap();
    assert_eq!(&*key("10.1.2.3"), [10, 1, 2, 3]);
    assert_eq!(key("::ffff:10.1.2.3"), key("10.1.2.3"));
    assert_eq!(key("2001:db8::1").len(), 16);
    assert_eq!(describe_key(&parts, &key("2001:db8::1")), "2001:db8::1");
}

#[test]
fn a_request_without_the_value_is_not_limited() {
    let parts = [LimitKey::ClientIp, LimitKey::Header("x-token".into())];
    assert_eq!(build_key(&parts, &request("::1", b"", "r")), None);
    assert_eq!(build_key(&parts[1..], &request("::1", b"", "r")), None);
    assert!(build_key(&parts, &request("::1", b"t", "r")).is_some());
}

#[test]
fn a_combined_key_reads_well() {
    let parts = [
        LimitKey::ClientIp,
        LimitKey::Header("x-token".into()),
        LimitKey::Route,
    ];
    let key = build_key(&parts, &request("10.0.0.1", b"a\x00\xffb", "/api")).unwrap();
    assert_eq!(
        describe_key(&parts, &key),
        "10.0.0.1 + a\\u{0}\\xffb + /api"
    );
}

fn setting(rate: u32, burst: u32, key: Vec<LimitKey>) -> RateLimit {
    RateLimit {
        enabled: true,
        dry_run: false,
        key,
        rate: per_second(rate),
        burst,
        nodelay: true,
        delay: None,
        status: 429,
        max_keys: 100,
    }
}

#[test]
fn levels_outlive_a_change_of_settings_but_not_of_the_key() {
    let zones = Zones::default();
    let caller = request("10.0.0.1", b"t", "/");
    let apply = |limit: RateLimit| zones.apply(&[("z".to_string(), limit)].into())["z"].clone();
    let passed = |limit: &Arc<Limit>| {
        (0..50)
            .filter(|_| admitted(check_request(std::slice::from_ref(limit), &caller, 0).decision))
            .count()
    };
    let first = apply(setting(10, 20, vec![LimitKey::ClientIp]));
    assert_eq!(passed(&first), 21);
    let wider = apply(setting(10, 25, vec![LimitKey::ClientIp]));
    assert_eq!(passed(&wider), 5);
    let mut off = setting(10, 25, vec![LimitKey::ClientIp]);
    off.enabled = false;
    assert_eq!(passed(&apply(off)), 50);
    assert_eq!(passed(&apply(setting(10, 26, vec![LimitKey::ClientIp]))), 1);
    assert_eq!(passed(&apply(setting(10, 20, vec![LimitKey::Global]))), 21);
    // The same bytes would mean something else.
    let by_header = |name: &str| setting(10, 20, vec![LimitKey::Header(name.into())]);
    assert_eq!(passed(&apply(by_header("x-token"))), 21);
    assert_eq!(passed(&apply(by_header("x-other"))), 21);
}

#[test]
fn the_verdict_names_the_limit_even_if_others_do_not_apply() {
    let zones = Zones::default();
    let limits = zones.apply(
        &[
            (
                "a".to_string(),
                setting(1, 9, vec![LimitKey::Header("x-absent".into())]),
            ),
            ("b".to_string(), setting(1, 9, vec![LimitKey::ClientIp])),
            ("c".to_string(), setting(1, 1, vec![LimitKey::Route])),
        ]
        .into(),
    );
    let limits: Vec<_> = limits.into_values().collect();
    let caller = request("10.0.0.1", b"t", "/");
    let verdicts: Vec<_> = (0..3).map(|_| check_request(&limits, &caller, 0)).collect();
    assert_eq!(verdicts[1].decision, Decision::Admit);
    assert_eq!(
        (verdicts[2].decision, verdicts[2].by),
        (Decision::Reject, Some(2))
    );
}
