//! Shapes of load: stages, spikes, waves, replays, lists of scenarios, overrides.

use std::{path::Path, time::Duration};

use super::{
    tests::{OPEN, SMALL, parse, refuse, shipped},
    *,
};

#[test]
fn a_list_stands_for_its_scenarios_and_is_none_itself() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/scenarios");
    let all = Scenario::load_all_from("all", &folder).unwrap();
    assert!(
        all.iter()
            .all(|one| one.duration <= Duration::from_secs(300))
    );
    let error = Scenario::load_from("all", &folder).unwrap_err().to_string();
    assert!(error.contains("one of them here: smoke"), "{error}");

    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("mine.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Scenario::load_all_from(path.to_str().unwrap(), &folder)
            .unwrap_err()
            .to_string()
    };
    let error = load("name = \"mine\"\nscenarios = [\"smoke\", \"nope\"]");
    assert!(
        error.contains("mine.toml:2:23: `scenarios[1]`: no scenario `nope`"),
        "{error}"
    );
    assert!(load("name = \"mine\"\nscenarios = []").contains("at least one"));
    assert!(load("name = \"mine\"\nscenario = []\nscenarios = []").contains(":2:1"));
}

#[test]
fn the_shipped_shapes_are_the_specified_ones() {
    let closed = |name: &str| match shipped(name).load {
        Load::Closed(closed) => closed,
        Load::Open(_) => panic!("{name}"),
    };
    let spike = closed("spike");
    let users: Vec<_> = spike.stages.iter().map(|stage| stage.to).collect();
    assert_eq!(
        (users, shipped("spike").duration),
        (vec![10, 300, 10], Duration::from_secs(300))
    );
    let stress = closed("stress");
    assert_eq!((stress.stages[0].from, stress.users), (300, 500));
    assert_eq!(shipped("stress").duration, Duration::from_secs(600));
    let load = closed("load");
    assert_eq!((load.stages[0].from, load.users), (100, 200));
    assert_eq!(shipped("load").duration, Duration::from_secs(900));
    for (name, users, seconds) in [
        ("smoke", 10, 60),
        ("baseline", 50, 300),
        ("endurance", 100, 1800),
        ("soak", 60, 7200),
    ] {
        assert_eq!(
            (closed(name).users, shipped(name).duration.as_secs()),
            (users, seconds)
        );
    }
}

#[test]
fn shapes_of_users_and_rates_are_read() {
    let staged = SMALL.replace("duration = \"10s\"\n", "").replace(
        "users = 5",
        "stages = [{ duration = \"5s\", users = 10, ramp = true }, { duration = \"5s\", users = 4 }]",
    );
    let scenario = parse(&staged);
    let Load::Closed(closed) = &scenario.load else {
        panic!("closed");
    };
    assert_eq!(
        (closed.users, closed.stages[0].from, closed.stages[1].from),
        (10, 0, 4)
    );
    assert_eq!(scenario.duration, Duration::from_secs(10));
    assert!((closed.mean_users() - 4.5).abs() < 1e-9);

    let sine = OPEN.replace(
        "rate = \"100/s\"",
        "sine = { mean = \"100/s\", amplitude = \"40/s\", period = \"4s\" }",
    );
    let Load::Open(open) = parse(&sine).load else {
        panic!("open");
    };
    assert_eq!(open.peak_rate(), 140.0);
    // Two periods and a half: half a wave is left over.
    let left_over = 40.0 * 4.0 / std::f64::consts::PI;
    assert!((open.expected() - 1000.0 - left_over).abs() < 1e-6);

    let spike = OPEN.replace(
        "rate = \"100/s\"",
        "spike = { base = \"10/s\", peak = \"100/s\", at = \"4s\", length = \"6s\" }",
    );
    let Load::Open(open) = parse(&spike).load else {
        panic!("open");
    };
    assert_eq!((open.stages.len(), open.expected()), (2, 640.0));
}

#[test]
fn distributions_of_think_times_are_read() {
    let think = |text: &str| {
        let source = SMALL.replace("users = 5", &format!("users = 5\nthink_time = {text}"));
        Scenario::parse(&source, "t").map(|scenario| match scenario.load {
            Load::Closed(closed) => closed.think_time,
            Load::Open(_) => panic!("closed"),
        })
    };
    let ms = Duration::from_millis;
    for (text, expected) in [
        ("\"none\"", ThinkTime::None),
        ("\"1s\"", ThinkTime::Constant(ms(1000))),
        (
            "{ distribution = \"exponential\", mean = \"1s\" }",
            ThinkTime::Exponential { mean: ms(1000) },
        ),
        (
            "{ distribution = \"normal\", mean = \"1s\", deviation = \"200ms\" }",
            ThinkTime::Normal {
                mean: ms(1000),
                deviation: ms(200),
            },
        ),
        (
            "{ distribution = \"lognormal\", mean = \"1s\", deviation = \"2s\" }",
            ThinkTime::LogNormal {
                mean: ms(1000),
                deviation: ms(2000),
            },
        ),
        (
            "{ distribution = \"uniform\", min = \"1s\", max = \"2s\" }",
            ThinkTime::Uniform {
                min: ms(1000),
                max: ms(2000),
            },
        ),
    ] {
        assert_eq!(think(text).unwrap(), expected, "{text}");
    }
    for (text, expected) in [
        ("{ min = \"1s\" }", "`min` and `max`"),
        (
            "{ distribution = \"normal\", mean = \"1s\" }",
            "`deviation`",
        ),
        (
            "{ distribution = \"exponential\", mean = \"0\" }",
            "above 0",
        ),
        (
            "{ distribution = \"cauchy\", mean = \"1s\" }",
            "unknown variant `cauchy`",
        ),
    ] {
        let error = think(text).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("t:8:"),
            "{error}"
        );
    }
}

