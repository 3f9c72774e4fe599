//! `weir ctl`, and what it can do that a patch alone cannot: roll back, save, and handle single servers.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weir_tests::{
    Gate, Origin, Reply, Weir,
    process::{Finished, run, start},
    wait::eventually_some,
    weir::Server as _,
};

async fn ctl(weir: &Weir, args: &[&str]) -> Finished {
    run(
        "weir",
        &[&["ctl", "--node", weir.admin.address()], args].concat(),
    )
    .await
}

/// A command that succeeds.
async fn done(weir: &Weir, args: &[&str]) -> String {
    let done = ctl(weir, args).await;
    assert_eq!(
        done.code,
        Some(0),
        "{args:?}: {}{}",
        done.stdout,
        done.stderr
    );
    done.stdout
}

#[tokio::test]
async fn settings_are_shown_changed_and_discarded() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    assert!(
        done(&weir, &["get", "timeouts.connect"])
            .await
            .contains("30s")
    );
    let said = done(
        &weir,
        &[
            "set",
            "timeouts.connect=10s",
            "upstream.api.keepalive=64",
            "--reason",
            "fail fast",
        ],
    )
    .await;
    assert!(
        said.contains("timeouts.connect") && said.contains("10s"),
        "{said}"
    );
    let settings = weir.admin.settings().await;
    assert_eq!(
        (
            &settings["timeouts"]["connect"],
            &settings["upstream"]["api"]["keepalive"]
        ),
        (&json!("10s"), &json!(64))
    );
    assert!(done(&weir, &["revisions"]).await.contains("fail fast"));
    done(&weir, &["discard"]).await;
    assert_eq!(weir.admin.settings().await["timeouts"]["connect"], "30s");
}

#[tokio::test]
async fn exit_codes() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let before = weir.admin.get("/v1/settings").await;
    for (args, code, mentions) in [
        (&["set", "timeouts.conect=10s"][..], 2, "timeouts.conect"),
        (&["set", "compression.level=12"], 2, "1 to 9"),
        (&["set", "nonsense"], 2, ""),
        (&["get", "no.such.path"], 2, "no"),
        (&["rollback", "99"], 1, "99"),
        (&["fly"], 2, ""),
    ] {
        let done = ctl(&weir, args).await;
        assert!(
            matches!(done.code, Some(1 | 2)),
            "{args:?}: {:?} {}",
            done.code,
            done.stderr
        );
        if args[0] != "rollback" && args[0] != "get" {
            assert_eq!(done.code, Some(code), "{args:?}: {}", done.stderr);
        }
        assert!(
            done.stderr.contains(mentions) && !done.stderr.is_empty(),
            "{args:?}: {}",
            done.stderr
        );
    }
    assert_eq!(weir.admin.get("/v1/settings").await, before);
    let nobody = run("weir", &["ctl", "--node", "127.0.0.1:1", "get"]).await;
    assert_eq!(nobody.code, Some(1), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("127.0.0.1:1"), "{}", nobody.stderr);
}

#[tokio::test]
async fn a_change_on_several_proxies_is_made_on_all_or_on_none() {
    let api = Origin::named("a").await;
    let with_limit = Weir::before(&[&api])
        .with("rate_limit.z = { rate = '1r/s' }")
        .start()
        .await;
    let without = Weir::before(&[&api]).start().await;
    let nodes = [
        "ctl",
        "--node",
        with_limit.admin.address(),
        "--node",
        without.admin.address(),
    ];
    let both = run(
        "weir",
        &[&nodes[..], &["set", "compression.level=3"]].concat(),
    )
    .await;
    assert_eq!(both.code, Some(0), "{}", both.stderr);
    let one = run(
        "weir",
        &[&nodes[..], &["set", "rate_limit.z.burst=7"]].concat(),
    )
    .await;
    assert_ne!(one.code, Some(0), "the second has no such limit");
    for weir in [&with_limit, &without] {
        assert_eq!(weir.admin.settings().await["compression"]["level"], 3);
    }
    assert_eq!(
        with_limit.admin.settings().await["rate_limit"]["z"]["burst"],
        0
    );
}

#[tokio::test]
async fn a_file_is_compared_and_applied() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let file = weir.dir().join("change.toml");
    std::fs::write(
        &file,
        "[timeouts]\nconnect = '11s'\n[compression]\nlevel = 2\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let diff = done(&weir, &["diff", file]).await;
    assert!(
        diff.contains("timeouts.connect") && diff.contains("11s"),
        "{diff}"
    );
    assert_eq!(weir.admin.settings().await["timeouts"]["connect"], "30s");
    done(&weir, &["apply", file]).await;
    assert_eq!(weir.admin.settings().await["timeouts"]["connect"], "11s");
    assert_eq!(weir.admin.settings().await["compression"]["level"], 2);
}

#[tokio::test]
async fn overrides_have_a_life_of_their_own() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    done(
        &weir,
        &[
            "override",
            "compression.level=1",
            "--ttl",
            "10m",
            "--owner",
            "ana",
            "--reason",
            "load test",
        ],
    )
    .await;
    assert_eq!(weir.admin.settings().await["compression"]["level"], 1);
    let list = done(&weir, &["override", "ls"]).await;
    assert!(list.contains("ana") && list.contains("load test"), "{list}");
    let id = weir.admin.get("/v1/overrides").await["overrides"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    done(&weir, &["override", "rm", &id]).await;
    assert_eq!(weir.admin.settings().await["compression"]["level"], 6);
}

