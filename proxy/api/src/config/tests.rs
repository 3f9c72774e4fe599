#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::{
    settings::Balance,
    units::{ByteSize, Rate},
};

const MINIMAL: &str = r#"
[[listener]]
address = "127.0.0.1:8080"

[upstream.api]
servers = [{ address = "127.0.0.1:8000" }]

[[route]]
upstream = "api"
"#;

fn errors(text: &str) -> Vec<ConfigError> {
    match parse(text, "weir.toml") {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(errors) => errors.0,
    }
}

/// `(line, column, field)` of each error.
fn places(text: &str) -> Vec<(usize, usize, String)> {
    errors(text)
        .into_iter()
        .map(|e| {
            let at = e.position.unwrap_or(Position { line: 0, column: 0 });
            (at.line, at.column, e.field)
        })
        .collect()
}

#[test]
fn a_minimal_file_takes_every_default() {
    let config = parse(MINIMAL, "weir.toml").unwrap();
    let settings = config.settings();
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9900");
    assert_eq!(config.server.threads, 0);
    assert_eq!(config.routes[0].path.to_string(), "/");
    assert!(config.access_log.enabled && config.access_log.file().is_none());
    assert_eq!(settings.connections.max, 1024);
    assert_eq!(settings.timeouts.connect.as_secs(), 30);
    let api = &settings.upstream["api"];
    assert_eq!((api.balance, api.keepalive), (Balance::LeastConn, 32));
    assert_eq!((api.servers[0].weight, api.servers[0].max_fails), (1, 1));
    assert!(settings.validate().is_ok());
}

#[test]
fn the_documented_file_is_read() {
    let text = r#"
[server]
threads = 1
[admin]
listen = "127.0.0.1:9901"
[[listener]]
address = "127.0.0.1:8080"
[connections]
max = 2048
[timeouts]
connect = "10s"
[client]
max_body = "1m"
trusted_proxies = ["10.0.0.0/8", "127.0.0.1"]
[compression]
enabled = true
level = 4
min_length = 256
[rate_limit.api_limit]
key = "client_ip"
rate = "10r/s"
burst = 20
nodelay = true
[upstream.api]
balance = "round_robin"
servers = [ { address = "127.0.0.1:8000", weight = 2, max_fails = 3, fail_timeout = "30s" },
            { address = "127.0.0.1:8001", backup = true } ]
retry = { tries = 2, timeout = "5s" }
[[route]]
path = "/"
upstream = "api"
rate_limit = ["api_limit"]
response_headers = { set = { "X-Gen" = "a" }, remove = ["Server"] }
"#;
    let config = parse(text, "weir.toml").unwrap();
    let settings = config.settings();
    assert_eq!(settings.client.max_body, ByteSize::mib(1));
    assert_eq!(
        settings.client.trusted_proxies[1].to_string(),
        "127.0.0.1/32"
    );
    assert_eq!(settings.compression.level, 4);
    assert_eq!(
        settings.rate_limit["api_limit"].rate,
        Rate::per_second(10).unwrap()
    );
    assert_eq!(settings.upstream["api"].retry.tries, 2);
    assert_eq!(config.routes[0].response_headers.set["X-Gen"], "a");
    assert_eq!(config.routes[0].response_headers.remove, ["Server"]);
}

#[test]
fn every_error_is_found_with_its_place() {
    let text = r#"
[server]
thread = 1

[admin]
listen = "0.0.0.0:9900"

[[listener]]
address = "127.0.0.1:8080"
h2 = true

[[listener]]
address = "127.0.0.1:8080"

[timeouts]
connect = 30

[compression]
level = 12

[rate_limit.api_limit]
rate = "10r/h"
nodelay = true
delay = 5

[upstream.api]
servers = [{ address = "127.0.0.1", weight = 0 }]

[upstream.empty]
servers = []

[[route]]
upstream = "apii"
rate_limit = ["api_limit", "other"]
"#;
    let expected = [
        (3, 1, "server.thread"),
        (6, 10, "admin.listen"),
        (10, 1, "listener[0].h2"),
        (13, 11, "listener[1].address"),
        (16, 11, "timeouts.connect"),
        (19, 9, "compression.level"),
        (22, 8, "rate_limit.api_limit.rate"),
        (24, 9, "rate_limit.api_limit.delay"),
        (27, 24, "upstream.api.servers[0].address"),
        (27, 46, "upstream.api.servers[0].weight"),
        (30, 11, "upstream.empty.servers"),
        (33, 12, "route[0].upstream"),
        (34, 28, "route[0].rate_limit[1]"),
    ];
    let expected: Vec<_> = expected.map(|(l, c, f)| (l, c, f.to_owned())).into();
    assert_eq!(places(text), expected);
    let shown = parse(text, "weir.toml").unwrap_err().to_string();
    for part in [
        "weir.toml:3:1: server.thread: unknown field, did you mean \"threads\"?; allowed: threads, upgrade_socket, pid_file",
        "weir.toml:19:9: compression.level: 12 is not allowed; allowed: a whole number from 1 to 9",
        "weir.toml:10:1: listener[0].h2: unknown field",
        "there is no [upstream.apii], did you mean \"api\"?; allowed: api, empty",
    ] {
        assert!(shown.contains(part), "{part}\n--- in ---\n{shown}");
    }
}

