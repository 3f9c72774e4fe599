use std::{path::Path, time::Duration};

use super::*;

pub(super) const SMALL: &str = r#"
name = "small"
duration = "10s"

[load]
model = "closed"
users = 5

[[requests]]
name = "root"
path = "/"
"#;

pub(super) const OPEN: &str = r#"
name = "open"
duration = "10s"

[load]
model = "open"
rate = "100/s"

[[requests]]
name = "root"
path = "/"
"#;

pub(super) fn parse(source: &str) -> Scenario {
    Scenario::parse(source, "test.toml").unwrap()
}

pub(super) fn refuse(source: &str) -> (usize, usize, String, String) {
    match Scenario::parse(source, "test.toml").unwrap_err() {
        ScenarioError::Invalid {
            line,
            column,
            field,
            message,
            ..
        } => (line, column, field, message),
        other => panic!("{other}"),
    }
}

pub(super) fn shipped(name: &str) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/scenarios");
    Scenario::load_from(name, &folder).unwrap()
}

#[test]
fn the_documented_profile_is_the_documented_one() {
    let scenario = shipped("documented");
    assert_eq!(scenario.duration, Duration::from_secs(300));
    let Load::Closed(closed) = &scenario.load else {
        panic!("closed");
    };
    assert_eq!(closed.users, 100);
    assert_eq!(closed.spawn_rate.unwrap().get(), 10.0);
    assert_eq!(closed.think_time.mean(), Duration::from_millis(1250));
    let weights: Vec<_> = scenario.requests.iter().map(|r| r.weight).collect();
    assert_eq!(weights, [60.0, 20.0, 10.0, 10.0, 5.0, 3.0, 2.0]);
    assert_eq!(scenario.weight_total(), 110.0);
    assert_eq!(scenario.login.unwrap().path.source(), "/api/v1/auth/login");
    assert_eq!(scenario.thresholds.p50, Some(Duration::from_millis(50)));
    assert_eq!(scenario.thresholds.p95, Some(Duration::from_millis(100)));
    assert_eq!(scenario.thresholds.p99, Some(Duration::from_millis(200)));
    assert_eq!(scenario.thresholds.error_rate, Some(0.001));
    assert_eq!(scenario.thresholds.min_throughput.unwrap().get(), 500.0);
}

#[test]
fn a_folder_of_the_same_name_does_not_hide_a_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/scenarios/smoke.toml");
    std::fs::copy(shipped, folder.path().join("src.toml")).unwrap();
    assert!(Path::new("src").is_dir());
    assert_eq!(
        Scenario::load_from("src", folder.path()).unwrap().name,
        "smoke"
    );
    let nothing = Scenario::load_from("src", Path::new("/nowhere")).unwrap_err();
    assert!(
        matches!(nothing, ScenarioError::NotFound { .. }),
        "{nothing}"
    );
}

#[test]
fn every_shipped_scenario_loads_under_its_own_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/scenarios");
    let names = Scenario::names_in(&folder);
    assert!(names.len() >= 14, "{names:?}");
    for name in names {
        match &Scenario::load_all_from(&name, &folder).unwrap()[..] {
            [one] => assert_eq!(one.name, name),
            several => assert!(name == "all" && several.len() > 5),
        }
    }
}

#[test]
fn the_rate_profile_intends_more_than_its_threshold() {
    let scenario = shipped("rate");
    let threshold = scenario.thresholds.min_throughput.unwrap();
    assert!(scenario.intended_rate().unwrap() > threshold);
}

#[test]
fn defaults_are_the_stated_ones() {
    let scenario = parse(SMALL);
    assert_eq!(scenario.engine, Engine::Session);
    assert_eq!(scenario.connections, 5);
    assert_eq!(scenario.timeouts, Timeouts::default());
    assert_eq!(scenario.requests[0].method, http::Method::GET);
    assert_eq!(parse(OPEN).connections, 256);
}

#[test]
fn unknown_keys_are_refused_where_they_stand() {
    let (line, column, field, message) = refuse(&SMALL.replace("users = 5", "users = 5\nuser = 6"));
    assert_eq!((line, column), (8, 1));
    assert_eq!(field, "load.user");
    assert!(message.contains("unknown field `user`"), "{message}");
    assert!(message.contains("`spawn_rate`"), "{message}");
}

