//! HTTP/1.1 and HTTP/2, in clear text and over TLS, with connections that live as long as they are told.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use weir_lab::replica::{self, Certificate, DEFAULT_SECRET, Kind, ReplicaConfig};
use weir_load::{
    progress::NoProgress,
    run::{Outcome, RunError, RunOptions, drive},
    scenario::Scenario,
    stop::StopToken,
    summary::Summary,
    target::Target,
};

use crate::{
    ENGINES,
    h2_server::{Act, H2Server, goes_away},
    run,
    server::{Server, ok},
};

fn api() -> ReplicaConfig {
    ReplicaConfig {
        name: "one".into(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        kind: Kind::Api {
            capacity: None,
            secret: DEFAULT_SECRET.into(),
        },
    }
}

/// Three users who log in, read and write.
fn users(engine: &str, tables: &str) -> Scenario {
    let source = format!(
        r#"
        name = "t"
        duration = "500ms"
        engine = "{engine}"
        [load]
        model = "closed"
        users = 3
        think_time = "5ms"
        {tables}
        [login]
        path = "/api/v1/auth/login"
        body = '{{"username": "u{{{{user}}}}"}}'
        token = "access_token"
        [[requests]]
        name = "read"
        path = "/api/v1/compliance/statistics?size=100000"
        [[requests]]
        name = "write"
        method = "POST"
        path = "/api/v1/compliance/audit/log"
        body = '{{"reference": "{{{{hex 64}}}}"}}'
        expect = {{ status = 201, body_contains = "accepted" }}
        "#
    );
    Scenario::parse(&source, "t").unwrap()
}

fn drive_url(scenario: &Scenario, url: &str) -> Result<Outcome, RunError> {
    drive(
        scenario,
        &Target::new(&[url], &[]).unwrap(),
        &RunOptions::default(),
        Arc::new(NoProgress),
        &StopToken::new(),
    )
}

/// Connections that a stand-in has accepted, this one not counted.
fn accepted(address: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = b"GET /__stats HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    let stats: serde_json::Value = serde_json::from_str(json).unwrap();
    stats["accepted"].as_u64().unwrap() - 1
}

fn check(summary: &Summary, what: &str) {
    assert_eq!(summary.errors, 0, "{what}: {:?}", summary.failures);
    assert!(summary.ok > 0, "{what}");
    for endpoint in &summary.endpoints {
        assert!(endpoint.ok > 0, "{what}: {endpoint:?}");
    }
}

#[test]
fn both_engines_speak_both_versions_in_clear_text_and_count_their_connections() {
    for engine in ENGINES {
        for version in ["1.1", "2"] {
            let replica = replica::start(api()).unwrap();
            let address = replica.addresses()[0];
            let scenario = users(engine, &format!("[http]\nversion = \"{version}\""));
            let summary = run(&scenario, address).summary;
            check(&summary, &format!("{engine} {version}"));
            // One user, one connection; one more only checked that somebody is there.
            assert_eq!(summary.extra["connects_total"], 3.0, "{engine} {version}");
            assert_eq!(accepted(address), 4, "{engine} {version}");
            assert!(summary.extra["connect_p50_ms"] > 0.0);
        }
    }
}

#[test]
fn both_engines_speak_both_versions_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("server.pem");
    let certificate = Certificate::SelfSigned {
        names: vec!["api.example".into()],
        save: Some(trusted.clone()),
    };
    let replica = replica::start_secure(api(), &certificate).unwrap();
    let url = format!("https://{}", replica.addresses()[0]);
    let trusted = trusted.display();
    for engine in ENGINES {
        for version in ["1.1", "2"] {
            for tls in [
                format!("ca = \"{trusted}\""),
                format!("ca = \"{trusted}\"\nserver_name = \"api.example\"\nmin_version = \"1.3\""),
                "insecure = true".to_owned(),
            ] {
                let tables = format!("[http]\nversion = \"{version}\"\n[tls]\n{tls}");
                let outcome = drive_url(&users(engine, &tables), &url).unwrap();
                let summary = outcome.summary;
                check(&summary, &format!("{engine} {version} {tls}"));
                assert_eq!(summary.extra["connects_total"], 3.0, "{engine} {version}");
                if engine == "wire" {
                    assert_eq!(summary.extra["tls_handshakes"], 3.0);
                    assert_eq!(summary.extra["tls_resumed"], 0.0);
                    let (whole, tls) = (
                        summary.extra["connect_p50_ms"],
                        summary.extra["tls_handshake_p50_ms"],
                    );
                    assert!(tls > 0.0 && tls <= whole * 1.001, "{tls} {whole}");
                }
            }
        }
    }
}

