//! What others wrote cannot take a terminal over: control characters are refused where they come in, and written out
//! wherever text is shown.

use std::fs;

use serde_json::{Value, json};
use weir_tests::{
    Origin, Reply, Weir,
    process::{Finished, run},
    wait::{eventually, eventually_some},
};

/// Clears a screen, sets a window's title, hides what stands before it, turns what follows around.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\rhidden\u{9b}31m\u{202e}\u{7f}";

/// What is printed may be shown: nothing but text and line ends.
#[track_caller]
fn is_harmless(what: &str, text: &str) {
    let evil = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
    let found = text.chars().find(|c| evil(*c));
    assert_eq!(found, None, "{what}: {text:?}");
}

#[track_caller]
fn prints_harmless(what: &str, done: &Finished) {
    is_harmless(what, &done.stdout);
    is_harmless(what, &done.stderr);
}

#[tokio::test]
async fn control_characters_are_refused() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let before = weir.admin.get("/v1/revisions").await;
    let patch = json!({"timeouts": {"connect": "7s"}}).to_string();
    for (character, code) in [
        ("%1B", "U+001B"),
        ("%0D", "U+000D"),
        ("%0A", "U+000A"),
        ("%C2%9B", "U+009B"),
    ] {
        for parameter in ["who", "why"] {
            let path = format!("/v1/settings?{parameter}=a{character}b");
            let refused = weir
                .admin
                .send("PATCH", &path, Some(&patch))
                .await
                .expect(400);
            let message = refused["error"]["message"].as_str().unwrap();
            assert!(
                message.contains(parameter) && message.contains(code),
                "{message}"
            );
        }
    }
    for field in ["owner", "reason"] {
        let mut body = json!({"settings": {"timeouts": {"connect": "7s"}}, "ttl": "1m", "owner": "ana", "reason": "x"});
        body[field] = json!(EVIL);
        let refused = weir
            .admin
            .send("POST", "/v1/overrides", Some(&body.to_string()))
            .await
            .expect(400);
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(field) && message.contains("U+001B"),
            "{message}"
        );
    }
    assert_eq!(
        weir.admin.get("/v1/revisions").await,
        before,
        "nothing was changed"
    );
    let node = ["ctl", "--node", weir.admin.address()];
    let refused = run(
        "weir",
        &[&node[..], &["set", "timeouts.connect=7s", "--reason", EVIL]].concat(),
    )
    .await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    prints_harmless("a refusal", &refused);
    let refused = run("weir", &["token", "new", EVIL]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    prints_harmless("a token's name", &refused);
}

/// A node that says nothing but evil, in answers of the right form.
async fn evil_node() -> Origin {
    Origin::start(|request| {
        let change = json!({"path": EVIL, "old": EVIL, "new": format!("{EVIL}\nforged")});
        let override_view = json!({
            "id": EVIL, "owner": EVIL, "reason": format!("{EVIL}\nforged"), "expires_at": EVIL, "remaining": "5s",
            "created_at": EVIL, "settings": {"timeouts.connect": EVIL}, "superseded": [EVIL], "revision": 1,
        });
        let body = match request.target.split('?').next().unwrap_or_default() {
            "/v1/revisions" => json!({"revision": 1, "revisions": [
                {"revision": 1, "at": EVIL, "who": EVIL, "why": format!("{EVIL}\nforged"), "diff": [change]},
            ]}),
            "/v1/settings" if request.method == "GET" => json!({
                "revision": 1, "effective": {"timeouts": {"connect": EVIL}}, "sources": {"timeouts.connect": EVIL},
            }),
            "/v1/settings" => json!({
                "revision": 2, "dry_run": false, "diff": [change],
                "superseded": [{"path": EVIL, "override": EVIL, "owner": EVIL}],
            }),
            "/v1/settings/timeouts/connect" => json!(EVIL),
            "/v1/settings/save" => json!({
                "revision": 1, "dry_run": false, "file": EVIL, "diff": [change], "text_diff": EVIL,
            }),
            "/v1/overrides" => json!({"revision": 1, "overrides": [override_view]}),
            "/v1/upstreams" => json!({"revision": 1, "upstreams": [
                {"name": EVIL, "servers": [{"address": EVIL, "state": EVIL}]},
            ]}),
            "/v1/limits" => json!({"revision": 1, "limits": [{"name": EVIL, "top": [{"key": EVIL}]}]}),
            "/v1/history" => json!({"revision": 1, "moments": []}),
            _ => return Reply::text(EVIL).with_status(500),
        };
        Reply::json(&body)
    })
    .await
}

