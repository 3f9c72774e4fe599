//! The real binary watches processes: `weir-bench sample` and `weir-bench profile`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

fn weir_bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-bench"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    weir_bench(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn record(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", errors(output)))
}

/// A process that lives until it is dropped.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn figure<'a>(process: &'a Value, name: &str) -> &'a Value {
    let figures = process["figures"].as_array().unwrap();
    figures
        .iter()
        .find(|figure| figure["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {process}"))
}

#[test]
fn sampling_a_process_leaves_tables_plots_and_a_cautious_verdict() {
    let (idle, folder) = (Idle::start(), tempfile::tempdir().unwrap());
    let output = run(&[
        "sample",
        "--pid",
        &idle.pid(),
        "--for",
        "1s",
        "--every",
        "50ms",
        "--pss",
        "--output",
        folder.path().to_str().unwrap(),
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", errors(&output));
    assert!(
        text.contains("memory cannot tell: 1 s is too short for 10 MB/h"),
        "{text}"
    );
    assert!(errors(&output).contains(&format!("cat {}: CPU", idle.pid())));

    let saved = fs::read_to_string(folder.path().join("sample.json")).unwrap();
    let saved: Value = serde_json::from_str(&saved).unwrap();
    let process = &saved["processes"][0];
    assert_eq!(process["name"], "cat");
    assert_eq!(process["memory"]["leak"], "cannot_tell");
    for name in ["cpu", "rss", "vms", "pss", "threads", "fds", "sockets"] {
        assert!(figure(process, name)["mean"].as_f64().unwrap() >= 0.0);
    }
    let rss = figure(process, "rss");
    assert!(
        rss["min"].as_f64() <= rss["mean"].as_f64() && rss["mean"].as_f64() <= rss["max"].as_f64()
    );
    assert!(rss["growth_per_hour"]["detectable"].as_f64().unwrap() > 0.0);
    let csv = fs::read_to_string(folder.path().join("samples.csv")).unwrap();
    assert_eq!(
        csv.lines().count() as u64,
        1 + process["readings"].as_u64().unwrap()
    );
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(
        page.contains("Resident memory") && page.contains("<svg") && !page.contains("src=\"http")
    );
    assert!(
        fs::read_to_string(folder.path().join("rss.svg"))
            .unwrap()
            .contains("xmlns")
    );

    // A limit that was asked for and cannot be judged is not passed.
    let asked = run(&[
        "sample",
        "--pid",
        &idle.pid(),
        "--for",
        "300ms",
        "--every",
        "20ms",
        "--limit-growth",
        "10MB/h",
        "-q",
    ]);
    assert_eq!(asked.status.code(), Some(5), "{}", errors(&asked));
}

#[test]
fn a_leak_fails_and_is_as_large_as_it_is() {
    // A kilobyte is kept 200 times, then a pause: megabytes a second.
    let program = r#"BEGIN { while (1) { a[++i] = sprintf("%1000d", i); if (i % 200 == 0) system("sleep 0.02") } }"#;
    let output = run(&[
        "sample",
        "--for",
        "4s",
        "--every",
        "50ms",
        "--warmup",
        "500ms",
        "--limit-growth",
        "10MB/h",
        "--json",
        "--quiet",
        "--",
        "awk",
        program,
    ]);
    let record = record(&output);
    assert_eq!(output.status.code(), Some(3), "{record}{}", errors(&output));
    let process = &record["processes"][0];
    assert_eq!(process["memory"]["leak"], "leak");
    assert!(
        figure(process, "rss")["growth_per_hour"]["low"]
            .as_f64()
            .unwrap()
            > 10e6
    );
}

#[test]
fn a_command_is_sampled_with_its_children_until_it_ends() {
    let output = run(&[
        "sample",
        "--children",
        "--every",
        "20ms",
        "--json",
        "--quiet",
        "--",
        "sh",
        "-c",
        "sleep 1; exit 0",
    ]);
    let record = record(&output);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let processes = record["processes"].as_array().unwrap();
    let names: Vec<_> = processes
        .iter()
        .map(|process| process["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"sh") && names.contains(&"sleep"),
        "{names:?}"
    );
    assert!(
        processes
            .iter()
            .all(|process| process["ended_s"].as_f64().is_some()),
        "{record}"
    );

    let failed = run(&[
        "sample",
        "--every",
        "20ms",
        "--quiet",
        "--",
        "sh",
        "-c",
        "sleep 0.3; exit 7",
    ]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        errors(&failed).contains("exit status: 7"),
        "{}",
        errors(&failed)
    );
}

#[test]
fn processes_are_chosen_by_command_line() {
    let mark = format!("{}7531", std::process::id());
    let mut children: Vec<_> = (0..2)
        .map(|_| Command::new("sleep").arg(&mark).spawn().unwrap())
        .collect();
    let pattern = format!("/^sleep {mark}$/");
    let output = run(&[
        "sample", "--name", &pattern, "--for", "200ms", "--every", "50ms", "--json", "-q",
    ]);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(record(&output)["processes"].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_sampled_is_refused_with_a_reason() {
    for (arguments, reason) in [
        (&["sample"][..], "nothing to sample"),
        (
            &["sample", "--pid", "4194304"],
            "there is no process 4194304",
        ),
        (
            &["sample", "--name", "no-such-program"],
            "no process is named `no-such-program`",
        ),
        (&["sample", "--name", "/(/"], "selects nothing"),
        (&["sample", "--pid", "1", "--every", "1ms"], "at least 10ms"),
        (
            &["sample", "--pid", "1", "--limit-growth", "10"],
            "\"10MB/h\"",
        ),
        (&["sample", "--", "/no/such/program"], "cannot be started"),
        (
            &["profile", "--pid", "4194304"],
            "there is no process 4194304",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            errors(&output).contains(reason),
            "{arguments:?}: {}",
            errors(&output)
        );
    }
}

/// A folder with a program of this name, to be found before any other.
fn program(name: &str, script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn sample_container(path: &Path) -> Output {
    weir_bench(&[
        "sample",
        "--container",
        "api",
        "--for",
        "200ms",
        "--every",
        "50ms",
        "--json",
        "-q",
    ])
    .env("PATH", path)
    .output()
    .unwrap()
}

#[test]
fn a_container_is_the_process_that_docker_names() {
    let idle = Idle::start();
    let docker = program("docker", &format!("echo true {}", idle.pid()));
    let output = sample_container(docker.path());
    let record = record(&output);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(record["processes"][0]["name"], "api");
    assert_eq!(record["processes"][0]["pid"].to_string(), idle.pid());
    assert!(
        record["notes"][0]
            .as_str()
            .unwrap()
            .contains("container api")
    );

    let stopped = program("docker", "echo false 0");
    assert!(errors(&sample_container(stopped.path())).contains("`api` does not run"));
    let unknown = program("docker", "echo no such container >&2; exit 1");
    assert!(errors(&sample_container(unknown.path())).contains("docker says: no such container"));
    let nothing = tempfile::tempdir().unwrap();
    let missing = sample_container(nothing.path());
    assert_eq!(missing.status.code(), Some(1));
    assert!(errors(&missing).contains("the `docker` program cannot be started"));
}

#[test]
fn a_busy_process_has_a_flame_graph() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("deep/flame.svg");
    let mut busy = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .spawn()
        .unwrap();
    let output = run(&[
        "profile",
        "--pid",
        &busy.id().to_string(),
        "--for",
        "1500ms",
        "--output",
        svg.to_str().unwrap(),
    ]);
    busy.kill().unwrap();
    busy.wait().unwrap();
    let why = errors(&output);
    if [
        "`perf` cannot be started",
        "does not let `perf` watch",
        "`perf record` failed",
    ]
    .iter()
    .any(|text| why.contains(text))
    {
        eprintln!("SKIPPED: perf cannot run here, so no flame graph was drawn: {why}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{why}");
    let picture = fs::read_to_string(&svg).unwrap();
    assert!(
        picture.contains("<svg")
            && picture.contains("CPU time of sh")
            && picture.contains("samples of cpu-clock")
    );
}

#[test]
fn without_perf_it_is_said_how_to_get_it() {
    let nothing = tempfile::tempdir().unwrap();
    let idle = Idle::start();
    let output = weir_bench(&["profile", "--pid", &idle.pid(), "--for", "1s"])
        .env("PATH", nothing.path())
        .current_dir(nothing.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("apt-get install linux-perf"),
        "{}",
        errors(&output)
    );
}
