//! The real binary looks at itself: its ceiling, its memory, and what it owes at the end of a run.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    PATIENCE,
    server::{Server, ok},
};

fn weir_bench(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-bench"));
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn output(folder: &Path, arguments: &[&str]) -> Output {
    weir_bench(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_calibration_from_a_fresh_start_is_what_later_runs_are_held_against() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("s.toml");
    let source = "name = \"s\"\nduration = \"1s\"\nengine = \"wire\"\nconnections = 4\n\
                  load = { model = \"open\", rate = \"20/s\" }\n\
                  requests = [{ name = \"a\", path = \"/\" }]\n";
    std::fs::write(&scenario, source).unwrap();
    let server = Server::start(|_| ok("x"));
    let url = format!("http://{}", server.address);
    let run = ["run", "--scenario", "s.toml", "--target", &url];

    let before = text(&output(folder.path(), &run).stdout);
    assert!(before.contains("weir-bench calibrate"), "{before}");

    let ways = "wire,session,wire+h2+tls";
    let made = output(
        folder.path(),
        &[
            "calibrate",
            "--rounds",
            "1",
            "--seconds",
            "1",
            "--connections",
            "4",
            "--ways",
            ways,
        ],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let kept = json(&folder.path().join("results/calibration.json"));
    for way in ways.split(',') {
        assert!(
            kept["ceilings"][way]["rate"].as_f64().unwrap() > 0.0,
            "{kept}"
        );
    }
    assert!(
        kept["cpu"].is_string() && kept["build"].is_string(),
        "{kept}"
    );

    let after = text(&output(folder.path(), &run).stdout);
    assert!(after.contains("of its ceiling of"), "{after}");

    // One that is far too low makes the same run invalid.
    let mut low = kept.clone();
    low["ceilings"]["wire"]["rate"] = 21.into();
    let file = folder.path().join("results/calibration.json");
    std::fs::write(&file, low.to_string()).unwrap();
    let held = output(folder.path(), &run);
    assert_eq!(held.status.code(), Some(5), "{}", text(&held.stdout));
    assert!(text(&held.stdout).contains("of what the wire engine reaches"));
}

#[test]
fn a_way_that_does_not_exist_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = output(folder.path(), &["calibrate", "--ways", "wire,quic"]);
    assert_eq!(refused.status.code(), Some(2));
    let error = text(&refused.stderr);
    assert!(
        error.contains("`quic`") && error.contains("session+tls"),
        "{error}"
    );
}

#[test]
fn the_generator_keeps_its_memory_flat() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("check.json");
    for way in ["wire", "session+h2+tls"] {
        let check = output(
            folder.path(),
            &[
                "self-check",
                "--duration",
                "10s",
                "--rate",
                "1000/s",
                "--connections",
                "8",
                "--way",
                way,
                "--max-rss-mb",
                "200",
                "--max-growth-mb",
                "1000000",
                "--min-requests",
                "9000",
                "--json",
                file.to_str().unwrap(),
            ],
        );
        // A busy machine may make the generator late, which is for it to say; nothing else may fail.
        let told = format!("{}{}", text(&check.stdout), text(&check.stderr));
        assert!(matches!(check.status.code(), Some(0 | 5)), "{told}");
        let found = json(&file);
        let bytes = |name: &str| found["memory"][name].as_f64().unwrap();
        assert!(found["requests"].as_u64().unwrap() >= 9000, "{found}");
        // Ten thousand requests. Some systems give memory in huge pages of 2 MB, a few of which are
        // touched late; 1.6 kB kept for each request would show beyond them.
        assert!(bytes("end") - bytes("start") < 16e6, "{way}: {found}");
        assert!(bytes("max") < 1e8, "{way}: {found}");
    }
}

#[test]
fn a_self_check_that_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let check = output(
        folder.path(),
        &[
            "self-check",
            "--duration",
            "1s",
            "--rate",
            "50/s",
            "--max-rss-mb",
            "1",
            "--min-requests",
            "1000000",
        ],
    );
    assert_eq!(check.status.code(), Some(3));
    let told = text(&check.stdout);
    assert!(
        told.contains("FAILED") && told.contains("at least 1000000"),
        "{told}"
    );
}

#[test]
fn what_was_due_while_the_generator_was_stopped_is_sent_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let source = "name = \"s\"\nduration = \"2s\"\nengine = \"wire\"\nconnections = 10\n\
                  load = { model = \"open\", rate = \"100/s\" }\n\
                  requests = [{ name = \"a\", path = \"/\" }]\n";
    std::fs::write(folder.path().join("s.toml"), source).unwrap();
    let server = Server::start(|_| ok("x"));
    let url = format!("http://{}", server.address);
    let arguments = [
        "run",
        "--scenario",
        "s.toml",
        "--target",
        &url,
        "--json",
        "--quiet",
    ];
    let child = weir_bench(folder.path(), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let deadline = Instant::now() + PATIENCE;
    while server.requests() < 50 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // About half a second in: stopped until long after the end.
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    kill(pid, Signal::SIGCONT).unwrap();
    let done = child.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&done.stdout).unwrap();
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("requests") + count("unsent"), 200, "{summary}");
    // Far more than ten connections could take at once; all of it is the generator's own fault.
    assert!(count("unsent") < 20, "{}", count("unsent"));
    assert_eq!(
        done.status.code(),
        Some(5),
        "a late generator is not believed"
    );
}
