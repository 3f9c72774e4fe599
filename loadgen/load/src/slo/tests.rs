//! Rules are read as people write them, and written so that they read the same again.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> Rule {
    text.parse().unwrap()
}

fn refused(text: &str) -> String {
    text.parse::<Rule>().unwrap_err().to_string()
}

#[test]
fn latencies_shares_and_rates_have_units_of_their_own() {
    assert_eq!(rule("p99.9 < 300ms").limit, 300.0);
    assert_eq!(rule("mean<=1.5s").limit, 1500.0);
    assert_eq!(rule("errors < 0.1%").limit, 0.001);
    assert_eq!(rule("throughput > 500/s").limit, 500.0);
    assert_eq!(rule("median < 1ms").metric, Metric::percentile(50.0));
    assert_eq!(rule("429 <= 0%").metric, Metric::Limited);
    assert_eq!(
        rule("status_503 < 1%").metric,
        Metric::Failure("status_503".into())
    );
}

#[test]
fn an_endpoint_and_a_time_may_stand_before_the_metric() {
    let rule = rule("a:b: service p95 < 80ms");
    assert_eq!(rule.endpoint.as_deref(), Some("a:b"));
    assert_eq!(
        rule.metric,
        Metric::Latency {
            time: Time::Service,
            statistic: Statistic::Percentile(95.0)
        }
    );
    assert_eq!(rule.subject(), "a:b: service p95");
}

#[test]
fn a_breach_may_end_the_run() {
    assert_eq!(rule("errors < 5%").abort, None);
    assert_eq!(rule("errors < 5% abort").abort, Some(Abort::default()));
    assert_eq!(
        rule("errors < 5% abort after 3s").abort,
        Some(Abort {
            after: Duration::from_secs(3)
        })
    );
}

#[test]
fn wrong_rules_say_what_would_be_right() {
    let cases = [
        ("p99", "has no `<`"),
        ("p99 < 200", "\"500ms\""),
        ("errors < 0.1", "\"0.1%\""),
        ("throughput > fast", "\"600/s\""),
        ("p999 < 1s", "did you mean `p99.9`?"),
        ("p0 < 1s", "not a percentile"),
        ("latency < 1s", "is not a metric: write p99.9"),
        ("status_700 < 1%", "is not an HTTP status"),
        ("service errors < 1%", "is not a statistic of a latency"),
        ("a: unsent < 1%", "about the whole run"),
        (": p99 < 1s", "no endpoint"),
        ("< 1s", "no metric"),
        ("errors < 1% abort soon", "`after` and a duration"),
        ("errors < 0%", "nothing is below 0"),
    ];
    for (text, part) in cases {
        let message = refused(text);
        assert!(
            message.starts_with(&format!("`{text}`: ")) && message.contains(part),
            "{message}"
        );
    }
}

#[test]
fn a_list_is_separated_by_commas() {
    assert_eq!(parse_list("p99<200ms,errors<0.1%").unwrap().len(), 2);
    assert!(parse_list("  ").unwrap().is_empty());
    assert!(parse_list("p99<200ms,").is_err());
}

#[derive(Debug, serde::Deserialize)]
struct File {
    rules: Vec<RuleEntry>,
}

#[test]
fn tables_and_texts_mean_the_same() {
    let file: File = toml::from_str(
        r#"
        rules = [
            "login: p95 < 80ms abort after 5s",
            { metric = "p95", endpoint = "login", below = "80ms", abort = true, abort_after = "5s" },
        ]
        "#,
    )
    .unwrap();
    assert_eq!(file.rules[0], file.rules[1]);
}

#[test]
fn wrong_tables_say_what_would_be_right() {
    let cases = [
        (r#"{ metric = "p95" }"#, "exactly one of"),
        (
            r#"{ metric = "p95", below = "1s", above = "2s" }"#,
            "exactly one of",
        ),
        (
            r#"{ metric = "p95", below = "1s", abort_after = "2s" }"#,
            "needs `abort = true`",
        ),
        (r#"{ metric = "p95", under = "1s" }"#, "unknown field"),
        ("3", "a rule such as"),
    ];
    for (table, part) in cases {
        let error = toml::from_str::<File>(&format!("rules = [{table}]"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{table}: {error}");
    }
}

#[test]
fn unknown_endpoints_are_named_with_those_that_exist() {
    let known = ["login", "case"];
    assert!(
        rule("login: p95 < 1s")
            .check_endpoint(known.into_iter())
            .is_ok()
    );
    assert_eq!(
        rule("logn: p95 < 1s")
            .check_endpoint(known.into_iter())
            .unwrap_err(),
        "no request is named `logn`; the scenario has login, case"
    );
}

fn any_metric() -> impl Strategy<Value = Metric> {
    let statistic = prop_oneof![
        (1_u32..=100_000).prop_map(|n| Statistic::Percentile(f64::from(n) / 1000.0)),
        Just(Statistic::Mean),
        Just(Statistic::Min),
        Just(Statistic::Max),
    ];
    let time = prop_oneof![Just(Time::Response), Just(Time::Service)];
    prop_oneof![
        (time, statistic).prop_map(|(time, statistic)| Metric::Latency { time, statistic }),
        Just(Metric::Throughput),
        Just(Metric::Rate),
        Just(Metric::Errors),
        Just(Metric::Success),
        Just(Metric::Limited),
        Just(Metric::Failure("timeout".into())),
        (100_u16..=599)
            .prop_filter("429 has a name of its own", |status| *status != 429)
            .prop_map(|status| Metric::Failure(format!("status_{status}"))),
    ]
}

proptest! {
    #[test]
    fn rules_survive_a_round_trip(
        endpoint in prop::option::of("[a-z][a-z0-9:/-]{0,12}[a-z]"),
        metric in any_metric(),
        upper in any::<bool>(),
        limit in 1_u32..1_000_000,
        abort in prop::option::of(0_u64..100_000),
    ) {
        let limit = match metric.unit() {
            Unit::Share => f64::from(limit) / 1e6,
            _ => f64::from(limit) / 100.0,
        };
        let rule = Rule {
            endpoint,
            metric,
            relation: if upper { Relation::Below } else { Relation::AtLeast },
            limit,
            abort: abort.map(|ms| Abort { after: Duration::from_millis(ms) }),
        };
        let read: Rule = rule.to_string().parse().unwrap();
        prop_assert!((read.limit - rule.limit).abs() <= rule.limit * 1e-9);
        prop_assert_eq!(Rule { limit: rule.limit, ..read }, rule);
    }
}

#[test]
fn every_kind_of_failure_can_be_named() {
    for kind in crate::record::FailureKind::NAMED {
        let name = kind.name().into_owned();
        assert_eq!(rule(&format!("{name} < 1%")).metric, Metric::Failure(name));
    }
}
