//! Properties of the limiter, against a model of its own and against `governor`.

use std::num::NonZeroU32;

use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
use proptest::{collection::vec, prelude::*};

use super::*;

/// Rates that include odd thousandths.
fn rates() -> impl Strategy<Value = Rate> {
    prop_oneof![
        (1..2000_u32).prop_map(|n| Rate::per_second(n).unwrap()),
        (1..5000_u32).prop_map(|n| Rate::per_minute(n).unwrap()),
    ]
}

/// Arrivals as gaps in milliseconds: volleys, pauses, and everything between.
fn gaps() -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![4 => Just(0_u64), 4 => 0..20_u64, 2 => 0..1500_u64, 1 => 0..200_000_u64];
    vec(gap, 1..300)
}

/// `limit_req` told differently: the level is replayed from the whole history of admitted requests, in
/// signed wide integers, instead of being carried along.
struct History {
    rate: i128,
    admitted_ms: Vec<i128>,
}

impl History {
    fn excess_of(&self, now: i128) -> i128 {
        let times: Vec<i128> = self.admitted_ms.iter().copied().chain([now]).collect();
        times.windows(2).fold(0, |level, pair| {
            (level - self.rate * (pair[1] - pair[0]) / 1000 + 1000).max(0)
        })
    }

    /// The same without rounding, in millionths of a request.
    fn exact_excess_of(&self, now: i128) -> i128 {
        let times: Vec<i128> = self.admitted_ms.iter().copied().chain([now]).collect();
        times.windows(2).fold(0, |level, pair| {
            (level - self.rate * (pair[1] - pair[0]) + 1_000_000).max(0)
        })
    }
}

