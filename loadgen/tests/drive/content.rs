//! Feeds, flows, extraction and checks, over the wire and with both engines; and imports.

use std::{
    collections::{BTreeMap, HashSet},
    io::Write as _,
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use weir_lab::replica::{self, DEFAULT_SECRET, Kind, ReplicaConfig};
use weir_load::{run::RunError, scenario::Scenario, stop::StopToken};

use crate::{
    ENGINES, run,
    server::{Reply, Server, answer, ok},
    try_run,
};

fn load(folder: &Path, text: &str) -> Scenario {
    let path = folder.join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    Scenario::load(path.to_str().unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

fn failures(outcome: &weir_load::run::Outcome) -> BTreeMap<String, u64> {
    let failures = outcome.summary.failures.iter();
    failures.map(|f| (f.kind.clone(), f.count)).collect()
}

#[test]
fn users_send_their_own_rows_and_what_answers_gave_them() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("u.csv"),
            "name,city\nann,Oslo\nbob,\"a \"\"b\"\"\"\n",
        )
        .unwrap();
        let text = format!(
            r#"
            name = "flow"
            duration = "400ms"
            engine = "{engine}"
            load = {{ model = "closed", users = 2, think_time = "5ms" }}
            variables = {{ own = "{{{{users.name}}}}!" }}
            [[feeds]]
            name = "users"
            file = "u.csv"
            order = "unique-per-user"
            per = "user"
            [[flows]]
            name = "f"
            [[flows.steps]]
            name = "create"
            method = "POST"
            path = "/c?u={{{{users.name}}}}"
            body = '{{"city": "{{{{users.city | json}}}}"}}'
            headers = {{ X-Own = "{{{{var.own}}}}" }}
            extract = [
                {{ name = "id", json_path = "$.made.id" }},
                {{ name = "place", header = "location" }},
            ]
            [[flows.steps]]
            name = "read"
            path = "/c/{{{{var.id | url}}}}"
            [[flows.steps]]
            name = "close"
            method = "DELETE"
            path = "{{{{var.place}}}}"
            "#
        );
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let kept = seen.clone();
        let server = Server::start(move |request| {
            let line = request.head.lines().next().unwrap().to_owned();
            let own = request.head.lines().find_map(|l| {
                let (name, value) = l.split_once(": ")?;
                name.eq_ignore_ascii_case("x-own").then(|| value.to_owned())
            });
            kept.lock()
                .unwrap()
                .push((line.clone(), request.body.clone()));
            if !line.starts_with("POST") {
                return ok("{}");
            }
            assert!(own.unwrap().ends_with('!'));
            let number = request.number;
            // In chunks, so that reading them is tested as well.
            let body = format!(r#"{{"made": {{"id": "a b/{number}"}}}}"#);
            let (first, second) = body.split_at(7);
            Reply::Bytes(
                format!(
                    "HTTP/1.1 200 OK\r\nlocation: http://elsewhere.example/gone/{number}\r\n\
                     transfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
                    first.len(),
                    second.len()
                )
                .into(),
            )
        });
        let outcome = run(&load(folder.path(), &text), server.address);
        assert_eq!(failures(&outcome), BTreeMap::new(), "{engine}");
        let seen = seen.lock().unwrap();
        let of = |begin: &str| -> Vec<&(String, String)> {
            seen.iter()
                .filter(|(line, _)| line.starts_with(begin))
                .collect()
        };
        let (created, read, closed) = (of("POST"), of("GET"), of("DELETE"));
        assert!(!created.is_empty() && !closed.is_empty(), "{engine}");
        assert!(created.len() >= read.len() && read.len() >= closed.len());
        assert!(
            created.len() <= closed.len() + 2,
            "one flow a user can be cut off"
        );
        for (line, body) in &created {
            let expected = match line.as_str() {
                "POST /c?u=ann HTTP/1.1" => r#"{"city": "Oslo"}"#,
                "POST /c?u=bob HTTP/1.1" => r#"{"city": "a \"b\""}"#,
                other => panic!("{other}"),
            };
            assert_eq!(body, expected);
        }
        let numbers: HashSet<&str> = read
            .iter()
            .map(|(line, _)| line.strip_prefix("GET /c/a%20b%2F").unwrap())
            .collect();
        for (line, _) in &closed {
            let number = line.strip_prefix("DELETE /gone/").unwrap();
            assert!(numbers.contains(number), "{engine} {line}");
        }
    }
}

#[test]
fn answers_that_are_not_as_expected_are_counted_by_kind() {
    const ENDPOINTS: [(&str, &str); 9] = [
        (
            "wrong_header",
            "expect = { headers = { x-kind = { equals = \"b\" } } }",
        ),
        ("wrong_size", "expect = { size = { min = 1000 } }"),
        ("wrong_body", "expect = { body_matches = '^\\[' }"),
        (
            "wrong_json",
            "expect = { json = [{ path = \"$.id\", equals = 8 }] }",
        ),
        ("slow", "expect = { max_time = \"1ns\" }"),
        (
            "extract_failed",
            "extract = [{ name = \"x\", json_path = \"$.nope\" }]",
        ),
        ("value_missing", "headers = { X = \"{{var.x}}\" }"),
        ("status_200", "expect = { status = [201, \"3xx\"] }"),
        (
            "good",
            "expect = { status = \"2xx\", headers = { x-kind = \"a\" }, json = [{ path = \"$.id\", equals = 7 }], size = { max = 100 } }",
        ),
    ];
    for engine in ENGINES {
        let server = Server::start(|_| {
            Reply::Bytes(
                b"HTTP/1.1 200 OK\r\nX-Kind: a\r\ncontent-length: 9\r\n\r\n{\"id\": 7}".to_vec(),
            )
        });
        let mut text = format!(
            "name = \"checks\"\nduration = \"400ms\"\nengine = \"{engine}\"\n\
             load = {{ model = \"open\", rate = \"200/s\" }}\nconnections = 4\n"
        );
        for (name, lines) in ENDPOINTS {
            let lines = lines.replace("1ns", "1us");
            text += &format!("[[requests]]\nname = \"{name}\"\npath = \"/{name}\"\n{lines}\n");
        }
        let folder = tempfile::tempdir().unwrap();
        let outcome = run(&load(folder.path(), &text), server.address);
        let failures = failures(&outcome);
        for endpoint in &outcome.summary.endpoints {
            let (requests, errors) = (endpoint.requests, endpoint.errors);
            assert!(requests > 0, "{engine} {}", endpoint.name);
            if endpoint.name == "good" {
                assert_eq!(errors, 0, "{engine}");
            } else {
                assert_eq!(errors, requests, "{engine} {}", endpoint.name);
                assert_eq!(
                    failures.get(&endpoint.name),
                    Some(&requests),
                    "{engine} {failures:?}"
                );
            }
        }
        let causes = outcome.summary.failures.iter();
        assert!(causes.clone().all(|f| f.likely_cause.len() > 20));
        let sent = server.requests();
        let missing = failures["value_missing"];
        assert_eq!(
            sent,
            outcome.summary.requests - missing,
            "{engine}: not sent"
        );
    }
}

#[test]
fn a_body_that_is_too_large_or_oddly_coded_is_said_to_be() {
    for engine in ENGINES {
        let large = format!("{}needle", "x".repeat(2 << 20));
        let server = Server::start(move |request| {
            if request.head.contains("/large") {
                ok(&large)
            } else {
                Reply::Bytes(
                    b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nxx"
                        .to_vec(),
                )
            }
        });
        let text = format!(
            r#"
            name = "large"
            duration = "300ms"
            engine = "{engine}"
            load = {{ model = "closed", users = 1, think_time = "5ms" }}
            [[flows]]
            name = "f"
            on_failure = "continue"
            steps = [
                {{ name = "large", path = "/large", expect = {{ body_contains = "needle", size = {{ min = 2097158 }} }} }},
                {{ name = "coded", path = "/coded", expect = {{ body_contains = "x" }} }},
            ]
            "#
        );
        let folder = tempfile::tempdir().unwrap();
        let outcome = run(&load(folder.path(), &text), server.address);
        let kinds: Vec<_> = failures(&outcome).into_keys().collect();
        assert_eq!(kinds, ["body_too_large", "unknown_coding"], "{engine}");
        assert_eq!(outcome.summary.ok, 0);
    }
}

#[test]
fn a_run_ends_when_its_data_does() {
    for (engine, load_line) in [
        ("wire", "model = \"closed\", users = 3"),
        ("session", "model = \"closed\", users = 3"),
        ("wire", "model = \"open\", rate = \"200/s\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut feed = std::fs::File::create(folder.path().join("ids.jsonl")).unwrap();
        for id in 0..20 {
            writeln!(feed, "{{\"id\": {id}}}").unwrap();
        }
        let text = format!(
            "name = \"end\"\nduration = \"60s\"\nengine = \"{engine}\"\nload = {{ {load_line} }}\n\
             feeds = [{{ name = \"ids\", file = \"ids.jsonl\", at_end = \"stop\" }}]\n\
             requests = [{{ name = \"a\", path = \"/{{{{ids.id}}}}\" }}]\n"
        );
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = seen.clone();
        let server = Server::start(move |request| {
            let line = request.head.lines().next().unwrap().to_owned();
            kept.lock().unwrap().push(line);
            ok("x")
        });
        let outcome = run(&load(folder.path(), &text), server.address);
        assert_eq!(outcome.summary.requests, 20, "{engine} {load_line}");
        assert!(outcome.summary.duration_s < 50.0);
        assert_eq!(outcome.summary.unsent, 0, "{engine} {load_line}");
        let seen = seen.lock().unwrap();
        let distinct: HashSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), 20, "each row once: {seen:?}");
    }
}