#[tokio::test]
async fn a_rollback_brings_the_settings_back_as_a_new_revision() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let first = weir.admin.revision().await;
    weir.admin
        .patch(json!({ "compression": { "level": 2 }, "connections": { "max": 500 } }))
        .await;
    weir.admin
        .patch(json!({ "compression": { "level": 3 } }))
        .await;
    done(&weir, &["rollback", &(first + 1).to_string()]).await;
    assert_eq!(weir.admin.settings().await["compression"]["level"], 2);
    assert_eq!(weir.admin.settings().await["connections"]["max"], 500);
    done(&weir, &["rollback", &first.to_string()]).await;
    assert_eq!(weir.admin.settings().await["connections"]["max"], 1024);
    assert_eq!(weir.admin.revision().await, first + 4);
}

#[tokio::test]
async fn saved_settings_are_in_the_file_with_its_comments_and_survive_a_restart() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api]).start().await;
    let text = std::fs::read_to_string(weir.config_path()).unwrap();
    let commented = format!(
        "# the front of the API\n{text}\n[timeouts] # seconds\nread = '31s' # slow reports\n"
    );
    std::fs::write(weir.config_path(), &commented).unwrap();
    weir.process.signal(Signal::SIGHUP);
    eventually_some("the file to be read", async || {
        (weir.admin.settings().await["timeouts"]["read"] == "31s").then_some(())
    })
    .await;
    weir.admin
        .patch(json!({ "timeouts": { "connect": "9s", "read": "32s" } }))
        .await;
    weir.admin
        .override_for("10m", json!({ "compression": { "level": 1 } }))
        .await;
    done(&weir, &["save"]).await;
    let saved = std::fs::read_to_string(weir.config_path()).unwrap();
    for kept in [
        "# the front of the API\n",
        "[timeouts] # seconds\n",
        "# slow reports",
    ] {
        assert!(saved.contains(kept), "{kept:?} is gone:\n{saved}");
    }
    let file: toml::Table = saved.parse().unwrap();
    assert_eq!(file["timeouts"]["connect"].as_str(), Some("9s"), "{saved}");
    assert_eq!(file["timeouts"]["read"].as_str(), Some("32s"), "{saved}");
    assert!(
        file.get("compression").is_none(),
        "an override does not last: {saved}"
    );
    let file = weir.config_path();
    assert_eq!(
        run("weir", &["check", file.to_str().unwrap()]).await.code,
        Some(0)
    );
    // Nothing is left to be discarded: what was patched is the file's now.
    let sources = weir.admin.get("/v1/settings").await["sources"].clone();
    assert!(
        sources
            .as_object()
            .unwrap()
            .values()
            .all(|source| source != "patch"),
        "{sources}"
    );
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_file_that_somebody_has_edited_is_not_written_over() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    weir.admin
        .patch(json!({ "timeouts": { "connect": "9s" } }))
        .await;
    let edited = std::fs::read_to_string(weir.config_path()).unwrap() + "\n# by hand\n";
    std::fs::write(weir.config_path(), &edited).unwrap();
    let refused = ctl(&weir, &["save"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("edited"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(weir.config_path()).unwrap(), edited);
    assert_eq!(
        weir.admin.settings().await["timeouts"]["connect"],
        "9s",
        "and goes on as before"
    );
}

#[tokio::test]
async fn a_server_is_drained_removed_and_added() {
    let gate = Gate::closed();
    let a = Origin::answering(Reply::text("a").when(&gate)).await;
    let b = Origin::named("b").await;
    let weir = Weir::before(&[&a]).start().await;
    let (at_a, at_b) = (a.addr().to_string(), b.addr().to_string());
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    a.is_serving(1).await;

    done(&weir, &["server", "add", "api", &at_b, "weight=2"]).await;
    assert_eq!(weir.admin.server(b.addr()).await["weight"], 2);
    let hasty = ctl(&weir, &["server", "drain", "api", &at_a, "--wait", "200ms"]).await;
    assert_eq!(hasty.code, Some(1), "one is in flight: {}", hasty.stdout);
    for _ in 0..6 {
        assert_eq!(
            weir.get("/").await.text(),
            "b",
            "no new requests for the one that drains"
        );
    }
    let drain = start(
        "weir",
        &[
            "ctl",
            "--node",
            weir.admin.address(),
            "server",
            "drain",
            "api",
            &at_a,
        ],
        weir.dir(),
    );
    let mut drain = drain;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(
        drain.ended().is_none(),
        "it waits for the request in flight"
    );
    gate.open();
    assert_eq!(client.answer().await.expect(200).text(), "a");
    assert_eq!(drain.exit_code().await, Some(0));
    done(&weir, &["server", "rm", "api", &at_a]).await;
    let upstreams = weir.admin.get("/v1/upstreams").await.to_string();
    assert!(
        !upstreams.contains(&at_a) && upstreams.contains(&at_b),
        "{upstreams}"
    );
    let last = ctl(&weir, &["server", "rm", "api", &at_b]).await;
    assert_eq!(
        last.code,
        Some(2),
        "an upstream is never empty: {}",
        last.stderr
    );
    assert_eq!(weir.get("/").await.text(), "b");
}

#[tokio::test]
async fn what_happens_can_be_watched() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let watch = start(
        "weir",
        &["ctl", "--node", weir.admin.address(), "--json", "watch"],
        weir.dir(),
    );
    let seen = |watch: &weir_tests::process::Process| -> Vec<Value> {
        watch
            .stdout()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };
    weir_tests::eventually("the watch to begin", || !seen(&watch).is_empty()).await;
    weir.admin
        .patch(json!({ "compression": { "level": 3 } }))
        .await;
    weir_tests::eventually("the change to be seen", || {
        watch.stdout().contains("compression.level")
    })
    .await;
    weir.admin
        .override_for("1s", json!({ "compression": { "level": 4 } }))
        .await;
    weir_tests::eventually("begin and end of the override to be seen", || {
        watch.stdout().matches("compression.level").count() >= 3
    })
    .await;
}
