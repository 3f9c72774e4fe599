//! Whoever reads the output may go away at any time: `… | head -1`.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{
    folders::Desk,
    server::{Server, ok},
};

const QUICK: &str = "name = 'quick'\nduration = '300ms'\nwarmup = '0s'\n\
    [load]\nmodel = 'closed'\nusers = 2\nthink_time = '2ms'\n\
    [[requests]]\nname = 'root'\npath = '/'\n[thresholds]\nerror_rate = '1%'\n";

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Exit code and standard error of a command whose output nobody reads.
fn unread(mut command: Command) -> (Option<i32>, String) {
    let output = command.stdout(closed()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), told)
}

#[test]
fn an_output_that_nobody_reads_changes_no_verdict() {
    let desk = Desk::new(QUICK);
    let server = Server::start(|_| ok("x"));
    let run = desk.run(&server, &["--quiet"]).output().unwrap();
    assert_eq!(run.status.code(), Some(0));
    let folder = desk.only_run().display().to_string();
    let har = r#"{"log": {"entries": [{"request": {"method": "GET", "url": "http://a/x"}, "response": {"status": 200}}]}}"#;
    fs::write(desk.path().join("rec.har"), har).unwrap();
    let target = format!("http://{}", server.address);
    let again = ["--scenario", "scenario.toml", "--target", &target];
    let cases: Vec<Vec<&str>> = vec![
        vec!["--help"],
        [&["run", "--quiet"][..], &again].concat(),
        vec!["run", "--scenario", "scenario.toml", "--explain"],
        vec!["lint", "--scenario", "scenario.toml"],
        vec!["gate", &folder],
        vec!["baseline", "save", "main", &folder, "--replace"],
        vec!["baseline", "list"],
        vec!["baseline", "show", "main"],
        vec!["compare", &folder, "--baseline", "main"],
        vec!["import", "har", "rec.har"],
        vec!["report", &folder],
        vec!["plan", "--help"],
        vec![
            "sweep",
            "--scenario",
            "scenario.toml",
            "--target",
            &target,
            "--over",
            "users",
            "--from",
            "1",
            "--to",
            "2",
            "--steps",
            "2",
            "--duration",
            "200ms",
            "--quiet",
        ],
        vec![
            "calibrate",
            "--rounds",
            "1",
            "--seconds",
            "1",
            "--connections",
            "1",
            "--output",
            "ceiling.json",
        ],
    ];
    for arguments in cases {
        let (code, told) = unread(desk.bench(&arguments));
        let read = desk.bench(&arguments).output().unwrap();
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
        assert!(!told.contains("roken pipe"), "{arguments:?}: {told}");
        let expected = read.status.code();
        assert_ne!(
            expected,
            Some(2),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&read.stderr)
        );
        // How fast this machine is at the moment may differ; all else may not.
        let measures = ["compare", "sweep", "calibrate"].contains(&arguments[0]);
        assert!(
            measures || code == expected,
            "{arguments:?}: {code:?} {told}"
        );
        assert!(code.is_some(), "{arguments:?}: ended by a signal");
    }
}

#[test]
fn a_closed_standard_error_is_nobody_to_be_told() {
    let desk = Desk::new(QUICK);
    let mut command = desk.bench(&["gate", "nowhere"]);
    let status = command.stdout(closed()).stderr(closed()).status().unwrap();
    let read = desk.bench(&["gate", "nowhere"]).output().unwrap();
    assert_eq!(status.code(), read.status.code());
    assert!([Some(1), Some(2)].contains(&status.code()));
}
