//! The real binary against a target that runs already: its folder, its verdict, its end.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    PATIENCE,
    server::{Server, answer, ok},
};

/// A closed model of a few quick users.
const QUICK: &str = "name = 'quick'\nduration = '1s'\nwarmup = '0s'\n\
    [load]\nmodel = 'closed'\nusers = 4\nthink_time = '2ms'\n\
    [[requests]]\nname = 'root'\npath = '/'\n";

/// A folder with a scenario, in which the program works; results go below it.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("scenario.toml"), scenario).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `weir-bench` with these arguments.
    pub(crate) fn bench(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-bench"));
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `weir-bench run` of the scenario against this server, with these arguments too.
    pub(crate) fn run(&self, server: &Server, more: &[&str]) -> Command {
        let target = format!("http://{}", server.address);
        let fixed = ["run", "--scenario", "scenario.toml", "--target", &target];
        self.bench(&[&fixed[..], more].concat())
    }

    /// Folders of runs, the oldest first.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().join("results"));
        let mut runs: Vec<_> = entries
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        runs.retain(|path: &PathBuf| !path.is_symlink());
        runs.sort();
        runs
    }

    pub(crate) fn only_run(&self) -> PathBuf {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.into_iter().next().unwrap()
    }
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| {
        panic!("{}: {}", output.status, text(&output.stderr));
    })
}

#[test]
fn a_run_against_a_target_leaves_a_complete_folder() {
    let server = Server::start(|_| ok("hello"));
    let desk = Desk::new(&format!("{QUICK}\n[thresholds]\np50 = '10s'\n"));
    let output = desk.run(&server, &["--quiet"]).output().unwrap();
    let said = text(&output.stdout);
    // On a busy machine the run may be unbelievable, but it may not be wrong.
    assert!(matches!(code(&output), 0 | 5), "{said}");
    assert_eq!(text(&output.stderr), "");
    let folder = desk.only_run();
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.contains("Z__quick__4-users__git-"), "{name}");
    for file in [
        "run.json",
        "summary.json",
        "timeseries.csv",
        "response.hlog",
        "service.hlog",
        "report.html",
    ] {
        assert!(folder.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    let record = json(&folder.join("run.json"));
    assert_eq!(record["id"], name.as_str());
    assert_eq!(record["label"], "4-users");
    let target = format!("http://{}", server.address);
    assert_eq!(record["targets"], serde_json::json!([target]));
    assert!(record["topology"].is_null() && record["stopped"].is_null());
    assert_eq!(record["verdict"][0]["metric"], "p50 latency");
    assert_eq!(record["verdict"][0]["status"], "pass");
    let summary = json(&folder.join("summary.json"));
    assert_eq!(summary["requests"], summary["ok"]);
    assert!(summary["ok"].as_u64().unwrap() > 10, "{summary}");
    let latest = fs::read_link(desk.path().join("results/latest")).unwrap();
    assert_eq!(latest.to_string_lossy(), name);
    assert!(said.contains("p50 latency") && said.contains("report.html"));
    assert!(
        said.lines().all(|line| line.chars().count() <= 100),
        "{said}"
    );
}

#[test]
fn where_results_go_is_the_users_choice() {
    let server = Server::start(|_| ok("hello"));
    let desk = Desk::new(QUICK);
    let exact = ["--output", "here", "--label", "small", "--quiet"];
    desk.run(&server, &exact).output().unwrap();
    assert!(desk.path().join("here/report.html").is_file());
    assert!(!desk.path().join("results").exists(), "only where asked");
    assert_eq!(json(&desk.path().join("here/run.json"))["label"], "small");

    let before: Vec<_> = fs::read_dir(desk.path()).unwrap().collect();
    let output = desk
        .run(&server, &["--no-save", "--quiet"])
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains("nothing was saved"));
    assert_eq!(fs::read_dir(desk.path()).unwrap().count(), before.len());

    let both = ["--no-save", "--output", "x", "--quiet"];
    assert_eq!(code(&desk.run(&server, &both).output().unwrap()), 2);
}