#[tokio::test]
async fn ctl_writes_control_characters_out() {
    let evil = evil_node().await;
    let address = weir_tests::weir::Server::addr(&evil).to_string();
    for args in [
        &["revisions"][..],
        &["get"],
        &["get", "timeouts.connect"],
        &["set", "timeouts.connect=7s"],
        &["save"],
        &["override", "ls"],
        &["upstreams"],
        &["limits"],
        &["top", "--once"],
        &["reload"],
        &["discard"],
        &["watch"],
    ] {
        for json in [&[][..], &["--json"]] {
            let done = run("weir", &[&["ctl", "--node", &address], json, args].concat()).await;
            let what = format!("{args:?} {json:?}");
            prints_harmless(&what, &done);
            let answered = !["reload", "watch"].contains(&args[0]);
            assert_eq!(
                done.code,
                Some(i32::from(!answered)),
                "{what}: {}",
                done.stderr
            );
            assert!(!done.stdout.is_empty() || !done.stderr.is_empty(), "{what}");
            let lines = done.stdout.lines();
            let forged = lines
                .filter(|line| line.trim_start().starts_with("forged"))
                .count();
            assert_eq!(forged, 0, "{what}: {}", done.stdout);
        }
    }
    let listed = run("weir", &["ctl", "--node", &address, "revisions"]).await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    assert!(listed.stdout.contains(r"\u{1b}[2J"), "{}", listed.stdout);
    let listed = run("weir", &["ctl", "--node", &address, "--json", "revisions"]).await;
    let parsed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(parsed["revisions"][0]["who"], EVIL, "JSON means the same");
}

#[tokio::test]
async fn check_and_logs_write_control_characters_out() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api]).start().await;
    let nonsense = format!("timeouts.connect = {EVIL}\n");
    fs::write(weir.config_path(), &nonsense).unwrap();
    let path = weir.config_path().display().to_string();
    let checked = run("weir", &["check", &path]).await;
    assert_eq!(checked.code, Some(2));
    prints_harmless("a line of the file", &checked);
    assert!(checked.stderr.contains(r"\u{1b}[2J"), "{}", checked.stderr);
    let named = run("weir", &["check", &format!("/nowhere/{EVIL}.toml")]).await;
    prints_harmless("a file's name", &named);

    weir.process.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("the log to tell of the refused file", || {
        weir.process.stderr().contains("reload refused")
    })
    .await;
    weir.get(&format!("/a?{}", "b")).await.expect(200);
    weir.logged(1).await;
    is_harmless("the program's own log", &weir.process.stderr());
    is_harmless("the access log", &weir.process.stdout());
    weir.process.kill().await;
}

#[tokio::test]
async fn the_audit_log_writes_control_characters_out() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let weir = Weir::before(&[&api])
        .with(&format!("admin.audit_log = '{}'", log.display()))
        .start()
        .await;
    let body = json!({"timeouts": {"connect": "7s"}}).to_string();
    let path = "/v1/settings?who=a%1B%C2%9Bb";
    weir.admin
        .send("PATCH", path, Some(&body))
        .await
        .expect(400);
    let text = eventually_some("the refused change to be there", async || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("control character").then_some(text)
    })
    .await;
    is_harmless("the audit log", &text);
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["who"], "a\u{1b}\u{9b}b");
}
