//! `weir-bench` on containers: it starts the shipped Compose files with the real engine, measures, and
//! leaves nothing behind, however it ends.
//!
//! What needs an engine, Compose or the base image is skipped where one of them is missing, and says so.

use std::{
    collections::BTreeSet,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command as Plain, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    process::Command,
    sync::{Mutex, MutexGuard},
};
use weir_tests::process::{Finished, Process, program};

use crate::containers::engine::skipped;

/// The base image of the shipped images.
const BASE: &str = "debian:bookworm-slim";
/// The longest that one step may take on a busy machine: building images is one.
const BOUND: Duration = Duration::from_secs(240);

/// The folder that holds `config/` and `docker/`.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A folder for results, and what to say to `weir-bench run`.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.out().join(name)).unwrap()).unwrap()
    }

    /// `weir-bench run` with a light load on a topology.
    fn command(&self, topology: &str, duration: &str) -> Command {
        let mut command = Command::new(program("weir-bench"));
        let words = [
            "run",
            "--scenario",
            "rate",
            "--rate",
            "100/s",
            "--warmup",
            "1s",
            "--duration",
            duration,
            "--quiet",
            "--topology",
            topology,
        ];
        command
            .args(words)
            .arg("--output")
            .arg(self.out())
            .current_dir(repository());
        command
    }

    fn start(&self, topology: &str, duration: &str) -> Process {
        Process::start(
            "weir-bench",
            self.command(topology, duration),
            self.dir.path(),
        )
    }
}