#[test]
fn sessions_are_resumed_only_if_asked_for() {
    let replica = replica::start_secure(
        api(),
        &Certificate::SelfSigned {
            names: Vec::new(),
            save: None,
        },
    )
    .unwrap();
    let url = format!("https://{}", replica.addresses()[0]);
    for (resumption, expected) in [(false, false), (true, true)] {
        let tables = format!(
            "[http]\nrequests_per_connection = 2\n[tls]\ninsecure = true\nresumption = {resumption}"
        );
        let summary = drive_url(&users("wire", &tables), &url).unwrap().summary;
        check(&summary, &tables);
        assert!(summary.extra["tls_handshakes"] > 3.0);
        assert_eq!(summary.extra["tls_resumed"] > 0.0, expected, "{tables}");
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pem");
    let own = |save| Certificate::SelfSigned {
        names: Vec::new(),
        save,
    };
    let _other = replica::start_secure(api(), &own(Some(other.clone()))).unwrap();
    let replica = replica::start_secure(api(), &own(None)).unwrap();
    let url = format!("https://{}", replica.addresses()[0]);
    for engine in ENGINES {
        let tables = format!("[tls]\nca = \"{}\"", other.display());
        let error = drive_url(&users(engine, &tables), &url).unwrap_err();
        assert!(error.to_string().contains("tls_certificate"), "{error}");
    }
    // No TLS where TLS is expected.
    let clear = replica::start(api()).unwrap();
    let url = format!("https://{}", clear.addresses()[0]);
    for engine in ENGINES {
        let error = drive_url(&users(engine, "[tls]\ninsecure = true"), &url).unwrap_err();
        assert!(error.to_string().contains("tls_failed"), "{error}");
    }
    // A file that is not there is a mistake of the caller.
    let error = drive_url(&users("wire", "[tls]\nca = \"/no/such.pem\""), &url).unwrap_err();
    assert!(matches!(error, RunError::Options(_)), "{error}");
    assert!(error.to_string().contains("/no/such.pem"), "{error}");
}

#[test]
fn connections_live_for_as_many_requests_as_they_may() {
    for engine in ENGINES {
        for (http, most) in [
            ("keepalive = false", 1),
            ("requests_per_connection = 4", 4),
            ("keepalive = true", u64::MAX),
        ] {
            let server = Server::start(|_| ok("x"));
            let scenario = crate::scenario(
                &format!("duration = \"300ms\"\nengine = \"{engine}\""),
                &format!("model = \"closed\"\nusers = 1\nthink_time = \"3ms\"\n[http]\n{http}"),
            );
            let summary = run(&scenario, server.address).summary;
            assert_eq!(summary.errors, 0, "{engine}: {:?}", summary.failures);
            let expected = summary.requests.div_ceil(most);
            let what = format!("{engine} {http}: {} requests", summary.requests);
            assert_eq!(summary.extra["connects_total"], expected as f64, "{what}");
            let accepted = server.accepted.load(Ordering::Relaxed);
            assert_eq!(accepted, expected + 1, "{what}");
        }
    }
}

#[test]
fn http2_connections_live_for_as_many_requests_as_they_may() {
    for engine in ENGINES {
        for (http, most) in [
            ("keepalive = false", 1),
            ("requests_per_connection = 4", 4),
            ("keepalive = true", u64::MAX),
        ] {
            let server = H2Server::start(|_| Act::Answer(Instant::now()));
            let scenario = crate::scenario(
                &format!("duration = \"300ms\"\nengine = \"{engine}\""),
                &format!(
                    "model = \"closed\"\nusers = 1\nthink_time = \"3ms\"\n[http]\nversion = \"2\"\n{http}"
                ),
            );
            let summary = run(&scenario, server.address).summary;
            assert_eq!(summary.errors, 0, "{engine}: {:?}", summary.failures);
            let expected = summary.requests.div_ceil(most);
            let what = format!("{engine} {http}: {} requests", summary.requests);
            assert_eq!(summary.extra["connects_total"], expected as f64, "{what}");
            assert_eq!(server.accepted(), expected + 1, "{what}");
        }
    }
}

#[test]
fn lanes_share_connections_if_told_so() {
    let server = H2Server::start(|_| Act::Answer(Instant::now()));
    let scenario = crate::scenario(
        "duration = \"500ms\"\nengine = \"wire\"\nconnections = 10",
        "model = \"open\"\nrate = \"200/s\"\n[http]\nversion = \"2\"\nstreams_per_connection = 4",
    );
    let summary = run(&scenario, server.address).summary;
    assert_eq!(summary.errors, 0, "{:?}", summary.failures);
    // Ten lanes, four to a connection: 4 + 4 + 2.
    assert_eq!(summary.extra["connects_total"], 3.0);
    assert_eq!(server.accepted(), 4);
}

#[test]
fn failures_of_http2_are_told_apart() {
    type Case = (&'static str, fn() -> Act);
    let cases: [Case; 3] = [
        ("h2_stream_reset", || Act::Reset(h2::Reason::INTERNAL_ERROR)),
        ("h2_stream_refused", || {
            Act::Reset(h2::Reason::REFUSED_STREAM)
        }),
        ("closed_early", || Act::Close),
    ];
    let check = |engine: &str, kind: &str, address: SocketAddr| {
        let scenario = crate::scenario(
            &format!("duration = \"300ms\"\nengine = \"{engine}\""),
            "model = \"closed\"\nusers = 2\nthink_time = \"5ms\"\n[http]\nversion = \"2\"",
        );
        let summary = run(&scenario, address).summary;
        assert!(summary.requests > 0 && summary.ok == 0, "{engine} {kind}");
        let kinds: Vec<_> = summary.failures.iter().map(|f| f.kind.as_str()).collect();
        // Closing with bytes unread makes the system send a reset, if it is fast enough.
        let fits = |found: &str| found == kind || (kind, found) == ("closed_early", "reset");
        assert!(kinds.iter().all(|found| fits(found)), "{engine} {kinds:?}");
    };
    for engine in ENGINES {
        for (kind, act) in cases {
            let server = H2Server::start(move |_| act());
            check(engine, kind, server.address);
        }
        check(engine, "h2_goaway", goes_away());
    }
}

#[test]
fn http2_asked_of_a_server_that_has_none_fails_and_ends() {
    for engine in ENGINES {
        let server = Server::start(|_| ok("x"));
        let scenario = crate::scenario(
            &format!(
                "duration = \"200ms\"\nengine = \"{engine}\"\ntimeouts = {{ total = \"100ms\" }}"
            ),
            "model = \"closed\"\nusers = 1\nthink_time = \"5ms\"\n[http]\nversion = \"2\"",
        );
        let summary = run(&scenario, server.address).summary;
        assert!(summary.requests > 0 && summary.ok == 0, "{engine}");
    }
}

#[test]
fn the_examples_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/scenarios/examples");
    for name in ["http2", "tls"] {
        let scenario = Scenario::load_from(name, folder.as_ref()).unwrap();
        assert_eq!(scenario.name, name);
    }
}

/// A stand-in as a process; stopped when dropped.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn weir_bench(arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir-bench"));
    command
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(std::process::Stdio::null());
    command
}

