//! The real binary: a run that starts its own processes, what it leaves behind, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How long a condition may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn weir_bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-bench"));
    command
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    weir_bench(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Starts a slow run without a proxy; its folder goes to `results`.
fn start_direct(results: &Path, duration: &str) -> Child {
    let results = results.to_str().unwrap();
    let arguments = [
        "run",
        "--scenario",
        "rate",
        "--topology",
        "direct",
        "--rate",
        "50",
        "--connections",
        "20",
        "--warmup",
        "200ms",
        "--duration",
        duration,
        "--results",
        results,
        "--quiet",
    ];
    weir_bench(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Ids of replicas that were started for runs in this folder.
fn replicas_of(results: &Path) -> Vec<i32> {
    let mark = results.to_str().unwrap();
    let ours = |process: procfs::process::Process| {
        let line = process.cmdline().ok()?;
        let is_replica = line.get(1).is_some_and(|word| word == "replica");
        let alive = process.stat().is_ok_and(|stat| stat.state != 'Z');
        (is_replica && alive && line.iter().any(|word| word.contains(mark))).then_some(process.pid)
    };
    procfs::process::all_processes()
        .unwrap()
        .flatten()
        .filter_map(ours)
        .collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn only_folder(results: &Path) -> PathBuf {
    let folders = fs::read_dir(results)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let mut folders: Vec<_> = folders
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.remove(0)
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_run_leaves_a_complete_folder_and_no_process() {
    let results = tempfile::tempdir().unwrap();
    let output = start_direct(results.path(), "1500ms")
        .wait_with_output()
        .unwrap();
    // On a busy machine the generator may be late, which it must say.
    let (out, code) = (text(&output.stdout), output.status.code().unwrap());
    assert!(
        code == 0 || code == 5,
        "{code}\n{out}{}",
        text(&output.stderr)
    );
    assert!(
        out.contains("not reachable with this profile (at most 50/s)"),
        "{out}"
    );
    assert!(
        out.lines()
            .all(|line| !line.starts_with(['│', '┌']) || line.chars().count() <= 100)
    );

    let folder = only_folder(results.path());
    for file in [
        "run.json",
        "summary.json",
        "timeseries.csv",
        "response.hlog",
        "service.hlog",
        "report.html",
        "replica-1.log",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let record = json(&folder.join("run.json"));
    assert_eq!(record["topology"]["replicas"].as_array().unwrap().len(), 1);
    assert_eq!(record["topology"]["capacity_rps"], 800.0);
    assert_eq!(record["scenario"]["load"]["model"], "open");
    assert!(record["provenance"]["host"]["cores"].as_u64().unwrap() >= 1);
    let summary = json(&folder.join("summary.json"));
    assert!(summary["ok"].as_u64().unwrap() > 0);
    let processes = summary["processes"].as_array().unwrap();
    let names: Vec<_> = processes
        .iter()
        .map(|process| process["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["replica-1", "generator"]);
    assert!(results.path().join("latest/report.html").is_file());
    assert_eq!(replicas_of(results.path()), Vec::<i32>::new());

    // The report can be made again from the two JSON files.
    fs::remove_file(folder.join("report.html")).unwrap();
    let again = run(&["report", folder.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert!(folder.join("report.html").is_file());
}

#[test]
fn a_run_that_is_killed_leaves_no_process() {
    let results = tempfile::tempdir().unwrap();
    let mut child = start_direct(results.path(), "60s");
    wait_until("the replica runs", || {
        !replicas_of(results.path()).is_empty()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the replica is gone", || {
        replicas_of(results.path()).is_empty()
    });
}

#[test]
fn a_run_that_is_interrupted_stops_what_it_started_and_says_so() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let results = tempfile::tempdir().unwrap();
        let child = start_direct(results.path(), "60s");
        wait_until("the replica runs", || {
            !replicas_of(results.path()).is_empty()
        });
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{signal}: {}",
            text(&output.stderr)
        );
        assert!(
            text(&output.stderr).contains("stopped on request"),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(replicas_of(results.path()), Vec::<i32>::new());
    }
}

#[test]
fn wrong_input_is_one_message_and_leaves_nothing() {
    let results = tempfile::tempdir().unwrap();
    let folder = results.path().join("results");
    let place = folder.to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (
            &["run", "--scenario", "rate", "--topology", "three"],
            "docker-one, edge, one, two",
        ),
        (
            &["run", "--scenario", "nope", "--topology", "direct"],
            "nope",
        ),
        (
            &["run", "--scenario", "rate", "--topology", "0"],
            "at least one replica",
        ),
        (
            &[
                "run",
                "--scenario",
                "rate",
                "--topology",
                "one",
                "--weir",
                "/nowhere",
            ],
            "make build",
        ),
        (
            &[
                "run",
                "--scenario",
                "rate",
                "--topology",
                "direct",
                "--thresholds",
                "/nowhere",
            ],
            "/nowhere",
        ),
        (&["demo", "--proxy", "/nowhere.toml"], "/nowhere.toml"),
    ];
    for (arguments, expected) in cases {
        let output = run(&[arguments, &["--results", place]].concat());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert_eq!(
            error.matches("error: ").count(),
            1,
            "{arguments:?}: {error}"
        );
        let left = fs::read_dir(&folder).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{arguments:?}");
    }
    let output = run(&["report", results.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not a run folder"));
}

#[test]
fn the_documented_contradictions_are_found_in_the_shipped_files() {
    let output = run(&[
        "lint",
        "--scenario",
        "documented",
        "--proxy",
        "config/proxy.toml",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = found["findings"].as_array().unwrap();
    let number = |code: &str, name: &str| {
        let finding = findings.iter().find(|finding| finding["code"] == code);
        finding.unwrap_or_else(|| panic!("no {code}"))["numbers"][name]
            .as_f64()
            .unwrap()
    };
    assert_eq!(number("offered-rate", "max_rps"), 80.0);
    assert_eq!(number("offered-rate", "users_needed"), 625.0);
    assert_eq!(number("rate-limit", "admitted"), 3021.0);
    assert_eq!(number("rate-limit", "max_requests"), 24_000.0);
    assert_eq!(number("weights", "weight_total"), 110.0);
    assert_eq!(number("not-bound", "connections"), 200.0);
    assert_eq!(number("not-bound", "in_flight"), 4.0);
    assert_eq!(number("connect-timeout", "connect_timeout_s"), 30.0);

    let ci = run(&["lint", "--scenario", "ci", "--strict"]);
    assert_eq!(ci.status.code(), Some(3), "an error and --strict");
    let ci = text(&ci.stdout);
    assert!(
        ci.contains("at most 16/s") && ci.contains("at most 960 requests"),
        "{ci}"
    );
}