#[test]
fn wrong_types_and_units_name_field_and_remedy() {
    let (line, _, field, message) = refuse(&SMALL.replace("\"10s\"", "\"10 parsecs\""));
    assert_eq!((line, field.as_str()), (3, "duration"));
    assert!(message.contains("500ms"), "{message}");

    let (line, _, field, message) = refuse(&SMALL.replace("users = 5", "users = \"five\""));
    assert_eq!((line, field.as_str()), (7, "load.users"));
    assert!(message.contains("u32"), "{message}");

    let (_, _, field, message) = refuse(&OPEN.replace("100/s", "100/parsec"));
    assert_eq!(field, "load.rate");
    assert!(message.contains("600/s"), "{message}");
}

#[test]
fn a_scenario_without_requests_says_what_to_add() {
    let (_, _, field, message) = refuse(&SMALL[..SMALL.find("[[").unwrap()]);
    assert_eq!(field, "requests");
    assert!(message.contains("[[requests]]"), "{message}");
}

#[test]
fn cross_field_mistakes_are_found() {
    let cases = [
        (SMALL.replace("users = 5", "users = 0"), "load.users"),
        (SMALL.replace("users = 5", ""), "load.users"),
        (
            SMALL.replace("users = 5", "users = 5\nrate = \"1/s\""),
            "load.rate",
        ),
        (SMALL.replace("\"10s\"", "\"0\""), "duration"),
        (SMALL.replace("duration = \"10s\"", ""), "duration"),
        (
            SMALL.replace("duration", "connections = 9\nduration"),
            "connections",
        ),
        (
            SMALL.replace(
                "users = 5",
                "users = 5\nthink_time = { min = \"2s\", max = \"1s\" }",
            ),
            "load.think_time",
        ),
        (OPEN.replace("rate = \"100/s\"", ""), "load.rate"),
        (
            OPEN.replace("rate = \"100/s\"", "rate = \"0/s\""),
            "load.rate",
        ),
        (OPEN.replace("model", "users = 1\nmodel"), "load.users"),
        (
            OPEN.replace("model", "arrivals = \"volley\"\nmodel"),
            "load.volley",
        ),
        (
            SMALL.replace("path = \"/\"", "path = \"x\""),
            "requests[0].path",
        ),
        (
            SMALL.replace("path = \"/\"", "path = \"/{{x}}\""),
            "requests[0].path",
        ),
        (
            SMALL.replace("path = \"/\"", "path = \"/\"\nmethod = \"FETCH\""),
            "requests[0].method",
        ),
        (
            SMALL.replace("path = \"/\"", "path = \"/\"\nweight = -1.0"),
            "requests[0].weight",
        ),
        (
            SMALL.replace("path = \"/\"", "path = \"/\"\nheaders = { Host = \"a\" }"),
            "requests[0].headers.Host",
        ),
        (
            SMALL.replace("path = \"/\"", "path = \"/\"\nexpect = { status = 99 }"),
            "requests[0].expect.status",
        ),
        (
            format!("{SMALL}\n[[requests]]\nname = \"root\"\npath = \"/b\""),
            "requests[1].name",
        ),
        (SMALL.replace("\"small\"", "\"a/b\""), "name"),
        (
            format!("{SMALL}\n[thresholds]\nerror_rate = \"200%\""),
            "thresholds.error_rate",
        ),
        (
            format!("{SMALL}\n[timeouts]\ntotal = \"0\""),
            "timeouts.total",
        ),
        (
            format!("{SMALL}\n[login]\npath = \"/l\"\ntoken = \"a..b\""),
            "login.token",
        ),
    ];
    for (source, expected) in cases {
        let (line, _, field, message) = refuse(&source);
        assert_eq!(field, expected, "{message}\n{source}");
        assert!(line >= 1 && !message.is_empty());
    }
}

#[test]
fn text_that_is_not_toml_is_refused_with_a_position() {
    let (line, _, _, message) = refuse("name = \"a\"\nduration = = 3");
    assert_eq!(line, 2, "{message}");
}

#[test]
fn a_scenario_takes_from_another_what_it_does_not_say() {
    let source = r#"
        name = "mine"
        extends = "documented"
        duration = "1s"
        load = { model = "closed", users = 1 }
        thresholds = { p99 = "1s" }
    "#;
    let scenario = parse(source);
    let base = shipped("documented");
    assert_eq!(scenario.requests.len(), base.requests.len());
    assert!(scenario.login.is_some());
    assert_eq!(scenario.timeouts, base.timeouts);
    assert_eq!(scenario.thresholds.p99, Some(Duration::from_secs(1)));
    assert_eq!(
        scenario.thresholds.p50, None,
        "a table replaces the whole table"
    );
    assert_eq!(scenario.duration, Duration::from_secs(1));

    let (line, _, field, message) = refuse(&source.replace("\"documented\"", "\"nope\""));
    assert_eq!((line, field.as_str()), (3, "extends"));
    assert!(message.contains("documented"), "{message}");
    let (_, _, field, message) = refuse(&source.replace("\"documented\"", "\"rate\""));
    assert_eq!(field, "extends");
    assert!(message.contains("cannot extend another"), "{message}");
}