proptest! {
    #[test]
    fn equals_the_model_and_stays_within_rounding_of_exact_arithmetic(
        rate in rates(), burst in 0..50_u32, gaps in gaps()
    ) {
        let policy = Policy::new(rate, burst, Delay::After(0));
        let zone = Zone::new(4);
        let mut history = History { rate: i128::from(rate.thousandths_per_second()), admitted_ms: Vec::new() };
        let mut now = 0_u64;
        for gap in gaps {
            now += gap;
            let excess = history.excess_of(now.into());
            let expected = excess <= i128::from(burst) * 1000;
            let decision = zone.check(KEY, &policy, now);
            prop_assert_eq!(admitted(decision), expected);
            if expected {
                let wait = excess * 1000 / history.rate;
                let got = match decision { Decision::Delay(wait) => wait.as_millis(), _ => 0 };
                prop_assert_eq!(got, wait as u128);
            }
            // Each admitted request rounds away less than a thousandth, always against the client.
            let lost = excess * 1000 - history.exact_excess_of(now.into());
            prop_assert!((0..=1000 * (history.admitted_ms.len() as i128)).contains(&lost));
            if expected {
                history.admitted_ms.push(now.into());
            }
        }
    }

    /// For rates that have a whole number of thousandths per millisecond and of nanoseconds per request,
    /// neither side rounds, and both admit exactly the same requests.
    #[test]
    fn admits_what_governor_admits(
        rate in prop::sample::select(vec![1_u32, 2, 4, 5, 8, 10, 16, 20, 25, 40, 50, 64, 80, 100, 125, 200, 250, 500, 1000]),
        burst in 0..50_u32,
        gaps in gaps(),
    ) {
        let policy = Policy::new(per_second(rate), burst, Delay::Never);
        let zone = Zone::new(4);
        let clock = FakeRelativeClock::default();
        // Our burst is on top of the request itself, governor's includes it.
        let quota = Quota::per_second(NonZeroU32::new(rate).unwrap())
            .allow_burst(NonZeroU32::new(burst + 1).unwrap());
        let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
        let mut now = 0;
        for gap in gaps {
            now += gap;
            clock.advance(Duration::from_millis(gap));
            prop_assert_eq!(admitted(zone.check(KEY, &policy, now)), oracle.check().is_ok());
        }
    }

    #[test]
    fn never_more_than_burst_plus_rate_in_any_window(rate in rates(), burst in 0..50_u32, gaps in gaps()) {
        let policy = Policy::new(rate, burst, Delay::Never);
        let zone = Zone::new(4);
        let mut now = 0;
        let mut times = Vec::new();
        for gap in gaps {
            now += gap;
            if admitted(zone.check(KEY, &policy, now)) {
                times.push(now);
            }
        }
        for (i, from) in times.iter().enumerate() {
            for (j, to) in times.iter().enumerate().skip(i) {
                let most = u64::from(burst) + rate.thousandths_per_second() * (to - from) / 1_000_000;
                prop_assert!((j - i) as u64 <= most, "{} in {} ms", j - i + 1, to - from);
            }
        }
    }

    #[test]
    fn a_higher_rate_or_burst_never_admits_fewer(
        rate in 1..500_u32, more_rate in 0..500_u32, burst in 0..30_u32, more_burst in 0..30_u32, gaps in gaps()
    ) {
        let count = |policy: Policy| {
            let zone = Zone::new(4);
            let mut now = 0;
            gaps.iter().filter(|gap| { now += **gap; admitted(zone.check(KEY, &policy, now)) }).count()
        };
        let less = count(Policy::new(per_second(rate), burst, Delay::Never));
        let more = count(Policy::new(per_second(rate + more_rate), burst + more_burst, Delay::Never));
        prop_assert!(more >= less, "{more} < {less}");
    }

    /// Forgetting silent keys is invisible: a zone with other traffic decides as one without.
    #[test]
    fn other_keys_change_no_decision(rate in rates(), burst in 0..20_u32, gaps in gaps()) {
        let policy = Policy::new(rate, burst, Delay::After(1));
        let (alone, shared) = (Zone::new(1000), Zone::new(1000));
        let mut now = 0;
        for (i, gap) in gaps.into_iter().enumerate() {
            now += gap;
            shared.check(&i.to_be_bytes(), &policy, now);
            prop_assert_eq!(alone.check(KEY, &policy, now), shared.check(KEY, &policy, now));
        }
    }

    #[test]
    fn the_table_is_bounded(max in 1..20_u32, resized in 1..20_u32, keys in vec((0..60_u8, 0..200_usize), 1..200)) {
        let policy = Policy::new(per_second(1), 1, Delay::Never);
        let zone = Zone::new(max);
        for (i, (byte, length)) in keys.iter().enumerate() {
            if i == keys.len() / 2 {
                zone.set_max_keys(resized);
                prop_assert!(zone.stats().keys <= u64::from(resized));
            }
            zone.check(&vec![*byte; *length], &policy, i as u64);
            let bound = if i < keys.len() / 2 { max } else { resized };
            prop_assert!(zone.stats().keys <= u64::from(bound));
        }
    }

    #[test]
    fn different_requests_have_different_combined_keys(
        a in vec(any::<u8>(), 1..6), b in "[a-c/]{0,4}", c in vec(any::<u8>(), 1..6), d in "[a-c/]{0,4}"
    ) {
        let parts = [LimitKey::Header("x-token".into()), LimitKey::Route];
        let one = build_key(&parts, &request("::1", &a, &b)).unwrap();
        let two = build_key(&parts, &request("::1", &c, &d)).unwrap();
        prop_assert_eq!(one == two, (a, b) == (c, d));
    }

    #[test]
    fn two_limits_admit_what_both_would(
        r1 in 1..100_u32, b1 in 0..10_u32, r2 in 1..100_u32, b2 in 0..10_u32, gaps in gaps()
    ) {
        let policies = [
            Policy::new(per_second(r1), b1, Delay::Never),
            Policy::new(per_second(r2), b2, Delay::Never),
        ];
        let zones = [Zone::new(4), Zone::new(4)];
        let mut models = [r1, r2].map(|rate| History { rate: i128::from(rate) * 1000, admitted_ms: Vec::new() });
        let checks = [0, 1].map(|i| Check { zone: &zones[i], policy: &policies[i], key: KEY });
        let mut now = 0_u64;
        for gap in gaps {
            now += gap;
            let over = [(0, b1), (1, b2)]
                .into_iter()
                .find(|(i, burst)| models[*i].excess_of(now.into()) > i128::from(*burst) * 1000);
            let verdict = check_all(&checks, now);
            prop_assert_eq!(admitted(verdict.decision), over.is_none());
            prop_assert_eq!(verdict.by, over.map(|(i, _)| i));
            if over.is_none() {
                for model in &mut models {
                    model.admitted_ms.push(now.into());
                }
            }
        }
    }
}