#[test]
fn shapes_that_contradict_themselves_are_refused() {
    let closed = |text: &str| SMALL.replace("users = 5", text);
    let open = |text: &str| OPEN.replace("rate = \"100/s\"", text);
    let cases = [
        (
            closed("users = 5\nstages = [{ duration = \"10s\", users = 1 }]"),
            "load.stages",
        ),
        (
            closed("stages = [{ duration = \"9s\", users = 1 }]"),
            "duration",
        ),
        (
            closed("stages = [{ duration = \"10s\", rate = \"1/s\" }]"),
            "load.stages[0].rate",
        ),
        (
            closed("stages = [{ duration = \"10s\" }]"),
            "load.stages[0]",
        ),
        (
            closed("stages = [{ duration = \"10s\", users = 0 }]"),
            "load.stages",
        ),
        (closed("stages = []"), "load.stages"),
        (
            closed("spawn_rate = \"1/s\"\nstages = [{ duration = \"10s\", users = 1 }]"),
            "load.spawn_rate",
        ),
        (
            closed("spike = { base = 1, peak = \"9/s\", at = \"1s\", length = \"1s\" }"),
            "load.spike.peak",
        ),
        (
            closed("spike = { base = 1, peak = 9, at = \"5s\", length = \"6s\" }"),
            "load.spike.length",
        ),
        (
            closed("users = 1\npacing = \"1s\"\nthink_time = \"1s\""),
            "load.pacing",
        ),
        (
            closed("users = 1\nsine = { mean = \"1/s\", amplitude = \"1/s\", period = \"1s\" }"),
            "load.sine",
        ),
        (
            open("sine = { mean = \"10/s\", amplitude = \"11/s\", period = \"1s\" }"),
            "load.sine.amplitude",
        ),
        (
            open(
                "rate = \"1/s\"\nsine = { mean = \"10/s\", amplitude = \"1/s\", period = \"1s\" }",
            ),
            "load.sine",
        ),
        (
            open("stages = [{ duration = \"10s\", users = 1 }]"),
            "load.stages[0].users",
        ),
        (open("arrivals = \"replay\""), "load.trace"),
        (
            open("arrivals = \"replay\"\ntrace = \"/nonexistent\""),
            "load.trace",
        ),
        (open("rate = \"1/s\"\nspeed = 2.0"), "load.speed"),
        (
            SMALL.replace("duration", "requests_total = 0\nduration"),
            "requests_total",
        ),
    ];
    for (source, expected) in cases {
        let (_, _, field, message) = refuse(&source);
        assert_eq!(field, expected, "{message}\n{source}");
    }
}

#[test]
fn overrides_keep_shapes_in_proportion() {
    let users = Overrides {
        users: Some(30),
        time_scale: Some(0.1),
        ..Overrides::default()
    };
    let scenario = users.apply(shipped("spike")).unwrap();
    let Load::Closed(closed) = &scenario.load else {
        panic!("closed");
    };
    let stages: Vec<_> = closed
        .stages
        .iter()
        .map(|s| (s.to, s.duration.as_secs()))
        .collect();
    assert_eq!(stages, [(1, 12), (30, 6), (1, 12)]);
    assert_eq!(
        (scenario.lanes(), scenario.duration),
        (30, Duration::from_secs(30))
    );
}

#[test]
fn a_replay_is_cut_and_not_stretched() {
    let folder = tempfile::tempdir().unwrap();
    let trace: String = (0..=100)
        .map(|n| {
            format!(
                "{{\"at\": {}, \"path\": \"/{}\"}}\n",
                f64::from(n) / 10.0,
                n % 3
            )
        })
        .collect();
    std::fs::write(folder.path().join("t.jsonl"), trace).unwrap();
    let load = |text: &str| {
        let path = folder.path().join("s.toml");
        let source = format!(
            "name = \"s\"\n{text}\n[load]\nmodel = \"open\"\narrivals = \"replay\"\ntrace = \"t.jsonl\"\n"
        );
        std::fs::write(&path, source).unwrap();
        Scenario::load(path.to_str().unwrap())
    };
    let scenario = load("warmup = \"2s\"").unwrap();
    assert_eq!(scenario.duration, Duration::from_millis(8001));
    let Load::Open(open) = &scenario.load else {
        panic!("open");
    };
    assert_eq!(open.expected().round(), 81.0);
    assert_eq!(open.peak_rate(), 10.0);
    assert_eq!(scenario.requests[0].path.source(), "/*");

    let cut = |duration| Overrides {
        duration: Some(Duration::from_secs(duration)),
        ..Overrides::default()
    };
    let shorter = cut(4).apply(scenario.clone()).unwrap();
    let Load::Open(open) = &shorter.load else {
        panic!("open");
    };
    assert_eq!(open.expected().round(), 40.0);
    let error = cut(20).apply(scenario).unwrap_err().to_string();
    assert!(
        error.contains("--duration") && error.contains("not stretched"),
        "{error}"
    );
    assert!(
        load("duration = \"1m\"")
            .unwrap_err()
            .to_string()
            .contains("`duration`")
    );
    assert!(
        load("warmup = \"11s\"")
            .unwrap_err()
            .to_string()
            .contains("`warmup`")
    );
}