#[test]
fn users_need_rows_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("u.csv"), "a\n1\n2\n").unwrap();
    let text = "name = \"few\"\nduration = \"1s\"\nload = { model = \"closed\", users = 3 }\n\
                feeds = [{ name = \"u\", file = \"u.csv\", order = \"unique-per-user\" }]\n\
                requests = [{ name = \"a\", path = \"/{{u.a}}\" }]\n";
    let server = Server::start(|_| ok("x"));
    let error = try_run(
        &load(folder.path(), text),
        server.address,
        &StopToken::new(),
    )
    .unwrap_err();
    assert!(matches!(error, RunError::Options(_)));
    let message = error.to_string();
    assert!(
        message.starts_with("feed `u` has 2 rows, too few for 3 users with rows of their own"),
        "{message}"
    );
}

#[test]
fn a_login_without_token_gives_values() {
    for engine in ENGINES {
        let server = Server::start(|request| {
            if request.head.starts_with("POST /login") {
                ok(r#"{"csrf": "c-1"}"#)
            } else if request.head.to_ascii_lowercase().contains("x-csrf: c-1") {
                ok("x")
            } else {
                answer("403 Forbidden", "")
            }
        });
        let text = format!(
            "name = \"csrf\"\nduration = \"200ms\"\nengine = \"{engine}\"\n\
             load = {{ model = \"closed\", users = 2, think_time = \"5ms\" }}\n\
             login = {{ path = \"/login\", extract = [{{ name = \"csrf\", json_path = \"$.csrf\" }}] }}\n\
             requests = [{{ name = \"a\", path = \"/\", headers = {{ X-CSRF = \"{{{{var.csrf}}}}\" }} }}]\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let outcome = run(&load(folder.path(), &text), server.address);
        assert!(outcome.summary.ok > 0);
        assert_eq!(failures(&outcome), BTreeMap::new(), "{engine}");
    }
}

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/scenarios/examples");

#[test]
fn the_example_of_a_flow_works_against_the_stand_in() {
    for engine in ["session", "wire"] {
        let replica = replica::start(ReplicaConfig {
            name: "one".into(),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            kind: Kind::Api {
                capacity: None,
                secret: DEFAULT_SECRET.into(),
            },
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let output = weir_bench(
            folder.path(),
            &[
                "run",
                "--scenario",
                &format!("{EXAMPLES}/case-lifecycle.toml"),
                "--target",
                &format!("http://{}", replica.addresses()[0]),
                "--duration",
                "3s",
                "--warmup",
                "0s",
                "--engine",
                engine,
                "--json",
                "--quiet",
            ],
        );
        let told = String::from_utf8_lossy(&output.stderr);
        let json = &output.stdout;
        let summary: serde_json::Value = serde_json::from_slice(json)
            .unwrap_or_else(|error| panic!("{error}: {told}\n{}", String::from_utf8_lossy(json)));
        let summary = summary.get("summary").unwrap_or(&summary);
        assert_eq!(summary["errors"], 0, "{}\n{told}", summary["failures"]);
        let endpoints = summary["endpoints"].as_array().unwrap();
        for name in ["statistics", "case-create", "case-read", "case-close"] {
            let endpoint = endpoints.iter().find(|e| e["name"] == name).unwrap();
            assert!(endpoint["ok"].as_u64().unwrap() > 0, "{name}: {told}");
        }
    }
}

fn weir_bench(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-bench"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[test]
fn wrong_scenarios_are_refused_with_place_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let head = "name = \"bad\"\nduration = \"1s\"\nload = { model = \"closed\", users = 1 }\n";
    std::fs::write(folder.path().join("u.csv"), "a,b\n1,2\n3\n").unwrap();
    let cases = [
        (
            "feeds = [{ name = \"u\", file = \"u.csv\" }]\nrequests = [{ name = \"a\", path = \"/\" }]\n",
            "error: bad.toml:4:24: `feeds[0].file`: u.csv:3: has 1 fields, and the header row has 2",
        ),
        (
            "[[requests]]\nname = \"a\"\npath = \"/{{var.id}}\"\n",
            "error: bad.toml:6:1: `requests[0].path`: `{{var.id}}`: no variable `id`; there is none: give it a value in `[variables]`, or `extract` it",
        ),
        (
            "[[requests]]\nname = \"a\"\npath = \"/\"\nexpect = { status = [200, \"2x\"] }\n",
            "error: bad.toml:7:27: `requests[0].expect.status[1]`: 2x is not an HTTP status: 100 to 599, or a class such as \"2xx\"",
        ),
    ];
    for (rest, expected) in cases {
        std::fs::write(folder.path().join("bad.toml"), format!("{head}{rest}")).unwrap();
        let arguments = [
            "run",
            "--scenario",
            "bad.toml",
            "--target",
            "http://127.0.0.1:1",
        ];
        let output = weir_bench(folder.path(), &arguments);
        assert_eq!(told(&output), expected);
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn what_is_imported_can_be_linted_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "rec.har",
        r#"{"log": {"entries": [
            {"startedDateTime": "2026-03-01T12:00:00Z", "time": 5,
             "request": {"method": "GET", "url": "https://shop.example/items?page=1", "headers": [{"name": "Cookie", "value": "secret=1"}]},
             "response": {"status": 200}}]}}"#,
    );
    write(
        "api.yaml",
        "openapi: 3.1.0\npaths:\n  /items/{id}:\n    get:\n      responses: { 200: { description: ok } }\n",
    );
    write(
        "access.log",
        "1.2.3.4 - - [10/Oct/2025:13:55:36 +0200] \"GET /items/1 HTTP/1.1\" 200 5 \"-\" \"-\"\n\
         1.2.3.4 - - [10/Oct/2025:13:55:37 +0200] \"GET /items/2 HTTP/1.1\" 200 5 \"-\" \"-\"\n",
    );
    let server = Server::start(|_| ok("x"));
    let target = format!("http://{}", server.address);
    for (kind, source, scenario) in [
        ("har", "rec.har", "rec.toml"),
        ("openapi", "api.yaml", "api.toml"),
        ("access-log", "access.log", "log.toml"),
    ] {
        let output = weir_bench(
            folder.path(),
            &["import", kind, source, "--output", scenario],
        );
        assert!(output.status.success(), "{}", told(&output));
        let written = std::fs::read_to_string(folder.path().join(scenario)).unwrap();
        assert!(!written.contains("shop.example/") && !written.contains("secret=1"));
        let output = weir_bench(folder.path(), &["lint", "--scenario", scenario]);
        assert!(output.status.success(), "{}\n{written}", told(&output));
        let mut arguments = vec![
            "run",
            "--scenario",
            scenario,
            "--target",
            &target,
            "--quiet",
        ];
        if kind != "access-log" {
            arguments.extend(["--duration", "300ms", "--users", "1"]);
        }
        let before = server.requests();
        let output = weir_bench(folder.path(), &arguments);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(server.requests() > before, "{}\n{printed}", told(&output));
    }
    // To standard output, without a file.
    let output = weir_bench(folder.path(), &["import", "har", "rec.har"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(Scenario::parse(&text, "stdout").unwrap().name, "rec");
}

#[test]
fn wrong_sources_are_refused_with_place_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("bad.har", "{\"log\":\n {}}\n");
    write("bad.yaml", "info: x\n");
    write("bad.log", "\nnot a log\n");
    for (kind, source, expected) in [
        (
            "har",
            "bad.har",
            "error: bad.har:2: is not a HAR recording: missing field `entries` at line 2 column 3",
        ),
        (
            "openapi",
            "bad.yaml",
            "error: bad.yaml: is not an OpenAPI document: it has neither `openapi` nor `swagger` at the top",
        ),
        (
            "access-log",
            "bad.log",
            "error: bad.log:2: is neither a line of nginx's combined log nor of weir's JSON log",
        ),
        (
            "har",
            "nowhere.har",
            "error: cannot read nowhere.har: No such file or directory (os error 2)",
        ),
    ] {
        let output = weir_bench(folder.path(), &["import", kind, source]);
        assert_eq!(told(&output), expected);
        assert_eq!(output.status.code(), Some(2), "{kind}");
    }
}
