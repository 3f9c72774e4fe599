//! Users who come and go, fixed numbers of requests, replays, and every shipped scenario.

use std::{
    collections::HashMap,
    fmt::Write as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use weir_bench::{
    judge::Thresholds,
    lint::{Facts, lint},
};
use weir_lab::replica::{self, DEFAULT_SECRET, Kind, ReplicaConfig};
use weir_load::{
    progress::NoProgress,
    run::{Outcome, RunOptions, drive},
    scenario::{Load, Overrides, Scenario},
    stop::StopToken,
    target::Target,
    units::Rate,
};

use crate::{
    ENGINES, Kept, run, scenario,
    server::{Server, ok},
};

fn run_with(scenario: &Scenario, address: std::net::SocketAddr, threads: usize) -> Outcome {
    let options = RunOptions {
        threads,
        ..RunOptions::default()
    };
    let target = Target::local(address).unwrap();
    let progress = Arc::new(NoProgress);
    drive(scenario, &target, &options, progress, &StopToken::new()).unwrap()
}

#[test]
fn users_of_a_spike_come_and_really_go() {
    for engine in ENGINES {
        let alone = Arc::new(AtomicBool::new(false));
        let seen_alone = alone.clone();
        let ended = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let ended_then = ended.clone();
        let server = Server::start_counting(
            move |_| {
                // Ten users have gone, and one connection only checked that somebody is there.
                if ended_then.load(Ordering::Relaxed) == 11 {
                    seen_alone.store(true, Ordering::Relaxed);
                }
                ok("x")
            },
            ended,
        );
        let scenario = scenario(
            &format!("duration = \"5s\"\nengine = \"{engine}\""),
            "model = \"closed\"\nspike = { base = 2, peak = 12, at = \"1s\", length = \"2s\" }\nthink_time = \"10ms\"",
        );
        let kept = Arc::new(Kept::default());
        let target = Target::local(server.address).unwrap();
        let options = RunOptions::default();
        let outcome = drive(
            &scenario,
            &target,
            &options,
            kept.clone(),
            &StopToken::new(),
        )
        .unwrap();
        assert_eq!(outcome.summary.errors, 0, "{engine}");
        let users: Vec<u64> = kept
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|tick| tick.users)
            .collect();
        assert_eq!(users.iter().max(), Some(&12), "{engine} {users:?}");
        assert_eq!(users.last(), Some(&2), "{engine} {users:?}");
        assert_eq!(server.accepted.load(Ordering::Relaxed), 13, "{engine}");
        assert!(
            alone.load(Ordering::Relaxed),
            "{engine}: connections stay open"
        );
    }
}

#[test]
fn users_who_come_back_are_new_ones_and_log_in_again() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = seen.clone();
    let server = Server::start(move |request| {
        if request.head.starts_with("POST /login") {
            kept.lock().unwrap().push(request.body.clone());
            return ok(r#"{"token": "t"}"#);
        }
        ok("x")
    });
    let source = r#"
        name = "back"
        load = { model = "closed", think_time = "5ms", stages = [
            { duration = "300ms", users = 3 },
            { duration = "300ms", users = 1 },
            { duration = "300ms", users = 3 },
        ] }
        login = { path = "/login", body = 'u{{user}}', token = "token" }
        requests = [{ name = "a", path = "/a" }]
    "#;
    for engine in ENGINES {
        seen.lock().unwrap().clear();
        let source = source.replace("\"back\"", &format!("\"back\"\nengine = \"{engine}\""));
        let scenario = Scenario::parse(&source, "t").unwrap();
        let summary = run(&scenario, server.address).summary;
        assert_eq!(summary.errors, 0, "{engine}");
        let mut logins = seen.lock().unwrap().clone();
        logins.sort();
        assert_eq!(logins, ["u1", "u2", "u2", "u3", "u3"], "{engine}");
    }
}

#[test]
fn a_fixed_number_of_requests_is_exact_across_threads() {
    for engine in ENGINES {
        let server = Server::start(|_| ok("x"));
        let closed = scenario(
            &format!("requests_total = 137\nengine = \"{engine}\""),
            "model = \"closed\"\nusers = 5",
        );
        assert_eq!(
            closed.duration,
            Duration::from_secs(3600),
            "a bound on time"
        );
        let summary = run_with(&closed, server.address, 2).summary;
        assert_eq!((summary.requests, summary.errors), (137, 0), "{engine}");
        assert_eq!(server.requests(), 137, "{engine}");
        let reasons = summary.validity.reasons.join("; ");
        assert!(!reasons.contains("ended early"), "{reasons}");

        let server = Server::start(|_| ok("x"));
        let open = scenario(
            &format!("requests_total = 50\nduration = \"60s\"\nengine = \"{engine}\""),
            "model = \"open\"\nrate = \"500/s\"",
        );
        let began = Instant::now();
        let summary = run_with(&open, server.address, 2).summary;
        assert_eq!(summary.requests + summary.unsent, 50, "{engine}");
        assert_eq!(server.requests() + summary.unsent, 50, "{engine}");
        assert!(
            began.elapsed() < Duration::from_secs(50),
            "it ends by number"
        );
    }
}

