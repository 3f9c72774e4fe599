//! Wrong files, wrong usage, and a machine that does not play along: one clear message and a documented exit code.

use weir_tests::{Origin, Weir, process::run};

/// Part of a file that is wrong, and what the message must mention.
const MISTAKES: &[(&str, &[&str])] = &[
    ("colour = 'red'", &["colour", "unknown"]),
    ("server.thread = 1", &["server.thread", "threads"]),
    ("timeouts.connect = 30", &["timeouts.connect", "\"30s\""]),
    ("timeouts.connect = '30'", &["timeouts.connect"]),
    ("timeouts.connect = '30 parsecs'", &["timeouts.connect"]),
    ("client.max_body = '1MB'", &["client.max_body", "MiB"]),
    ("compression.level = 0", &["compression.level", "1 to 9"]),
    ("connections.max = 'many'", &["connections.max", "number"]),
    (
        "rate_limit.z = { rate = '10' }",
        &["rate_limit.z.rate", "r/s"],
    ),
    ("rate_limit.z = { burst = 5 }", &["rate_limit.z.rate"]),
    (
        "rate_limit.z = { rate = '1r/s', key = 'cookie' }",
        &["rate_limit.z.key"],
    ),
    ("upstream.api.servers = []", &["upstream.api.servers"]),
    (
        "upstream.api.servers = [{ address = '127.0.0.1' }]",
        &["servers[0].address"],
    ),
    (
        "upstream.api.servers = [{ address = '127.0.0.1:80', weight = 0 }]",
        &["servers[0].weight"],
    ),
    (
        "upstream.api.balance = 'least_con'",
        &["upstream.api.balance", "least_conn"],
    ),
    (
        "upstream.api.health_check = { path = 'health' }",
        &["upstream.api.health_check.path", "begins with \"/\""],
    ),
    (
        "upstream.api.health_check = { path = '/health', interval = '10ms' }",
        &["upstream.api.health_check.interval", "from 100ms"],
    ),
    (
        "upstream.api.health_check = { path = '/health', status = '2xx' }",
        &["upstream.api.health_check.status", "200-399"],
    ),
    (
        "upstream.api.health_check = { path = '/health', fails = 2 }",
        &["upstream.api.health_check.fails", "unknown", "fall"],
    ),
    (
        "route = [{ upstream = 'apii' }]",
        &["route[0].upstream", "apii", "api"],
    ),
    (
        "route = [{ upstream = 'api', path = { exact = '/a', regex = 'b' } }]",
        &["route[0].path", "both exact and regex"],
    ),
    (
        "route = [{ upstream = 'api', path = {} }]",
        &["route[0].path", "neither exact nor regex"],
    ),
    (
        "route = [{ upstream = 'api', path = { regex = '^/(?!a)' } }]",
        &["route[0].path.regex", "without look-around"],
    ),
    (
        "route = [{ upstream = 'api', path = { exakt = '/a' } }]",
        &["route[0].path.exakt", "did you mean \"exact\""],
    ),
    (
        "route = [{ upstream = 'api', path = 7 }]",
        &["route[0].path", "exact, regex"],
    ),
    (
        "route = [{ upstream = 'api', path = '/a//b' }]",
        &["route[0].path", "without \"//\""],
    ),
    (
        "route = [{ upstream = 'api', host = 'api.*' }]",
        &["route[0].host", "*.example.org"],
    ),
    (
        "route = [{ upstream = 'api', methods = ['get'] }]",
        &["route[0].methods[0]", "in capitals"],
    ),
    (
        "route = [{ upstream = 'api', name = 'a' }, { upstream = 'api', path = '/b', name = 'a' }]",
        &["route[1].name", "the same name as route[0]"],
    ),
    (
        "route = [{ upstream = 'api', methods = ['GET', 'PUT'] }, { upstream = 'api', path = '/', methods = ['PUT', 'GET'] }]",
        &["route[1]", "would never be used"],
    ),
    (
        "route = [{ upstream = 'api', rate_limit = ['none'] }]",
        &["route[0].rate_limit[0]", "none"],
    ),
    (
        "route = [{ upstream = 'api', path = 'no-slash' }]",
        &["route[0].path"],
    ),
    ("listener = []", &["listener"]),
    (
        "listener = [{ address = 'localhost' }]",
        &["listener[0].address"],
    ),
    (
        "listener = [{ address = '127.0.0.1:0', tls = { cert = 'a' } }]",
        &["listener[0].tls"],
    ),
    (
        "admin.listen = '0.0.0.0:9900'",
        &["admin.listen", "loopback"],
    ),
    (
        "listener = [{ address = '127.0.0.1:0', h2c = true, tls = { cert = 'a.pem', key = 'a.key' } }]",
        &["listener[0].h2c", "in the clear", "either tls"],
    ),
    (
        "listener = [{ address = '127.0.0.1:0', http2 = 'yes' }]",
        &["listener[0].http2", "true or false"],
    ),
    (
        "client.max_streams = 0",
        &["client.max_streams", "1 to 10000"],
    ),
    (
        "client.trusted_proxies = ['10.0.0.0/33']",
        &["client.trusted_proxies[0]"],
    ),
];

