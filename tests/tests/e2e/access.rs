//! Who may use the admin API: tokens, the Unix socket, TLS; what the audit log says; and the commands around it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weir_tests::{
    Origin, Weir,
    admin::Answer,
    process::{Finished, run},
    wait::{eventually, eventually_some},
};

/// A token made by the program, added to a file.
async fn token(file: &Path, name: &str, scopes: &[&str]) -> String {
    let file = file.display().to_string();
    let mut args = vec!["token", "new", name, "--file", &file];
    for scope in scopes {
        args.extend(["--scope", scope]);
    }
    let made = run("weir", &args).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    made.stdout.trim().to_owned()
}

fn audit(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn ctl(node: &str, args: &[&str]) -> Finished {
    run("weir", &[&["ctl", "--node", node], args].concat()).await
}

async fn send(weir: &Weir, token: Option<&str>, method: &str, path: &str, body: Value) -> Answer {
    let admin = match token {
        Some(token) => weir.admin.with_token(token),
        None => weir.admin.clone(),
    };
    let body = (!body.is_null()).then(|| body.to_string());
    admin.send(method, path, body.as_deref()).await
}

#[tokio::test]
async fn tokens_say_who_may_look_and_who_may_change() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let (tokens, log) = (dir.path().join("tokens.toml"), dir.path().join("audit.log"));
    let reader = token(&tokens, "grafana", &["read"]).await;
    let writer = token(&tokens, "ana", &["read", "write"]).await;
    let weir = Weir::before(&[&api])
        .with(&format!(
            "admin.tokens = '{}'\nadmin.audit_log = '{}'",
            tokens.display(),
            log.display()
        ))
        .start()
        .await;
    let patch = json!({"timeouts": {"connect": "7s"}});

    assert_eq!(weir.admin.status("/healthz").await, 200);
    assert_eq!(weir.admin.status("/readyz").await, 200);
    for (shown, status, code) in [
        (None, 401, "unauthorized"),
        (Some("weir_00"), 401, "unauthorized"),
        (Some(reader.as_str()), 403, "scope"),
    ] {
        let refused = send(&weir, shown, "PATCH", "/v1/settings", patch.clone()).await;
        let body = refused.expect(status);
        assert_eq!(body["error"]["code"], code, "{body}");
    }
    assert_eq!(weir.admin.status("/metrics").await, 401);
    for path in ["/v1/settings", "/metrics", "/v1/stats", "/v1/openapi.json"] {
        let answer = send(&weir, Some(&reader), "GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    send(
        &weir,
        Some(&writer),
        "PATCH",
        "/v1/settings?who=bob&why=slow%20server",
        patch,
    )
    .await
    .expect(200);
    let revisions = send(&weir, Some(&reader), "GET", "/v1/revisions", Value::Null).await;
    let newest = revisions.expect(200)["revisions"][0].clone();
    assert_eq!(newest["who"], "bob (token ana)");

    let lines = audit(&log);
    let requests: Vec<_> = lines.iter().filter(|l| l["kind"] == "request").collect();
    let results: Vec<_> = requests
        .iter()
        .map(|line| line["result"].as_str().unwrap())
        .collect();
    assert_eq!(
        results,
        ["refused", "refused", "refused", "refused", "done"],
        "three attempts to change, one scrape without a token, one change: {lines:#?}"
    );
    let done = requests[4];
    assert_eq!(
        (&done["token"], &done["why"], &done["diff"]),
        (
            &json!("ana"),
            &json!("slow server"),
            &json!([{"path": "timeouts.connect", "old": "30s", "new": "7s"}])
        )
    );
    assert!(done["from"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(!lines.iter().any(|l| l.to_string().contains(&writer)));
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn the_file_of_tokens_is_read_again_and_a_bad_one_changes_nothing() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens.toml");
    let old = token(&tokens, "old", &["read", "write"]).await;
    let weir = Weir::before(&[&api])
        .with(&format!("admin.tokens = '{}'", tokens.display()))
        .start()
        .await;
    let may = async |token: &str| {
        let answer = send(&weir, Some(token), "GET", "/v1/settings", Value::Null).await;
        answer.status == 200
    };
    assert!(may(&old).await);
    fs::write(&tokens, "nonsense").unwrap();
    weir.process.signal(Signal::SIGHUP);
    eventually("the log to say so", || {
        weir.process.stderr().contains("the old tokens stay in use")
    })
    .await;
    assert!(may(&old).await);
    fs::remove_file(&tokens).unwrap();
    let new = token(&tokens, "new", &["read"]).await;
    weir.process.signal(Signal::SIGHUP);
    eventually_some("the new token to be known", async || {
        may(&new).await.then_some(())
    })
    .await;
    assert!(!may(&old).await, "a token that is gone from the file");
}

#[tokio::test]
async fn whoever_may_use_the_unix_socket_needs_no_token() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let (tokens, socket) = (dir.path().join("tokens.toml"), dir.path().join("a.sock"));
    token(&tokens, "ana", &["read"]).await;
    let mut weir = Weir::before(&[&api])
        .with(&format!(
            "admin.tokens = '{}'\nadmin.socket = '{}'",
            tokens.display(),
            socket.display()
        ))
        .start()
        .await;
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let node = format!("unix:{}", socket.display());
    let set = ctl(&node, &["set", "timeouts.connect=9s"]).await;
    assert_eq!(set.code, Some(0), "{}", set.stderr);
    let refused = ctl(weir.admin.address(), &["get"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("a token is needed"),
        "{}",
        refused.stderr
    );
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
    assert!(!socket.exists(), "the socket goes with the process");
}

#[tokio::test]
async fn the_admin_api_speaks_tls() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!(
        "admin.tls = {{ cert = '{}', key = '{}' }}",
        cert.display(),
        key.display()
    );
    let weir = Weir::before(&[&api]).with(&tls).start().await;
    let port = weir.admin.address().rsplit(':').next().unwrap();
    let node = format!("https://localhost:{port}");
    let cert = cert.display().to_string();
    let got = ctl(&node, &["--ca", &cert, "get", "timeouts.connect"]).await;
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    assert!(got.stdout.contains("30s"), "{}", got.stdout);
    let unknown = ctl(&node, &["get"]).await;
    assert_eq!(
        unknown.code,
        Some(1),
        "a certificate that nobody has signed"
    );
    let clear = ctl(weir.admin.address(), &["get"]).await;
    assert_eq!(clear.code, Some(1), "{}", clear.stdout);

    let (code, said) = Weir::before(&[&api])
        .with(&tls.replace("cert.pem", "key.pem"))
        .start_expecting_failure()
        .await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("admin.tls") && said.contains("no certificate"),
        "{said}"
    );
}

#[tokio::test]
async fn pages_of_other_sites_read_nothing_and_hold_no_stream() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let address: std::net::SocketAddr = weir.admin.address().parse().unwrap();
    let own = format!("Host: {address}\r\n");
    let image = "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n";
    let link = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let frame = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n";
    let by_page = |site: &str, how: &str| format!("{own}Sec-Fetch-Site: {site}\r\n{how}");
    for (path, headers, status) in [
        ("/v1/events", by_page("cross-site", image), 403),
        // Of another port of this machine.
        ("/v1/events", by_page("same-site", image), 403),
        ("/v1/events", by_page("cross-site", link), 403),
        ("/v1/settings", by_page("cross-site", image), 403),
        ("/", by_page("cross-site", frame), 403),
        ("/", by_page("cross-site", link), 200),
        ("/v1/settings", by_page("same-origin", image), 200),
        ("/v1/settings", by_page("none", link), 200),
        ("/v1/settings", own.clone(), 200),
        ("/v1/settings", own.repeat(2), 400),
        ("/healthz", format!("{own}Host: b\r\n"), 400),
    ] {
        let mut connection = weir_tests::client::Conn::open(address).await;
        let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
        connection.send(&request).await;
        assert_eq!(connection.answer().await.status, status, "{request}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_keeps_the_proxy_from_starting() {
    let api = Origin::named("a").await;
    for (toml, code, says) in [
        (
            "admin.listen = '0.0.0.0:0'",
            2,
            "can be reached from other machines, and there are no tokens",
        ),
        (
            "admin.tokens = '/nowhere/tokens.toml'",
            1,
            "/nowhere/tokens.toml: cannot be read",
        ),
        (
            "admin.audit_log = '/nowhere/audit.log'",
            1,
            "cannot open /nowhere/audit.log",
        ),
        (
            "admin.socket = '/nowhere/a.sock'",
            1,
            "cannot listen on /nowhere/a.sock",
        ),
    ] {
        let (got, said) = Weir::before(&[&api])
            .with(toml)
            .start_expecting_failure()
            .await;
        assert_eq!(got, Some(code), "{toml}: {said}");
        assert!(said.contains(says), "{toml}: {said}");
    }
}

#[tokio::test]
async fn a_reload_says_first_what_it_would_change() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api]).start().await;
    let node = weir.admin.address().to_owned();
    weir.rewrite_config("timeouts.connect = '3s'\nserver.threads = 2");
    let tried = ctl(&node, &["reload", "--dry-run"]).await;
    assert_eq!(tried.code, Some(0), "{}", tried.stderr);
    for says in ["timeouts.connect", "3s", "needs a restart: server"] {
        assert!(tried.stdout.contains(says), "{says}: {}", tried.stdout);
    }
    assert_eq!(weir.admin.settings().await["timeouts"]["connect"], "30s");
    let done = ctl(&node, &["reload", "--reason", "new file"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(weir.admin.settings().await["timeouts"]["connect"], "3s");

    weir.rewrite_config("timeouts.connect = 'soon'");
    let refused = ctl(&node, &["reload"]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("timeouts.connect"),
        "{}",
        refused.stderr
    );
    assert_eq!(weir.admin.settings().await["timeouts"]["connect"], "3s");
}

#[tokio::test]
async fn a_profile_is_a_flame_graph_where_it_is_allowed() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("admin.profile = true")
        .start()
        .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.svg").display().to_string();
    let address = weir.addr();
    let load = tokio::spawn(async move {
        let mut connection = weir_tests::client::Conn::open(address).await;
        loop {
            connection.get("/").await;
        }
    });
    let args = [
        "profile",
        "--seconds",
        "1",
        "--frequency",
        "999",
        "--output",
        &file,
    ];
    let taken = ctl(weir.admin.address(), &args).await;
    load.abort();
    assert_eq!(taken.code, Some(0), "{}", taken.stderr);
    let svg = fs::read_to_string(&file).unwrap();
    assert!(svg.contains("<svg") && svg.contains("samples at 999 a second"));
    assert!(svg.contains("weir"), "names of functions");

    let closed = Weir::before(&[&api]).start().await;
    let refused = ctl(closed.admin.address(), &args).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("admin.profile = true"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn settings_are_explained_from_their_definitions() {
    let all = run("weir", &["settings"]).await;
    assert_eq!(all.code, Some(0), "{}", all.stderr);
    let some = run("weir", &["settings", "keepalive"]).await;
    for says in ["upstream.NAME.keepalive", "0 to 65535", "32", "live"] {
        assert!(some.stdout.contains(says), "{says}: {}", some.stdout);
    }
    assert!(some.stdout.len() < all.stdout.len());
    let by_nginx = run("weir", &["settings", "worker_connections"]).await;
    assert!(
        by_nginx.stdout.contains("connections.max"),
        "{}",
        by_nginx.stdout
    );
    let none = run("weir", &["settings", "colour"]).await;
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("colour"), "{}", none.stderr);
    let schema = run("weir", &["settings", "--json-schema"]).await;
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(
        schema["properties"]["compression"]["properties"]["level"]["maximum"],
        9
    );

    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let served = weir.admin.get("/v1/openapi.json").await;
    let patch = &served["paths"]["/v1/settings"]["patch"]["requestBody"]["content"];
    assert_eq!(
        patch["application/json"]["schema"]["$ref"],
        "#/components/schemas/SettingsPatch"
    );
    assert_eq!(
        weir.admin.get("/v1/schema").await["properties"]["compression"],
        schema["properties"]["compression"]
    );
}

#[tokio::test]
async fn top_shows_what_a_proxy_is_doing() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    for _ in 0..20 {
        weir.get("/").await.expect(200);
    }
    let last = eventually_some("top to have seen a rate", async || {
        let top = ctl(weir.admin.address(), &["top", "--once"]).await;
        assert_eq!(top.code, Some(0), "{}", top.stderr);
        top.stdout.contains("req/s").then_some(top.stdout)
    })
    .await;
    for says in ["revision 1", "p99", "in flight", "up", "upstream"] {
        assert!(last.contains(says), "{says}: {last}");
    }
    let gone = ctl("127.0.0.1:1", &["top", "--once"]).await;
    assert_eq!(gone.code, Some(1));
    assert!(gone.stdout.contains("cannot be reached"), "{}", gone.stdout);
}
