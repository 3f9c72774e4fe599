//! Users who log in, keep cookies and reuse connections; and the stand-in API from both sides.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use weir_lab::replica::{self, Capacity, DEFAULT_SECRET, Distribution, Kind, ReplicaConfig, Work};
use weir_load::{
    run::{RunError, RunOptions, drive},
    scenario::{Overrides, Scenario},
    stop::StopToken,
    target::Target,
};

use crate::{
    ENGINES, run,
    server::{Reply, Server, answer, ok},
    try_run,
};

fn stand_in(capacity: Option<Capacity>) -> replica::Running {
    replica::start(ReplicaConfig {
        name: "one".into(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        kind: Kind::Api {
            capacity,
            secret: DEFAULT_SECRET.into(),
        },
    })
    .unwrap()
}

fn shipped(name: &str, overrides: &Overrides) -> Scenario {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/scenarios");
    overrides
        .apply(Scenario::load_from(name, folder.as_ref()).unwrap())
        .unwrap()
}

fn with_engine(name: &str) -> Overrides {
    Overrides {
        engine: Some(match name {
            "wire" => weir_load::scenario::Engine::Wire,
            _ => weir_load::scenario::Engine::Session,
        }),
        ..Overrides::default()
    }
}

#[test]
fn the_documented_profile_runs_against_the_stand_in() {
    for engine in ENGINES {
        let replica = stand_in(None);
        let overrides = Overrides {
            time_scale: Some(0.01),
            users: Some(20),
            ..with_engine(engine)
        };
        let outcome = run(&shipped("documented", &overrides), replica.addresses()[0]);
        let summary = outcome.summary;
        assert_eq!(summary.errors, 0, "{engine}: {:?}", summary.failures);
        assert!(summary.ok > 0);
        assert_eq!(summary.engine, engine);
        let names: HashSet<_> = summary.endpoints.iter().map(|e| e.name.as_str()).collect();
        assert!(names.contains("audit-log") && names.contains("compliance-statistics"));
    }
}

#[test]
fn the_rate_profile_keeps_its_rate_on_slots_that_suffice() {
    for engine in ENGINES {
        let replica = stand_in(Some(Capacity {
            slots: 8,
            service: Distribution::Constant(Duration::from_millis(5)),
            queue: 1000,
            work: Work::Wait,
            seed: 1,
        }));
        let overrides = Overrides {
            duration: Some(Duration::from_secs(2)),
            warmup: Some(Duration::from_millis(500)),
            rate: Some("100/s".parse().unwrap()),
            connections: Some(50),
            ..with_engine(engine)
        };
        let scenario = shipped("rate", &overrides);
        let outcome = run(&scenario, replica.addresses()[0]);
        let summary = outcome.summary;
        assert_eq!(summary.errors, 0, "{engine}: {:?}", summary.failures);
        // On a machine that is starved for a moment, the last arrivals may not get their turn.
        assert!(
            summary.unsent * 50 <= summary.requests,
            "{engine}: {}",
            summary.unsent
        );
        assert!(
            summary.service.min_ms >= 5.0 * 0.999,
            "{:?}",
            summary.service
        );
    }
}

/// Logs in, and remembers what it saw.
fn login_server(seen: Arc<Mutex<Vec<String>>>) -> Server {
    Server::start(move |request| {
        seen.lock().unwrap().push(request.head.to_ascii_lowercase());
        if request.head.starts_with("POST /login") {
            let user: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            let user = user["user"].as_str().unwrap().to_owned();
            let body = format!(r#"{{"data":{{"token":"token-of-{user}"}}}}"#);
            let length = body.len();
            return Reply::Bytes(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nset-cookie: session={user}; Path=/\r\n\r\n{body}"
                )
                .into(),
            );
        }
        ok("x")
    })
}

const WITH_LOGIN: &str = r#"
    name = "login"
    duration = "500ms"
    load = { model = "closed", users = 3, think_time = "5ms" }
    login = { path = "/login", body = '{"user": "u{{user}}"}', token = "data.token" }
    [[requests]]
    name = "a"
    path = "/a"
"#;

#[test]
fn each_user_logs_in_once_and_sends_its_own_token_over_its_own_connection() {
    for engine in ENGINES {
        let seen = Arc::default();
        let server = login_server(Arc::clone(&seen));
        let scenario = with_engine(engine)
            .apply(Scenario::parse(WITH_LOGIN, "t").unwrap())
            .unwrap();
        let summary = run(&scenario, server.address).summary;
        assert_eq!(summary.errors, 0, "{engine}: {:?}", summary.failures);
        let seen = seen.lock().unwrap();
        let logins = seen
            .iter()
            .filter(|head| head.starts_with("post /login"))
            .count();
        assert_eq!(logins, 3, "{engine}");
        for user in 1..=3 {
            let token = format!("authorization: bearer token-of-u{user}");
            let own: Vec<_> = seen.iter().filter(|head| head.contains(&token)).collect();
            assert!(!own.is_empty(), "{engine} {user}");
            if engine == "session" {
                let cookie = format!("cookie: session=u{user}");
                assert!(own.iter().all(|head| head.contains(&cookie)), "{user}");
            }
        }
        // One more connection only checked that somebody is there.
        assert_eq!(server.accepted.load(Ordering::Relaxed), 4, "{engine}");
    }
}

#[test]
fn a_login_that_cannot_work_is_told_before_the_run() {
    for (reply, expected) in [
        ("401 Unauthorized", "status_401"),
        ("200 OK", "no `data.token`"),
    ] {
        let server = Server::start(move |_| answer(reply, "{}"));
        let scenario = Scenario::parse(WITH_LOGIN, "t").unwrap();
        let error = try_run(&scenario, server.address, &StopToken::new()).unwrap_err();
        assert!(matches!(error, RunError::Login { .. }));
        let message = error.to_string();
        assert!(
            message.contains("/login") && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn connections_are_counted_exactly_and_kept() {
    let server = Server::start(|_| ok("x"));
    let scenario = crate::scenario(
        "duration = \"500ms\"\nengine = \"wire\"\nconnections = 17",
        "model = \"open\"\nrate = \"200/s\"",
    );
    let target = Target::local(server.address).unwrap();
    let outcome = drive(
        &scenario,
        &target,
        &RunOptions::default(),
        Arc::new(weir_load::progress::NoProgress),
        &StopToken::new(),
    )
    .unwrap();
    assert_eq!(outcome.summary.errors, 0);
    assert_eq!(server.accepted.load(Ordering::Relaxed), 18);
    assert_eq!(outcome.summary.extra["connects"], 0.0);
}

#[test]
fn every_request_has_one_host_and_accepts_what_the_scenario_says() {
    for (more, accepted) in [
        ("", "*/*"),
        (
            "headers = { Accept = 'application/json' }",
            "application/json",
        ),
    ] {
        for path in ["/", "/users/{{user}}"] {
            let heads: Arc<Mutex<Vec<String>>> = Arc::default();
            let kept = heads.clone();
            let server = Server::start(move |request| {
                kept.lock().unwrap().push(request.head.to_ascii_lowercase());
                ok("x")
            });
            let source = format!(
                "name = 'test'\nduration = '200ms'\n[load]\nmodel = 'closed'\nusers = 2\n\
                 think_time = '5ms'\n[[requests]]\nname = 'a'\npath = '{path}'\n{more}\n"
            );
            let scenario = Scenario::parse(&source, "test").unwrap();
            assert_eq!(run(&scenario, server.address).summary.errors, 0);
            let heads = heads.lock().unwrap();
            assert!(heads.len() > 2);
            for head in heads.iter() {
                let values = |name: &str| -> Vec<_> {
                    let lines = head.lines().filter_map(|line| line.split_once(": "));
                    lines
                        .filter(|(own, _)| *own == name)
                        .map(|(_, value)| value)
                        .collect()
                };
                assert_eq!(values("host"), [server.address.to_string()], "{head}");
                assert_eq!(values("accept"), [accepted], "{head}");
            }
        }
    }
}

#[test]
fn cookies_belong_to_the_target_as_it_is_called() {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = heads.clone();
    let server = Server::start(move |request| {
        kept.lock().unwrap().push(request.head.to_ascii_lowercase());
        let cookies = [
            "own=1; Domain=127.0.0.1",
            "other=2; Domain=example.com",
            "below=3; Path=/below",
        ];
        let cookies = cookies.map(|cookie| format!("set-cookie: {cookie}\r\n"));
        let head = cookies.concat();
        Reply::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{head}\r\n").into())
    });
    let scenario = Scenario::parse(
        "name = 'test'\nduration = '300ms'\n[load]\nmodel = 'closed'\nusers = 1\n\
         think_time = '3ms'\n[[requests]]\nname = 'above'\npath = '/?a=1'\n\
         [[requests]]\nname = 'below'\npath = '/below/it'\n",
        "test",
    )
    .unwrap();
    assert_eq!(run(&scenario, server.address).summary.errors, 0);
    let heads = heads.lock().unwrap();
    let (below, above): (Vec<_>, Vec<_>) = heads
        .iter()
        .skip(1)
        .partition(|head| head.starts_with("get /below/it "));
    assert!(below.len() > 2 && above.len() > 2);
    for head in above {
        assert!(head.contains("\r\ncookie: own=1\r\n"), "{head}");
    }
    for head in below {
        assert!(head.contains("own=1") && head.contains("below=3"), "{head}");
        assert!(!head.contains("other=2"), "{head}");
    }
}

#[test]
fn source_addresses_are_spread() {
    for engine in ENGINES {
        let peers: Arc<Mutex<HashSet<std::net::IpAddr>>> = Arc::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let kept = peers.clone();
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            for stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().unwrap().ip();
                kept.lock().unwrap().insert(peer);
                std::thread::spawn(move || {
                    let mut stream = stream;
                    while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                    }
                });
            }
        });
        let scenario = crate::scenario(
            &format!("duration = \"300ms\"\nengine = \"{engine}\""),
            "model = \"closed\"\nusers = 6\nthink_time = \"5ms\"",
        );
        let options = RunOptions {
            source_addresses: 3,
            ..RunOptions::default()
        };
        let outcome = drive(
            &scenario,
            &Target::local(address).unwrap(),
            &options,
            Arc::new(weir_load::progress::NoProgress),
            &StopToken::new(),
        )
        .unwrap();
        assert_eq!(outcome.summary.errors, 0, "{:?}", outcome.summary.failures);
        let peers = peers.lock().unwrap();
        for last in 1..=3 {
            let address = std::net::IpAddr::from([127, 0, 0, last]);
            assert!(peers.contains(&address), "{engine} {peers:?}");
        }
    }
}
