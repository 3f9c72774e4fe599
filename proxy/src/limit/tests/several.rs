//! Several limits on one request.

use super::*;

#[test]
fn if_one_limit_rejects_none_is_charged() {
    let wide = Policy::new(per_second(1), 9, Delay::Never);
    let tight = Policy::new(per_second(1), 2, Delay::Never);
    for tight_first in [true, false] {
        let (a, b) = (Zone::new(8), Zone::new(8));
        let tight_check = Check {
            zone: &a,
            policy: &tight,
            key: KEY,
        };
        let wide_check = Check {
            zone: &b,
            policy: &wide,
            key: KEY,
        };
        let checks = if tight_first {
            [tight_check, wide_check]
        } else {
            [wide_check, tight_check]
        };
        let verdicts: Vec<_> = (0..8).map(|_| check_all(&checks, 0)).collect();
        assert_eq!(verdicts.iter().filter(|v| admitted(v.decision)).count(), 3);
        assert_eq!(verdicts[7].by, Some(usize::from(!tight_first)));
        // Only the three that got in were charged: seven of ten are left.
        assert_eq!(volley(&b, &wide, 20, 0), 7);
    }
}

#[test]
fn the_longest_wait_counts() {
    let (a, b, c) = (Zone::new(8), Zone::new(8), Zone::new(8));
    let [ten, two, four] = [10, 2, 4].map(|rate| Policy::new(per_second(rate), 9, Delay::After(0)));
    let checks = [
        Check {
            zone: &a,
            policy: &ten,
            key: KEY,
        },
        Check {
            zone: &b,
            policy: &two,
            key: KEY,
        },
        Check {
            zone: &c,
            policy: &four,
            key: KEY,
        },
    ];
    assert_eq!(check_all(&checks, 0).decision, Decision::Admit);
    let verdict = check_all(&checks, 0);
    assert_eq!(
        verdict.decision,
        Decision::Delay(Duration::from_millis(500))
    );
    assert_eq!(verdict.by, Some(1));
}

#[test]
fn a_dry_run_among_others_neither_rejects_nor_charges() {
    let dry = Policy::new(per_second(1), 0, Delay::Never).dry_run(true);
    let real = Policy::new(per_second(1), 3, Delay::Never);
    let (a, b) = (Zone::new(8), Zone::new(8));
    let checks = [
        Check {
            zone: &a,
            policy: &dry,
            key: KEY,
        },
        Check {
            zone: &b,
            policy: &real,
            key: KEY,
        },
    ];
    let passed = (0..9)
        .filter(|_| admitted(check_all(&checks, 0).decision))
        .count();
    assert_eq!(passed, 4);
    assert_eq!(a.stats().dry_run_rejected, 8);
    assert_eq!(a.top(1, &dry, 0)[0].excess, 0);
}
