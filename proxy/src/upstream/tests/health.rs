//! Health checks together with what else decides about a server.

use crate::upstream::health::{Change, CheckResult, Thresholds};

use super::*;

/// A check of the n-th server ends, and decides alone.
pub(super) fn check(upstream: &UpstreamState, which: usize, passed: bool) -> Option<Change> {
    let (_, server) = upstream.servers().nth(which).unwrap();
    let result = match passed {
        true => CheckResult::Passed(200),
        false => CheckResult::Status(500),
    };
    let one = Thresholds { rise: 1, fall: 1 };
    upstream.note_check(server, result, Duration::from_millis(1), 0, one)
}

#[test]
fn a_server_taken_out_by_checks_gets_no_request_until_it_is_back() {
    for balance in [Balance::LeastConn, Balance::RoundRobin] {
        let upstream = group(balance, &[server(1), server(2)]);
        let held = pick(&upstream, 0).unwrap();
        assert_eq!(check(&upstream, 0, false), Some(Change::Out));
        assert_eq!(sequence(&upstream, 4, 0), [2; 4]);
        assert_eq!(condition(&upstream, 1, 0), Condition::Unhealthy);
        assert_eq!(upstream.view(0).servers[0].in_flight, 1, "left alone");
        drop(held);
        assert_eq!(check(&upstream, 0, true), Some(Change::Back));
        assert!(sequence(&upstream, 4, 0).contains(&1));
    }
}

#[test]
fn nobody_healthy_means_the_backups_and_then_nobody() {
    let backup = Server {
        backup: true,
        ..server(9)
    };
    let upstream = group(Balance::LeastConn, &[server(1), server(2), backup]);
    check(&upstream, 0, false);
    check(&upstream, 1, false);
    assert_eq!(sequence(&upstream, 3, 0), [9; 3]);
    check(&upstream, 2, false);
    assert!(pick(&upstream, 0).is_none());
    check(&upstream, 1, true);
    assert_eq!(sequence(&upstream, 3, 0), [2; 3]);
}

#[test]
fn checks_take_out_a_lone_server_which_failures_do_not() {
    let lone = group(Balance::LeastConn, &[server(1)]);
    for _ in 0..5 {
        fail_once(&lone, 1, 0);
    }
    assert_eq!(condition(&lone, 1, 0), Condition::Up);
    check(&lone, 0, false);
    assert!(pick(&lone, 0).is_none());
    check(&lone, 0, true);
    assert!(pick(&lone, 0).is_some());
}

#[test]
fn a_passed_check_ends_no_rest_but_a_return_does() {
    let upstream = group(Balance::LeastConn, &[server(1), server(2)]);
    check(&upstream, 0, true);
    for _ in 0..3 {
        fail_once(&upstream, 1, 0);
    }
    assert_eq!(check(&upstream, 0, true), None);
    assert_eq!(condition(&upstream, 1, 0), Condition::Failed);
    check(&upstream, 0, false);
    assert_eq!(condition(&upstream, 1, 0), Condition::Unhealthy);
    check(&upstream, 0, true);
    assert_eq!(condition(&upstream, 1, 0), Condition::Up);
    assert_eq!(upstream.view(0).servers[0].fails, 0);
    let mut ports = sequence(&upstream, 4, 0);
    ports.sort_unstable();
    assert_eq!(ports, [1, 1, 2, 2], "its whole weight");
}

#[test]
fn a_server_that_is_down_stays_so_whatever_the_checks_say() {
    let down = Server {
        down: true,
        ..server(1)
    };
    let upstream = group(Balance::LeastConn, &[down, server(2)]);
    check(&upstream, 0, true);
    assert_eq!(condition(&upstream, 1, 0), Condition::Down);
    assert_eq!(sequence(&upstream, 3, 0), [2; 3]);
    check(&upstream, 0, false);
    let view = serde_json::to_value(upstream.view(7)).unwrap();
    assert_eq!(view["servers"][0]["state"], "down");
    assert_eq!(view["servers"][0]["check"]["state"], "out");
    assert_eq!(view["servers"][0]["check"]["last"]["why"], "answered 500");
    assert_eq!(view["servers"][1].get("check"), None, "not checked");
}

#[test]
fn what_checks_know_outlives_a_change_of_settings() {
    let registry = Registry::default();
    let before = apply(&registry, Balance::LeastConn, &[server(1), server(2)]);
    check(&before, 0, false);
    let after = apply(&registry, Balance::RoundRobin, &[server(1), weighted(2, 5)]);
    assert_eq!(condition(&after, 1, 0), Condition::Unhealthy);
    check(&after, 0, true);
    assert_eq!(condition(&before, 1, 0), Condition::Up);
}