#[test]
fn the_binary_serves_and_drives_https() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (ports, trusted) = (file("ports.json"), file("trusted.pem"));
    let serve = [
        "replica",
        "--fast",
        "--tls",
        "--tls-name",
        "api.example",
        "--tls-save",
        &trusted,
        "--ports-file",
        &ports,
    ];
    let _replica = Process(
        weir_bench(&serve)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    let deadline = Instant::now() + crate::PATIENCE;
    while !std::path::Path::new(&ports).exists() {
        assert!(Instant::now() < deadline, "the stand-in does not start");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let listening: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&ports).unwrap()).unwrap();
    let url = format!("https://{}", listening["listeners"][0].as_str().unwrap());
    let results = file("results");
    let run = |more: &[&str]| {
        let scenario = "config/scenarios/examples/tls.toml";
        let mut arguments = vec![
            "run",
            "--scenario",
            scenario,
            "--target",
            &url,
            "--duration",
            "1s",
            "--warmup",
            "0s",
            "--results",
            &results,
            "--json",
            "--quiet",
        ];
        arguments.extend(more);
        weir_bench(&arguments).output().unwrap()
    };
    for version in ["1.1", "2"] {
        for engine in ENGINES {
            let done = run(&[
                "--tls-ca",
                &trusted,
                "--http-version",
                version,
                "--engine",
                engine,
            ]);
            let summary: Summary = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
                panic!("{error}: {}", String::from_utf8_lossy(&done.stderr))
            });
            check(&summary, &format!("{engine} {version}"));
            // Twenty users, twenty requests a connection.
            let least = (summary.requests as f64 / 20.0).ceil().max(20.0);
            assert!(
                summary.extra["connects_total"] >= least,
                "{engine} {version}"
            );
        }
    }
    let refused = run(&["--tls-ca", "/no/such.pem"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("/no/such.pem"), "{told}");
    let refused = run(&["--streams-per-connection", "4"]);
    assert_eq!(refused.status.code(), Some(2));
    let unknown = run(&[]);
    assert_eq!(
        unknown.status.code(),
        Some(1),
        "a certificate that nobody knows"
    );
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(told.contains("tls_certificate"), "{told}");
}