#[test]
fn a_missed_threshold_and_a_missing_target_have_their_exit_codes() {
    let server = Server::start(|_| answer("500 Oops", "no"));
    let desk = Desk::new(&format!("{QUICK}\n[thresholds]\nerror_rate = '1%'\n"));
    let output = desk.run(&server, &["--quiet"]).output().unwrap();
    let said = text(&output.stdout);
    assert!(matches!(code(&output), 3 | 5), "{said}");
    assert!(
        said.contains("FAIL") && said.contains("status_500"),
        "{said}"
    );
    drop(server);

    let gone = Server::start(|_| ok("x"));
    let target = format!("http://{}", {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    });
    drop(gone);
    let before = desk.runs().len();
    let arguments = ["run", "-s", "scenario.toml", "-t", &target, "--quiet"];
    let output = desk.bench(&arguments).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("nothing accepts connections"));
    assert_eq!(
        desk.runs().len(),
        before,
        "nothing was measured, nothing is left"
    );
}

#[test]
fn an_interrupted_run_reports_in_full_what_it_measured() {
    for (kind, name) in [(Signal::SIGINT, "Ctrl-C"), (Signal::SIGTERM, "SIGTERM")] {
        let server = Server::start(|_| ok("hello"));
        let desk = Desk::new(&QUICK.replace("'1s'", "'10m'"));
        let child = desk.run(&server, &["--quiet"]).spawn().unwrap();
        // Some of it in the first second of the measured part, which is what must be kept.
        wait_until("load", || server.requests() > 50);
        signal(&child, kind);
        let output = child.wait_with_output().unwrap();
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(code(&output), 1, "{errors}");
        assert!(errors.contains("stopped on request"), "{errors}");
        assert!(said.contains(&format!("stopped by {name}")), "{said}");
        let folder = desk.only_run();
        for file in ["timeseries.csv", "response.hlog", "report.html"] {
            assert!(folder.join(file).metadata().unwrap().len() > 0, "{file}");
        }
        let record = json(&folder.join("run.json"));
        assert!(record["stopped"].as_str().unwrap().contains(name));
        assert_eq!(record["gate"], "stopped");
        let summary = json(&folder.join("summary.json"));
        assert!(summary["ok"].as_u64().unwrap() >= 40, "{summary}");
        assert_ne!(summary["validity"]["verdict"], "valid");
        assert!(fs::read_link(desk.path().join("results/latest")).is_ok());
    }
}

#[test]
fn a_second_interrupt_ends_at_once() {
    // Answers that never come keep the run waiting for stragglers after the first interrupt.
    let server = Server::start(|seen| match seen.number {
        0 => ok("x"),
        _ => crate::server::Reply::Hang,
    });
    let desk = Desk::new(&QUICK.replace("'1s'", "'10m'"));
    let mut child = desk.run(&server, &["--quiet"]).spawn().unwrap();
    wait_until("load", || server.requests() > 2);
    let begun = Instant::now();
    // Signals of one kind that arrive together are one: keep sending until it is over.
    let status = loop {
        signal(&child, Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(20));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE);
    };
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let server = Server::start(|_| ok("hello"));
    let desk = Desk::new(QUICK);
    for arguments in [&["--json"][..], &[]] {
        let mut child = desk.run(&server, arguments).spawn().unwrap();
        // Nobody reads either stream any more, long before anything is printed.
        drop((child.stdout.take(), child.stderr.take()));
        let status = child.wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 5)), "{status}");
    }
    assert_eq!(desk.runs().len(), 2);
    // A stream that cannot be written for another reason is an error.
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut child = desk
        .run(&server, &["--json", "--quiet"])
        .stdout(full)
        .spawn()
        .unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
}
