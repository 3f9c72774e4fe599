//! Every way to fail has a name, and a failing target does not hang the generator.

use std::{net::TcpListener, time::Duration};

use weir_load::{
    run::RunError,
    stop::StopToken,
    summary::{Summary, Verdict},
    target::{Target, TargetError},
};

use crate::{
    ENGINES, run, scenario,
    server::{Reply, Server, answer, ok},
    try_run,
};

fn failures_of(engine: &str, more: &str, reply: fn() -> Reply) -> Summary {
    let server = Server::start(move |_| reply());
    run(
        &scenario(
            &format!("duration = \"500ms\"\nengine = \"{engine}\"\n{more}"),
            "model = \"closed\"\nusers = 2\nthink_time = \"5ms\"",
        ),
        server.address,
    )
    .summary
}

#[test]
fn failures_are_told_apart() {
    type Case = (&'static str, fn() -> Reply);
    let cases: [Case; 5] = [
        ("status_502", || answer("502 Bad Gateway", "x")),
        ("status_404", || answer("404 Not Found", "")),
        ("closed_early", || Reply::Close),
        ("reset", || Reply::Reset),
        ("bad_response", || {
            Reply::Bytes(b"SSH-2.0-what\r\n\r\n".into())
        }),
    ];
    for engine in ENGINES {
        for (kind, reply) in cases {
            let summary = failures_of(engine, "", reply);
            assert!(summary.requests > 0 && summary.ok == 0, "{engine} {kind}");
            assert_eq!(summary.errors, summary.requests);
            assert_eq!(
                summary.failures.len(),
                1,
                "{engine} {kind} {:?}",
                summary.failures
            );
            let failure = &summary.failures[0];
            assert_eq!(failure.kind, kind, "{engine}");
            assert_eq!(failure.count, summary.errors);
            assert!(!failure.likely_cause.is_empty());
        }
    }
}

#[test]
fn an_answer_that_breaks_off_was_closed_early() {
    for engine in ENGINES {
        let summary = failures_of(engine, "", || {
            Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe".into())
        });
        assert!(summary.requests > 0 && summary.ok == 0, "{engine}");
        assert_eq!(summary.failures[0].kind, "closed_early", "{engine}");
    }
}

#[test]
fn a_429_is_neither_success_nor_error() {
    for engine in ENGINES {
        let summary = failures_of(engine, "", || answer("429 Too Many Requests", ""));
        assert!(summary.limited > 0);
        assert_eq!((summary.ok, summary.errors), (0, 0));
        assert_eq!(summary.failures[0].kind, "status_429");
        assert!(summary.failures[0].likely_cause.contains("not an error"));
    }
}

#[test]
fn a_timeout_ends_a_request_and_the_user_goes_on() {
    for engine in ENGINES {
        let summary = failures_of(engine, "timeouts = { total = \"50ms\" }", || Reply::Hang);
        assert!(summary.requests >= 4, "{engine}: {}", summary.requests);
        assert_eq!(summary.failures[0].kind, "timeout");
    }
}

#[test]
fn an_unexpected_body_is_wrong() {
    for engine in ENGINES {
        let source = format!(
            r#"
            name = "t"
            duration = "300ms"
            engine = "{engine}"
            load = {{ model = "closed", users = 1, think_time = "2ms" }}
            [[requests]]
            name = "a"
            path = "/"
            expect = {{ body_contains = "needle" }}
            "#
        );
        let scenario = weir_load::scenario::Scenario::parse(&source, "t").unwrap();
        let server = Server::start(|seen| ok(["a needle b", "hay"][seen.number as usize % 2]));
        let summary = run(&scenario, server.address).summary;
        assert!(summary.ok > 0 && summary.errors > 0, "{engine}");
        assert_eq!(summary.failures[0].kind, "wrong_body");
    }
}

#[test]
fn what_is_unfinished_at_the_end_is_counted() {
    let server = Server::start(|seen| match seen.number {
        0..=3 => ok("x"),
        _ => Reply::Hang,
    });
    let scenario = scenario(
        "duration = \"300ms\"\nengine = \"wire\"",
        "model = \"closed\"\nusers = 2",
    );
    let options = weir_load::run::RunOptions {
        drain: Duration::from_millis(100),
        ..Default::default()
    };
    let outcome = weir_load::run::drive(
        &scenario,
        &Target::local(server.address).unwrap(),
        &options,
        std::sync::Arc::new(weir_load::progress::NoProgress),
        &StopToken::new(),
    )
    .unwrap();
    assert_eq!(outcome.summary.ok, 4);
    assert_eq!(outcome.summary.failures[0].kind, "unfinished");
    assert_eq!(outcome.summary.failures[0].count, 2);
}

#[test]
fn a_target_that_is_down_is_one_clear_error() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for engine in ENGINES {
        let scenario = scenario(
            &format!("duration = \"1s\"\nengine = \"{engine}\""),
            "model = \"closed\"\nusers = 2",
        );
        let error = try_run(&scenario, free, &StopToken::new()).unwrap_err();
        assert!(matches!(error, RunError::TargetDown { .. }), "{error}");
        assert!(error.to_string().contains(&free.to_string()));
    }
    assert!(matches!(
        Target::local("192.0.2.1:80".parse().unwrap()),
        Err(TargetError::NotApproved { .. })
    ));
}

#[test]
fn a_target_that_dies_is_not_hammered() {
    // One answer, then the listener is gone: every further connection is refused.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        // The first connection only checks that somebody is there.
        let _check = listener.accept().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
    let scenario = scenario(
        "duration = \"500ms\"\nengine = \"wire\"",
        "model = \"closed\"\nusers = 1",
    );
    let summary = run(&scenario, address).summary;
    let refused = summary
        .failures
        .iter()
        .find(|failure| failure.kind == "connection_refused")
        .expect("refusals are counted");
    assert!((1..=60).contains(&refused.count), "{}", refused.count);
    assert_ne!(summary.validity.verdict, Verdict::Valid);
}