#[test]
fn a_handshake_that_never_ends_is_a_connect_timeout() {
    // Accepts, and never says a word: TCP is there, TLS is not.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().flatten().collect();
        drop(held);
    });
    for engine in ENGINES {
        for version in ["1.1", "2"] {
            let scenario = crate::scenario(
                &format!("duration = \"500ms\"\nengine = \"{engine}\""),
                &format!(
                    "model = \"closed\"\nusers = 1\n[timeouts]\nconnect = \"100ms\"\ntotal = \"20s\"\n\
                     [http]\nversion = \"{version}\"\n[tls]\ninsecure = true"
                ),
            );
            let kind = match drive_url(&scenario, &url) {
                // The wire engine connects before the load begins.
                Err(error) => error.to_string(),
                Ok(outcome) => format!("{:?}", outcome.summary.failures),
            };
            assert!(
                kind.contains("connect_timeout"),
                "{engine} {version}: {kind}"
            );
        }
    }
}

#[test]
fn source_addresses_are_spread_over_http2_too() {
    for engine in ENGINES {
        let server = H2Server::start(|_| Act::Answer(Instant::now()));
        let scenario = crate::scenario(
            &format!("duration = \"300ms\"\nengine = \"{engine}\""),
            "model = \"closed\"\nusers = 6\nthink_time = \"5ms\"\n[http]\nversion = \"2\"",
        );
        let outcome = drive(
            &scenario,
            &Target::local(server.address).unwrap(),
            &RunOptions {
                source_addresses: 3,
                ..RunOptions::default()
            },
            Arc::new(NoProgress),
            &StopToken::new(),
        )
        .unwrap();
        assert_eq!(outcome.summary.errors, 0, "{:?}", outcome.summary.failures);
        let peers = server.peers.lock().unwrap();
        for last in 1..=3 {
            let address = std::net::IpAddr::from([127, 0, 0, last]);
            assert!(peers.contains(&address), "{engine} {peers:?}");
        }
    }
}

#[test]
fn a_token_is_found_in_a_compressed_answer() {
    use flate2::{Compression, write::GzEncoder};
    let server = Server::start(|seen| {
        if !seen.head.starts_with("POST /login ") {
            let known = seen
                .head
                .to_ascii_lowercase()
                .contains("authorization: bearer secret-7\r\n");
            return if known {
                ok("x")
            } else {
                crate::server::answer("401 Unauthorized", "")
            };
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(br#"{"access_token": "secret-7"}"#)
            .unwrap();
        let body = encoder.finish().unwrap();
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(body);
        crate::server::Reply::Bytes(answer)
    });
    for engine in ENGINES {
        let source = format!(
            "name = \"t\"\nduration = \"200ms\"\nengine = \"{engine}\"\n\
             [load]\nmodel = \"closed\"\nusers = 2\nthink_time = \"5ms\"\n\
             [login]\npath = \"/login\"\nbody = \"{{}}\"\ntoken = \"access_token\"\n\
             [[requests]]\nname = \"read\"\npath = \"/read\"\n"
        );
        let summary = run(&Scenario::parse(&source, "t").unwrap(), server.address).summary;
        check(&summary, engine);
    }
}
