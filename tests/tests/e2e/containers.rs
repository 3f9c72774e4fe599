//! The shipped Compose files with the real engine, running the programs under test.
//!
//! Needs a Docker engine that answers, Compose, and the base image of docker/Dockerfile (pulled, or made by
//! docker/local-images.sh). Where one of them is missing, what needs it is skipped, and a line on standard error says so.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};
use weir_tests::process::program;

/// The base image of the shipped images.
const BASE: &str = "debian:bookworm-slim";
/// The longest that containers may take for one step on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// The longest that one command may take, in seconds.
const COMMAND_BOUND: &str = "120";
/// User of the shipped images.
const USER: &str = "10001";

#[tokio::test]
async fn the_configuration_in_the_image_is_valid() {
    let file = folder().join("config/proxy.toml");
    let checked = weir_tests::process::run("weir", &["check", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("api:8000"), "{}", checked.stdout);
}

#[test]
fn both_dockerfiles_make_the_same_images() {
    let text = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    let common = |text: &str| text[text.find("COPY docker/http-ok").unwrap()..].to_owned();
    assert_eq!(
        common(&text("Dockerfile")),
        common(&text("Dockerfile.prebuilt"))
    );
}

#[test]
fn both_compose_files_mean_what_is_documented() {
    let Some(compose) = Compose::find() else {
        return skipped("there is no Compose");
    };
    for (file, port, replicas) in [("compose.yml", "8080", ""), ("compose.prod.yml", "80", "2")] {
        let shown = run(compose.command(file, "weir-e2e-config").arg("config"));
        let value = |key: &str| {
            let line = shown.lines().map(str::trim).find(|l| l.starts_with(key));
            line.map_or("", |line| line[key.len()..].trim()).to_owned()
        };
        assert_eq!(value("scale:"), replicas, "{shown}");
        assert!(value("cpus:").starts_with('1'), "{shown}");
        assert!(
            ["2g", "\"2147483648\""].contains(&value("mem_limit:").as_str()),
            "{shown}"
        );
        assert_eq!(value("stop_grace_period:"), "35s", "{shown}");
        assert_eq!(
            shown.matches("read_only: true").count(),
            3 - ro_mounts(&shown),
            "{shown}"
        );
        assert!(shown.contains(port), "{shown}");
    }
}

/// Compose v2 writes a read-only mount as `read_only: true` too; v1 as `:ro`.
fn ro_mounts(shown: &str) -> usize {
    usize::from(shown.contains(":/etc/weir:ro"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_come_and_go_under_load_and_nobody_notices() {
    let Some(compose) = Compose::find() else {
        return skipped("there is no Compose");
    };
    if let Some(reason) = no_engine() {
        return skipped(&reason);
    }
    let stack = Stack::up(compose);

    // Nobody is root, nothing is writable, and the documented limits are in force.
    for (service, cpus) in [("api", 1_000_000_000_u64), ("weir", 0)] {
        let id = stack.id(service);
        let inspected: Value = serde_json::from_str(&docker(&["inspect", &id])).unwrap();
        let host = &inspected[0]["HostConfig"];
        assert_eq!(host["NanoCpus"], cpus, "{service}");
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped");
        assert_eq!(docker(&["exec", &id, "id", "-u"]).trim(), USER);
        let status = docker(&["exec", &id, "cat", "/proc/1/status"]);
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        if service == "api" {
            assert_eq!(host["Memory"], 2_u64 << 30);
            let quota = "cat /sys/fs/cgroup/cpu.max || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us";
            let quota = docker(&["exec", &id, "sh", "-c", quota]);
            assert!(quota.starts_with("100000"), "{quota}");
        }
    }

    // The documented limit would end this load; it is lifted while the proxy runs, for a time.
    let weir = stack.id("weir");
    docker(&[
        "exec",
        &weir,
        "weir",
        "ctl",
        "override",
        "--ttl",
        "5m",
        "--owner",
        "e2e",
        "rate_limit.api_limit.enabled=false",
    ]);
    stack.sends_to(1);
    let load = Load::start(&stack.address());

    stack.scale(2);
    stack.sends_to(2);
    load.reaches(2);
    let counted = load.so_far();
    assert!(counted.failures.is_empty(), "{counted:?}");

    // One replica dies under load; the requests it had are made again elsewhere.
    let killed = stack.ids("api").pop().unwrap();
    docker(&["kill", &killed]);
    stack.sends_to(1);
    docker(&["start", &killed]);
    stack.sends_to(2);
    load.reaches(2);

    stack.scale(1);
    stack.sends_to(1);
    let counted = load.stop().await;
    assert!(counted.sent > 200, "{counted:?}");
    // None have been seen to fail. A read that loses its server twice may.
    assert!(counted.failures.len() <= 2, "{counted:?}");

    // Told to stop, it drains and ends by itself, well before Compose would kill it.
    run(stack.compose().args(["stop", "weir"]));
    let state = docker(&["inspect", "--format", "{{.State.ExitCode}}", &weir]);
    assert_eq!(state.trim(), "0");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker")
}

/// Says past the capture of the test runner that something was not tested.
fn skipped(reason: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "{name}: SKIPPED: {reason}");
}

/// Why containers cannot be run here.
fn no_engine() -> Option<String> {
    let answers = |args: &[&str]| {
        let quiet = bounded("docker").args(args).stdin(Stdio::null()).output();
        quiet.is_ok_and(|output| output.status.success())
    };
    if !answers(&["info", "--format", "{{.ServerVersion}}"]) {
        return Some("no Docker engine answers".to_owned());
    }
    if !answers(&["image", "inspect", BASE]) {
        return Some(format!(
            "there is no image {BASE}: docker/local-images.sh --runtime makes it"
        ));
    }
    None
}

fn docker(args: &[&str]) -> String {
    run(bounded("docker").args(args))
}

/// A command that ends by itself: an engine that hangs fails the test, it does not hold it up.
fn bounded(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg(COMMAND_BOUND).arg(program);
    command
}

/// What a command wrote to its standard output; it has to succeed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{errors}",
        output.status
    );
    text
}

/// Waits until `probe` finds something.
#[track_caller]
fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < BOUND, "waited {BOUND:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How Compose is called here.
#[derive(Debug, Clone, Copy)]
enum Compose {
    Standalone,
    Plugin,
}

impl Compose {
    fn find() -> Option<Self> {
        [Self::Standalone, Self::Plugin].into_iter().find(|kind| {
            let answer = kind.program().arg("version").stdin(Stdio::null()).output();
            answer.is_ok_and(|output| output.status.success())
        })
    }

    fn program(self) -> Command {
        match self {
            Self::Standalone => bounded("docker-compose"),
            Self::Plugin => {
                let mut command = bounded("docker");
                command.arg("compose");
                command
            }
        }
    }

    fn command(self, file: &str, project: &str) -> Command {
        let mut command = self.program();
        for variable in ["API_IMAGE", "WEIR_IMAGE", "WEIR_PORT", "WEIR_CONFIG"] {
            command.env_remove(variable);
        }
        command.args(["-p", project, "-f"]).arg(folder().join(file));
        command
    }
}

/// The production stack, starting with one replica; gone when dropped.
struct Stack {
    compose: Compose,
    name: String,
}

impl Stack {
    fn up(compose: Compose) -> Self {
        // Removed when dropped, from here on.
        let stack = Self {
            compose,
            name: format!("weir-e2e-{}", std::process::id()),
        };
        let programs = program("weir");
        run(bounded(folder().join("build.sh"))
            .arg("--prebuilt")
            .arg(programs.parent().unwrap())
            .env("TAG", &stack.name));
        stack.scale(1);
        for id in ["api", "weir"].map(|service| stack.id(service)) {
            until("a container to be healthy", || {
                let health = docker(&["inspect", "--format", "{{.State.Health.Status}}", &id]);
                (health.trim() == "healthy").then_some(())
            });
        }
        stack
    }

    fn compose(&self) -> Command {
        let mut command = self.compose.command("compose.prod.yml", &self.name);
        command
            .env("WEIR_IMAGE", format!("weir:{}", self.name))
            .env("API_IMAGE", format!("weir-stand-in:{}", self.name))
            // On a free port.
            .env("WEIR_PORT", "127.0.0.1:");
        command
    }

    fn scale(&self, replicas: usize) {
        run(self.compose().args([
            "up",
            "-d",
            "--no-recreate",
            "--scale",
            &format!("api={replicas}"),
        ]));
    }

    fn ids(&self, service: &str) -> Vec<String> {
        let ids = run(self.compose().args(["ps", "-q", service]));
        ids.lines().map(str::to_owned).collect()
    }

    fn id(&self, service: &str) -> String {
        self.ids(service).into_iter().next().unwrap()
    }

    fn address(&self) -> String {
        let address = run(self.compose().args(["port", "weir", "8080"]));
        address.trim().to_owned()
    }

    /// Waits until the proxy knows this many servers that take requests.
    #[track_caller]
    fn sends_to(&self, servers: usize) {
        let weir = self.id("weir");
        until(&format!("weir to send to {servers}"), || {
            let upstreams = docker(&["exec", &weir, "weir", "ctl", "upstreams", "--json"]);
            (upstreams.matches("\"address\"").count() == servers).then_some(())
        });
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self
                .compose()
                .args(["logs", "--no-color", "--tail=30"])
                .output();
            eprintln!(
                "{}",
                String::from_utf8_lossy(&logs.map(|l| l.stdout).unwrap_or_default())
            );
        }
        let _ = self
            .compose()
            .args(["down", "--volumes", "--timeout", "1"])
            .output();
        for image in ["weir", "weir-stand-in"] {
            let _ = bounded("docker")
                .args(["rmi", &format!("{image}:{}", self.name)])
                .output();
        }
    }
}