#[test]
fn what_is_missing_is_reported_at_its_table() {
    let text = "[[listener]]\n\n[upstream.api]\nkeepalive = 1\n[[route]]\npath = \"/\"\n";
    assert_eq!(
        places(text),
        [
            (1, 1, "listener[0].address".to_owned()),
            (3, 11, "upstream.api.servers".to_owned()),
            (5, 1, "route[0].upstream".to_owned()),
        ]
    );
    let fields: Vec<_> = errors("").into_iter().map(|e| e.field).collect();
    assert_eq!(fields, ["listener", "route"]);
}

#[test]
fn a_syntax_error_has_line_and_column() {
    let error = errors("[connections]\nmax = = 1\n").remove(0);
    assert_eq!(error.position, Some(Position { line: 2, column: 7 }));
    assert_eq!(error.source_line, "max = = 1");
    let twice = errors("[connections]\nmax = 16\nmax = 17\n").remove(0);
    assert_eq!(twice.position.map(|at| at.line), Some(3), "{twice}");
}

#[test]
fn odd_values_are_refused() {
    for value in [
        "1979-05-27",
        "nan",
        "1.0",
        "-1",
        "\"1024\"",
        "99999999999999999999999999",
        "[]",
        "{}",
        "true",
    ] {
        let text = format!("{MINIMAL}[connections]\nmax = {value}\n");
        assert!(
            errors(&text)
                .iter()
                .all(|e| e.field == "connections.max" && e.position.is_some()),
            "{value}"
        );
    }
}

#[test]
fn routes_that_hide_each_other_are_refused() {
    let text = format!("{MINIMAL}[[route]]\npath = \"/\"\nupstream = \"api\"\n");
    assert_eq!(places(&text), [(10, 1, "route[1]".to_owned())]);
}

#[test]
fn mistakes_in_the_conditions_of_a_route_have_their_place() {
    let text = format!(
        "{MINIMAL}\n[[route]]\nupstream = 'api'\nhost = 'a.*'\npath = {{ regex = '(' }}\nmethods = ['PUT', 'get']\n"
    );
    let first = MINIMAL.lines().count() + 3;
    let field = |line, column, field: &str| (first + line, column, format!("route[1].{field}"));
    assert_eq!(
        places(&text),
        [
            field(1, 8, "host"),
            field(2, 18, "path.regex"),
            field(3, 19, "methods[1]"),
        ]
    );
}

#[test]
fn columns_count_characters() {
    let error = errors("# ä\n\"ä\" = 1 \n").remove(0);
    assert_eq!(error.position, Some(Position { line: 2, column: 1 }));
    assert_eq!(error.width, 3);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load("/nonexistent/weir.toml").unwrap_err().to_string();
    assert!(
        error.starts_with("/nonexistent/weir.toml: cannot be read"),
        "{error}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.toml");
    std::fs::write(&path, b"a = \"\xe4\"").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn the_parts_that_need_a_restart_are_named() {
    let old = parse(MINIMAL, "a").unwrap();
    let text = format!(
        "{}[connections]\nmax = 2048\n",
        MINIMAL.replace("8080", "8081")
    );
    let new = parse(&text, "b").unwrap();
    assert_eq!(old.fixed_differences(&new), ["listener"]);
    assert!(old.fixed_differences(&old).is_empty());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]a-z_.=\"0-9 \n{},ä]{0,120}") {
        let _ = parse(&text, "weir.toml");
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0..MINIMAL.len(), with: char) {
        let mut text = MINIMAL.to_owned();
        text.replace_range(at..=at, &with.to_string());
        let _ = parse(&text, "weir.toml");
    }
}

#[test]
fn prior_knowledge_and_tls_exclude_each_other() {
    let text = "[[listener]]\naddress = \"127.0.0.1:1\"\nh2c = true\ntls = { cert = \"a\", key = \"b\" }\n\
                [upstream.api]\nservers = [{ address = \"127.0.0.1:2\" }]\n[[route]]\nupstream = \"api\"\n";
    assert_eq!(places(text), [(3, 7, "listener[0].h2c".to_owned())]);
    let plain = text.replace("h2c = true", "h2c = false");
    assert!(parse(&plain, "weir.toml").is_ok());
}