async fn finish(mut command: Command) -> Finished {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(BOUND, output).await;
    let output = output.expect("weir-bench did not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

async fn ended(process: &mut Process) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = process.ended() {
            return status.code();
        }
        assert!(begun.elapsed() < BOUND, "weir-bench did not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One test at a time: the containers of several would measure each other.
static TURN: Mutex<()> = Mutex::const_new(());

/// The turn of a test that needs containers. Where they cannot be run, it is said to be skipped.
async fn turn() -> Option<MutexGuard<'static, ()>> {
    let turn = TURN.lock().await;
    match no_containers() {
        None => Some(turn),
        Some(reason) => {
            skipped(reason);
            None
        }
    }
}

/// Why containers cannot be run here.
fn no_containers() -> Option<&'static str> {
    let answers = |program: &str, arguments: &[&str]| {
        let mut command = Plain::new("timeout");
        command.arg("60").arg(program).args(arguments);
        let output = command.stdin(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !answers("docker", &["info"]) {
        return Some("no Docker engine answers");
    }
    if !answers("docker-compose", &["version"]) && !answers("docker", &["compose", "version"]) {
        return Some("there is no Compose");
    }
    if !answers("docker", &["image", "inspect", BASE]) {
        return Some("there is no base image: docker/local-images.sh --runtime makes it");
    }
    None
}

fn docker(arguments: &[&str]) -> String {
    let output = Plain::new("timeout")
        .arg("60")
        .arg("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything there is of the runs of a process: containers and networks, by name.
fn things_of(pid: u32) -> BTreeSet<String> {
    let prefix = format!("weir-bench-{pid}-");
    let filter = "label=weir.bench.owner";
    let containers = docker(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]);
    let networks = docker(&["network", "ls", "--filter", filter, "--format", "{{.Name}}"]);
    let names = containers.lines().chain(networks.lines());
    names
        .filter(|name| name.starts_with(&prefix))
        .map(str::to_owned)
        .collect()
}

/// Waits until a condition holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < BOUND, "waited {BOUND:?} for {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until load is on: the proxy has logged a request.
async fn until_loaded(bench: &Bench, process: &mut Process) {
    let log = bench.out().join("access.log");
    let begun = Instant::now();
    while !std::fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
        assert!(process.ended().is_none(), "{}", process.stderr());
        assert!(begun.elapsed() < BOUND, "no request was logged");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn two_replicas_in_containers_are_started_measured_judged_and_removed() {
    let Some(_turn) = turn().await else {
        return;
    };
    let bench = Bench::new();
    let mut process = bench.start("docker", "5s");
    let pid = process.id();
    let code = ended(&mut process).await;
    // On a busy machine the measurement may be worth nothing; everything else holds all the same.
    assert!(
        [Some(0), Some(3), Some(5)].contains(&code),
        "{code:?}: {}",
        process.stderr()
    );
    assert_eq!(things_of(pid), BTreeSet::new());

    let run = bench.json("run.json");
    let topology = &run["topology"];
    assert_eq!(run["label"], "docker");
    assert_eq!(topology["name"], "docker");
    assert_eq!(topology["replicas"].as_array().unwrap().len(), 2);
    let file = &topology["containers"]["file"];
    assert_eq!(file, "docker/compose.prod.yml");
    let bounds = topology["bounds"].as_array().unwrap();
    let named: Vec<_> = bounds
        .iter()
        .map(|b| b["process"].as_str().unwrap())
        .collect();
    assert_eq!(named, ["weir", "replica-1", "replica-2"]);
    for bound in &bounds[1..] {
        assert_eq!(bound["cpus"], 1.0, "{bound}");
        assert_eq!(bound["memory_bytes"], 2_u64 << 30, "{bound}");
    }

    let summary = bench.json("summary.json");
    assert!(summary["ok"].as_u64().unwrap() > 300, "{summary}");
    assert_eq!(summary["limited"], 0, "the limit was raised");
    let processes = summary["processes"].as_array().unwrap();
    let names: Vec<_> = processes
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["weir", "replica-1", "replica-2", "generator"]);
    for process in processes {
        assert!(process["cpu_s"].as_f64().unwrap() > 0.0, "{process}");
        assert!(process["rss_mean"].as_u64().unwrap() > 1 << 20, "{process}");
    }

    let tuning = &run["tuning"];
    assert_eq!(tuning["restored"], true, "{tuning}");
    assert!(!tuning["changes"].as_array().unwrap().is_empty());
    assert!(run["stages"]["requests"].as_u64().unwrap() > 300);
    for file in [
        "report.html",
        "proxy.toml",
        "weir.log",
        "replica-1.log",
        "access.log",
    ] {
        assert!(bench.out().join(file).is_file(), "{file}");
    }
    let report = std::fs::read_to_string(bench.out().join("report.html")).unwrap();
    assert!(report.contains("at most 1.0 CPU, memory 2048 MiB"));
    // The token that the run made for itself is nowhere.
    let kept: Vec<_> = std::fs::read_dir(bench.out())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert!(
        !kept.iter().any(|name| name.contains("etc-weir")),
        "{kept:?}"
    );
}

#[tokio::test]
async fn limits_of_a_topology_are_those_of_its_containers() {
    let Some(_turn) = turn().await else {
        return;
    };
    let bench = Bench::new();
    let file = bench.dir.path().join("small.toml");
    let text = "description = 'Small.'\nengine = 'docker'\ncompose = 'docker/compose.yml'\nreplicas = 1\n\
        [proxy]\ncores = 1\nmemory = '256MiB'\n\
        [replica]\nslots = 4\nservice_time = '5ms'\nmemory = '128MiB'\n";
    std::fs::write(&file, text).unwrap();
    let done = finish(bench.command(&file.display().to_string(), "2s")).await;
    assert!(
        [Some(0), Some(3), Some(5)].contains(&done.code),
        "{}",
        done.stderr
    );
    let run = bench.json("run.json");
    let of = |name: &str| {
        let bounds = run["topology"]["bounds"].as_array().unwrap();
        let found = bounds.iter().find(|bound| bound["process"] == name);
        let found = found.unwrap();
        (
            found["cpus"].as_f64(),
            found["memory_bytes"].as_u64().map(|bytes| bytes >> 20),
        )
    };
    assert_eq!(of("weir"), (Some(1.0), Some(256)));
    // The CPU limit is the one of the shipped file.
    assert_eq!(of("replica-1"), (Some(1.0), Some(128)));
    assert_eq!(run["topology"]["capacity_rps"], 800.0);
}

#[tokio::test]
async fn a_container_that_ends_early_is_told_with_its_last_words() {
    let Some(_turn) = turn().await else {
        return;
    };
    let bench = Bench::new();
    let compose = bench.dir.path().join("compose.yml");
    let service =
        "image: ${API_IMAGE}\n    command: [sh, -c, 'echo the database is missing >&2; exit 7']";
    let proxy = "image: ${WEIR_IMAGE}\n    depends_on: {api: {condition: service_healthy}}";
    std::fs::write(
        &compose,
        format!("services:\n  api:\n    {service}\n  weir:\n    {proxy}\n"),
    )
    .unwrap();
    let file = bench.dir.path().join("broken.toml");
    let text = format!(
        "description = 'd'\nengine = 'docker'\ncompose = '{}'\nproxy = true\nreplicas = 1\n\
         [replica]\nslots = 1\nservice_time = '1ms'\n",
        compose.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut process = bench.start(&file.display().to_string(), "1s");
    let pid = process.id();
    assert_eq!(ended(&mut process).await, Some(1), "{}", process.stderr());
    let said = process.stderr();
    assert!(
        said.contains("replica-1 ended early (exit code 7)"),
        "{said}"
    );
    assert!(said.contains("the database is missing"), "{said}");
    assert_eq!(things_of(pid), BTreeSet::new());
    let log = std::fs::read_to_string(bench.out().join("replica-1.log")).unwrap();
    assert_eq!(log.trim(), "the database is missing");
}

#[tokio::test]
async fn a_stopped_run_reports_and_leaves_no_containers() {
    let Some(_turn) = turn().await else {
        return;
    };
    let bench = Bench::new();
    let mut process = bench.start("docker-one", "5m");
    let pid = process.id();
    until_loaded(&bench, &mut process).await;
    assert_eq!(things_of(pid).len(), 3, "two containers and a network");
    process.signal(Signal::SIGINT);
    assert_eq!(ended(&mut process).await, Some(1), "{}", process.stderr());
    assert_eq!(things_of(pid), BTreeSet::new());
    let run = bench.json("run.json");
    assert!(run["stopped"].as_str().unwrap().contains("Ctrl-C"));
    assert_eq!(run["tuning"]["restored"], true);
}

#[tokio::test]
async fn a_run_that_is_stopped_while_containers_start_leaves_none() {
    let Some(_turn) = turn().await else {
        return;
    };
    let bench = Bench::new();
    let mut process = bench.start("docker-one", "5m");
    let pid = process.id();
    until("the first thing to be there", || {
        assert!(process.ended().is_none(), "{}", process.stderr());
        !things_of(pid).is_empty()
    })
    .await;
    process.signal(Signal::SIGTERM);
    assert_eq!(ended(&mut process).await, Some(1), "{}", process.stderr());
    assert_eq!(things_of(pid), BTreeSet::new());
}

#[tokio::test]
async fn the_containers_of_a_killed_generator_are_removed() {
    let Some(_turn) = turn().await else {
        return;
    };
    let bench = Bench::new();
    let mut process = bench.start("docker-direct", "5m");
    let pid = process.id();
    until("the container to be there", || {
        assert!(process.ended().is_none(), "{}", process.stderr());
        things_of(pid).len() == 2
    })
    .await;
    process.kill().await;
    until("a killed generator's containers to go", || {
        things_of(pid).is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_a_generator_left_that_died_together_with_its_keeper_goes_at_the_next_start() {
    let Some(_turn) = turn().await else {
        return;
    };
    // A process that has ended: its id means nobody any more.
    let mut gone = Plain::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let project = format!("weir-bench-{}-0", gone.id());
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let namespace = namespace.display().to_string();
    let namespace = namespace.trim_start_matches("pid:[").trim_end_matches(']');
    let leave = |owner: &str, project: &str| {
        let owner = format!("weir.bench.owner={owner}");
        let label = format!("com.docker.compose.project={project}");
        let arguments = [
            "network", "create", "--label", &owner, "--label", &label, project,
        ];
        docker(&arguments);
    };
    leave(
        &format!("{}/{namespace}/{}/1", boot.trim(), gone.id()),
        &project,
    );
    // Of another process namespace: nobody here knows whether it lives.
    let foreign = format!("weir-bench-{}-1", gone.id());
    leave(&format!("{}/1/{}/1", boot.trim(), gone.id()), &foreign);
    let bench = Bench::new();
    let done = finish(bench.command("docker-direct", "1s")).await;
    let left = things_of(gone.id());
    docker(&["network", "rm", &foreign]);
    assert_eq!(left, BTreeSet::from([foreign]), "{}", done.stderr);
}

#[tokio::test]
async fn without_docker_compose_or_an_engine_it_is_said_what_is_missing() {
    let bench = Bench::new();
    let bin = bench.dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let with = |host: &str| {
        let mut command = bench.command("docker", "1s");
        command.env("PATH", &bin).env("DOCKER_HOST", host);
        command
    };
    let nothing = finish(with("")).await;
    assert_eq!(nothing.code, Some(2), "{}", nothing.stderr);
    assert!(
        nothing.stderr.contains("needs the `docker` program"),
        "{}",
        nothing.stderr
    );

    // A `docker` that is there, with an engine that is not.
    let script = |text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = bin.join("docker");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    symlink("/bin/sh", bin.join("sh")).unwrap();
    script("[ \"$1\" = --version ] || { echo 'Cannot connect to the daemon' >&2; exit 1; }");
    let silent = finish(with("")).await;
    assert_eq!(silent.code, Some(1), "{}", silent.stderr);
    let said = "no Docker engine answers: Cannot connect to the daemon";
    assert!(silent.stderr.contains(said), "{}", silent.stderr);

    script("[ \"$1\" != compose ] || exit 1; echo 1.2.3");
    let lonely = finish(with("")).await;
    assert_eq!(lonely.code, Some(2), "{}", lonely.stderr);
    assert!(lonely.stderr.contains("needs Compose"), "{}", lonely.stderr);

    let far = finish(with("tcp://192.0.2.1:2375")).await;
    assert_eq!(far.code, Some(1), "{}", far.stderr);
    assert!(
        far.stderr.contains("does not run on this machine"),
        "{}",
        far.stderr
    );

    // Compose is there, and neither the images nor what they are built on.
    script("case \"$1\" in version|compose) echo 1.2.3 ;; esac");
    let bare = finish(with("")).await;
    assert_eq!(bare.code, Some(2), "{}", bare.stderr);
    assert!(
        bare.stderr.contains("docker/local-images.sh --runtime"),
        "{}",
        bare.stderr
    );
}

#[tokio::test]
async fn a_topology_of_containers_is_checked_before_anything_starts() {
    let bench = Bench::new();
    let file = bench.dir.path().join("mine.toml");
    let base = "description = 'd'\nproxy = true\nreplicas = 1\n";
    let replica = "[replica]\nslots = 1\nservice_time = '1ms'\n";
    for (lines, said) in [
        (
            "engine = 'podman'\n",
            "engine: must be \"processes\" or \"docker\", not \"podman\"",
        ),
        (
            "engine = 'docker'\n",
            "compose: with engine = \"docker\" it must name a Compose file",
        ),
        (
            "compose = 'x.yml'\n",
            "compose: it needs engine = \"docker\"",
        ),
        (
            "engine = 'docker'\ncompose = 'nowhere.yml'\n",
            "there is no nowhere.yml",
        ),
    ] {
        std::fs::write(&file, format!("{base}{lines}{replica}")).unwrap();
        let done = finish(bench.command(&file.display().to_string(), "1s")).await;
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
    let mut recovery = Command::new(program("weir-bench"));
    recovery
        .args(["recovery", "--topology", "docker"])
        .current_dir(repository());
    let done = finish(recovery).await;
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(
        done.stderr.contains("does not work on containers"),
        "{}",
        done.stderr
    );
}