/// A few clients that read one after the other, without a pause longer than 10 ms, until told to stop.
struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    clients: Vec<JoinHandle<()>>,
}

/// What the clients have seen.
#[derive(Debug, Default, Clone)]
struct Tally {
    sent: u32,
    /// Whatever was not 200.
    failures: Vec<String>,
    /// Replicas that have answered, by name.
    replicas: BTreeSet<String>,
}

impl Load {
    fn start(address: &str) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (stop, stopped) = watch::channel(false);
        let clients = (0..4)
            .map(|_| {
                let (tally, stopped) = (Arc::clone(&tally), stopped.clone());
                let url = format!("http://{address}/health");
                tokio::spawn(async move {
                    weir_api::tls::provide();
                    let client = reqwest::Client::builder().timeout(BOUND).build().unwrap();
                    while !*stopped.borrow() {
                        let answer = client.get(&url).send().await;
                        tally.lock().unwrap().count(answer);
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                })
            })
            .collect();
        Self {
            tally,
            stop,
            clients,
        }
    }

    fn so_far(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Waits until this many replicas answer from now on.
    #[track_caller]
    fn reaches(&self, replicas: usize) {
        self.tally.lock().unwrap().replicas.clear();
        until(&format!("answers of {replicas}"), || {
            (self.so_far().replicas.len() == replicas).then_some(())
        });
    }

    async fn stop(self) -> Tally {
        self.stop.send_replace(true);
        for client in self.clients {
            client.await.unwrap();
        }
        Arc::try_unwrap(self.tally).unwrap().into_inner().unwrap()
    }
}

impl Tally {
    fn count(&mut self, answer: reqwest::Result<reqwest::Response>) {
        self.sent += 1;
        match answer {
            Ok(answer) if answer.status() == 200 => {
                let name = answer.headers().get("x-replica");
                self.replicas
                    .extend(name.and_then(|name| name.to_str().ok()).map(str::to_owned));
            }
            Ok(answer) => self.failures.push(answer.status().to_string()),
            Err(error) => self.failures.push(format!("{error:?}")),
        }
    }
}
