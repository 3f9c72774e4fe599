//! Settings are taken from one proxy and brought to another.

use nix::sys::signal::Signal;
use serde_json::json;
use weir_tests::{Origin, Weir, process::run, wait::eventually_some};

async fn ctl(weir: &Weir, args: &[&str]) -> weir_tests::process::Finished {
    let done = run(
        "weir",
        &[&["ctl", "--node", weir.admin.address()], args].concat(),
    )
    .await;
    assert_eq!(done.code, Some(0), "{args:?}: {}", done.stderr);
    done
}

const FILE: &str = "route = [{ upstream = 'api', rate_limit = ['z'] }]
    rate_limit.z = { rate = '10r/s', burst = 20, nodelay = true }
    timeouts.connect = '30s'";

#[tokio::test]
async fn a_backup_restores_the_settings_on_a_fresh_proxy_without_what_was_temporary() {
    let api = Origin::named("a").await;
    let old = Weir::before(&[&api]).with(FILE).start().await;
    old.admin
        .patch(json!({
            "timeouts": { "connect": "9s" },
            "compression": { "enabled": true, "level": 4 },
            "rate_limit": { "z": { "nodelay": false, "delay": 5 } },
            "upstream": { "api": { "keepalive": 64 } },
        }))
        .await;
    let lasting = old.admin.settings().await;
    old.admin
        .override_for(
            "10m",
            json!({ "rate_limit": { "z": { "rate": "500r/s" } } }),
        )
        .await;
    let printed = ctl(&old, &["get", "--json"]).await.stdout;
    assert!(printed.contains("500r/s"), "{printed}");

    let fresh = Weir::before(&[&api]).with(FILE).start().await;
    let backup = fresh.dir().join("backup.json");
    std::fs::write(&backup, printed).unwrap();
    let backup = backup.to_str().unwrap();
    let shown = ctl(&fresh, &["diff", backup]).await.stdout;
    assert!(
        shown.contains("timeouts.connect") && shown.contains("9s"),
        "{shown}"
    );
    let said = ctl(&fresh, &["apply", backup, "--reason", "restored"])
        .await
        .stderr;
    assert!(said.contains("rate_limit.z.rate"), "{said}");
    assert_eq!(fresh.admin.settings().await, lasting);

    // Saved, it is in the file and outlives the process.
    ctl(&fresh, &["save"]).await;
    let text = std::fs::read_to_string(fresh.config_path()).unwrap();
    drop(fresh);
    let again = Weir::before(&[&api]).with(&text).start().await;
    assert_eq!(again.admin.settings().await, lasting);
}

#[tokio::test]
async fn a_backup_of_several_nodes_is_refused_with_what_would_be_right() {
    let api = Origin::named("a").await;
    let (one, two) = (
        Weir::before(&[&api]).start().await,
        Weir::before(&[&api]).start().await,
    );
    let both = ctl(&one, &["--node", two.admin.address(), "get", "--json"]).await;
    let file = one.dir().join("backup.json");
    std::fs::write(&file, both.stdout).unwrap();
    let before = one.admin.get("/v1/settings").await;
    let refused = run(
        "weir",
        &[
            "ctl",
            "--node",
            one.admin.address(),
            "apply",
            file.to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains(two.admin.address()),
        "{}",
        refused.stderr
    );
    assert_eq!(one.admin.get("/v1/settings").await, before);
}

#[tokio::test]
async fn saving_keeps_the_byte_order_mark_and_the_line_ends() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api]).start().await;
    let text = std::fs::read_to_string(weir.config_path()).unwrap();
    let windows =
        format!("\u{feff}# from an editor on Windows\n{text}\n[timeouts]\nread = '31s'\n");
    let windows = windows.replace('\n', "\r\n");
    std::fs::write(weir.config_path(), &windows).unwrap();
    weir.process.signal(Signal::SIGHUP);
    eventually_some("the file to be read", async || {
        (weir.admin.settings().await["timeouts"]["read"] == "31s").then_some(())
    })
    .await;
    weir.admin
        .patch(json!({ "timeouts": { "read": "32s", "connect": "9s" } }))
        .await;
    let node = weir.admin.address();
    let saved = run("weir", &["ctl", "--node", node, "save"]).await;
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    assert!(!saved.stdout.contains('\r'), "{:?}", saved.stdout);
    let changed = saved
        .stdout
        .lines()
        .filter(|line| line.starts_with(['+', '-']));
    // The two lines of the head, one line replaced, one added.
    assert_eq!(changed.count(), 5, "{}", saved.stdout);
    let after = std::fs::read_to_string(weir.config_path()).unwrap();
    assert!(
        after.starts_with("\u{feff}# from an editor on Windows\r\n"),
        "{after:?}"
    );
    assert_eq!(
        after.matches('\n').count(),
        after.matches("\r\n").count(),
        "{after:?}"
    );
    assert!(after.contains("read = \"32s\"\r\n"), "{after:?}");
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
}