#[test]
fn time_bounds_a_fixed_number_and_the_report_says_so() {
    let server = Server::start(|_| ok("x"));
    let scenario = scenario(
        "requests_total = 1000000\nduration = \"300ms\"",
        "model = \"closed\"\nusers = 1\nthink_time = \"20ms\"",
    );
    let summary = run(&scenario, server.address).summary;
    assert!(summary.requests < 100);
    let reasons = summary.validity.reasons.join("; ");
    assert!(reasons.contains("of 1000000 requests"), "{reasons}");
}

#[test]
fn paced_users_start_at_a_fixed_interval() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(30));
        ok("x")
    });
    let scenario = scenario(
        "duration = \"2s\"",
        "model = \"closed\"\nusers = 1\npacing = \"100ms\"",
    );
    let summary = run(&scenario, server.address).summary;
    // One every 100 ms, not every 130: 20 on an idle machine, fewer on a busy one, never more.
    assert!(
        (16..=20).contains(&summary.requests),
        "{}",
        summary.requests
    );
}

#[test]
fn a_trace_is_sent_again_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut trace = String::new();
    let mut expected: HashMap<String, u32> = HashMap::new();
    for n in 0..60 {
        let at = f64::from(n) / 50.0;
        let (line, seen) = match n % 3 {
            0 => (
                format!("{{\"at\": {at}, \"path\": \"/items/{n}?full=1\"}}"),
                format!("GET /items/{n}?full=1 "),
            ),
            1 => (
                format!(
                    "{{\"at\": {at}, \"method\": \"POST\", \"path\": \"/orders\", \"body\": \"order {n}\", \"headers\": {{\"x-kind\": \"test\"}}}}"
                ),
                format!("POST /orders order {n}"),
            ),
            _ => (
                format!("{{\"at\": {at}, \"path\": \"/gone\", \"status\": 404}}"),
                "GET /gone ".to_owned(),
            ),
        };
        writeln!(trace, "{line}").unwrap();
        *expected.entry(seen).or_default() += 1;
    }
    std::fs::write(folder.path().join("trace.jsonl"), trace).unwrap();
    for engine in ENGINES {
        let file = folder.path().join("replay.toml");
        let source = format!(
            "name = \"replay\"\nengine = \"{engine}\"\n[load]\nmodel = \"open\"\narrivals = \"replay\"\ntrace = \"trace.jsonl\"\nspeed = 2.0\n"
        );
        std::fs::write(&file, source).unwrap();
        let seen: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
        let kept = seen.clone();
        let server = Server::start(move |request| {
            let mut words = request.head.split_whitespace();
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let key = format!("{method} {path} {}", request.body);
            *kept.lock().unwrap().entry(key).or_default() += 1;
            if method == "POST" {
                assert!(request.head.to_ascii_lowercase().contains("x-kind: test"));
            }
            if path == "/gone" {
                return crate::server::answer("404 Not Found", "");
            }
            ok("x")
        });
        let scenario = Scenario::load(file.to_str().unwrap()).unwrap();
        assert_eq!(scenario.duration, Duration::from_millis(591));
        let summary = run_with(&scenario, server.address, 2).summary;
        assert_eq!((summary.requests, summary.unsent), (60, 0), "{engine}");
        assert_eq!(summary.errors, 0, "{engine}: {:?}", summary.failures);
        assert_eq!(*seen.lock().unwrap(), expected, "{engine}");
        let mut names: Vec<_> = summary
            .endpoints
            .iter()
            .map(|e| (e.name.as_str(), e.requests))
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                ("GET_/gone", 20),
                ("GET_/items/*", 20),
                ("POST_/orders", 20)
            ]
        );
    }
}

#[test]
fn every_shipped_scenario_loads_lints_and_runs_in_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/scenarios");
    let replica = replica::start(ReplicaConfig {
        name: "one".into(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        kind: Kind::Api {
            capacity: None,
            secret: DEFAULT_SECRET.into(),
        },
    })
    .unwrap();
    let names = Scenario::names_in(&folder);
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        for scenario in Scenario::load_all_from(&name, &folder).unwrap() {
            let findings = lint(&Facts::new(&scenario, Thresholds::documented(), 1, None));
            assert!(findings.iter().all(|finding| !finding.title.is_empty()));
            let open = matches!(scenario.load, Load::Open(_));
            let scale = 0.4 / scenario.duration.as_secs_f64();
            let short = Overrides {
                time_scale: Some(scale),
                // Think times stay: what is sent first must count.
                warmup: Some(Duration::ZERO),
                users: (!open).then_some(15),
                rate: open.then(|| Rate::per_second(150.0).unwrap()),
                connections: open.then_some(20),
                ..Overrides::default()
            };
            let scenario = short.apply(scenario).unwrap();
            let summary = run(&scenario, replica.addresses()[0]).summary;
            assert!(summary.requests > 0, "{}", scenario.name);
            assert_eq!(
                summary.errors, 0,
                "{}: {:?}",
                scenario.name, summary.failures
            );
        }
    }
}