#[tokio::test]
async fn a_mistake_in_the_file_is_named_with_its_place() {
    let address: std::net::SocketAddr = "127.0.0.1:1".parse().unwrap();
    for (mistake, mentions) in MISTAKES {
        let text = Weir::before(&[&address]).with(mistake).text();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("weir.toml");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        for args in [&["check", file][..], &["run", "--config", file]] {
            let done = run("weir", args).await;
            assert_eq!(done.code, Some(2), "{mistake}: {}", done.stderr);
            for mention in mentions.iter().chain(&["weir.toml:"]) {
                assert!(
                    done.stderr.contains(mention),
                    "{mistake}: no {mention:?} in\n{}",
                    done.stderr
                );
            }
            assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_toml_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.toml");
    std::fs::write(&broken, "[server\nthreads = 1").unwrap();
    let binary = dir.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe, 0]).unwrap();
    let missing = dir.path().join("missing.toml");
    for (file, mention) in [
        (&broken, "broken.toml:1:"),
        (&binary, "UTF-8"),
        (&missing, "missing.toml"),
        (&dir.path().to_owned(), "cannot be read"),
    ] {
        let file = file.to_str().unwrap();
        for args in [&["check", file][..], &["run", "--config", file]] {
            let done = run("weir", args).await;
            assert_eq!(done.code, Some(2), "{args:?}: {}", done.stderr);
            assert!(done.stderr.contains(mention), "{args:?}: {}", done.stderr);
        }
    }
}

#[tokio::test]
async fn check_accepts_a_good_file_and_starts_nothing() {
    let address: std::net::SocketAddr = "127.0.0.1:1".parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weir.toml");
    std::fs::write(&file, Weir::before(&[&address]).text()).unwrap();
    let done = run("weir", &["check", file.to_str().unwrap()]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains("api"), "{}", done.stdout);
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2() {
    for args in [
        &[][..],
        &["fly"],
        &["run"],
        &["run", "--config"],
        &["check"],
        &["run", "--colour", "red"],
    ] {
        let done = run("weir", args).await;
        assert_eq!(done.code, Some(2), "{args:?}");
        assert!(!done.stderr.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn version_and_help_are_exit_code_0() {
    for args in [&["--version"][..], &["--help"], &["run", "--help"]] {
        let done = run("weir", args).await;
        assert_eq!(done.code, Some(0), "{args:?}");
        assert!(done.stdout.contains("weir"), "{args:?}: {}", done.stdout);
    }
}

#[tokio::test]
async fn a_port_in_use_is_exit_code_1() {
    let api = Origin::named("a").await;
    let taken = weir_tests::weir::Server::addr(&api);
    for (part, mentions) in [
        (format!("listener = [{{ address = '{taken}' }}]"), "listen"),
        (format!("admin.listen = '{taken}'"), "admin.listen"),
    ] {
        let (code, said) = Weir::before(&[&api])
            .with(&part)
            .start_expecting_failure()
            .await;
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains(&taken.to_string()) && said.contains(mentions),
            "{said}"
        );
    }
}

#[tokio::test]
async fn an_access_log_that_cannot_be_opened_is_exit_code_1() {
    let api = Origin::named("a").await;
    let (code, said) = Weir::before(&[&api])
        .with("access_log.path = '/nonexistent/access.log'")
        .start_expecting_failure()
        .await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nonexistent/access.log"), "{said}");
}