#[test]
fn names_work_without_any_folder() {
    let nowhere = Path::new("/nonexistent");
    for name in Scenario::names_in(nowhere) {
        if name == "all" {
            continue;
        }
        let scenario = Scenario::load_from(&name, nowhere).unwrap();
        assert_eq!(scenario.name, name);
        assert_eq!(scenario.source, None);
    }
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/scenarios");
    let error = Scenario::load_from("nope", &folder)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("documented") && error.contains("rate"),
        "{error}"
    );
}

#[test]
fn stages_ramp_from_the_rate_before() {
    let source = OPEN
        .replace("duration = \"10s\"", "")
        .replace(
            "rate = \"100/s\"",
            "stages = [{ duration = \"5s\", rate = \"100/s\", ramp = true }, { duration = \"10s\", rate = \"100/s\" }]",
        );
    let scenario = parse(&source);
    assert_eq!(scenario.duration, Duration::from_secs(15));
    let intended = scenario.intended_rate().unwrap().get();
    assert!((intended - (250.0 + 1000.0) / 15.0).abs() < 1e-9);
}

#[test]
fn time_scale_shortens_time_and_leaves_rates() {
    let overrides = Overrides {
        time_scale: Some(0.1),
        ..Overrides::default()
    };
    let scenario = overrides.apply(shipped("documented")).unwrap();
    assert_eq!(scenario.duration, Duration::from_secs(30));
    assert_eq!(scenario.warmup, Duration::from_millis(1500));
    let Load::Closed(closed) = &scenario.load else {
        panic!("closed");
    };
    assert_eq!(closed.spawn_rate.unwrap().get(), 100.0);
    assert_eq!(closed.think_time.mean(), Duration::from_millis(1250));

    let scenario = overrides.apply(shipped("rate")).unwrap();
    assert_eq!(scenario.duration, Duration::from_secs(6));
    assert_eq!(scenario.intended_rate().unwrap().get(), 600.0);
}

#[test]
fn overrides_that_do_not_fit_are_refused() {
    let users = Overrides {
        users: Some(3),
        ..Overrides::default()
    };
    assert!(users.apply(parse(OPEN)).is_err());
    assert_eq!(users.apply(parse(SMALL)).unwrap().lanes(), 3);
    let rate = Overrides {
        rate: Some(Rate::per_second(50.0).unwrap()),
        ..Overrides::default()
    };
    assert!(rate.apply(parse(SMALL)).is_err());
    let scenario = rate.apply(parse(OPEN)).unwrap();
    assert_eq!(scenario.intended_rate().unwrap().get(), 50.0);
    for scale in [0.0, -1.0, f64::NAN] {
        let overrides = Overrides {
            time_scale: Some(scale),
            ..Overrides::default()
        };
        assert!(overrides.apply(parse(OPEN)).is_err());
    }
}

#[test]
fn the_effective_configuration_serialises() {
    let json = serde_json::to_value(shipped("documented")).unwrap();
    assert_eq!(json["duration"], "5m");
    assert_eq!(json["load"]["model"], "closed");
    assert_eq!(json["load"]["think_time"]["uniform"]["min"], "500ms");
    assert_eq!(json["requests"][4]["method"], "POST");
}

#[test]
fn rules_are_texts_or_tables_and_name_endpoints_that_exist() {
    let scenario = parse(&format!(
        "{SMALL}\n[thresholds]\np95 = \"1s\"\nrules = [\"root: p99.9 < 300ms\", {{ metric = \"errors\", below = \"1%\", abort = true }}]\n"
    ));
    let rules: Vec<String> = scenario
        .thresholds
        .rules
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(rules, ["root: p99.9 < 300ms", "errors < 1% abort"]);

    let (line, _, field, message) = refuse(&format!(
        "{SMALL}\n[[thresholds.rules]]\nmetric = \"p95\"\nendpoint = \"rot\"\nbelow = \"80ms\"\n"
    ));
    assert_eq!((line, field.as_str()), (13, "thresholds.rules[0]"));
    assert_eq!(message, "no request is named `rot`; the scenario has root");

    let (line, _, field, message) =
        refuse(&format!("{SMALL}\n[thresholds]\nrules = [\"p99 < 200\"]\n"));
    assert_eq!((line, field.as_str()), (14, "thresholds.rules[0]"));
    assert!(
        message.contains("`p99 < 200`: ") && message.contains("\"500ms\""),
        "{message}"
    );
}
