//! The container engine, asked through its own commands.

use std::{
    ffi::OsStr,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The base image of the shipped images.
const BASE: &str = "debian:bookworm-slim";
/// The longest that containers may take for one step on a busy machine.
pub(super) const BOUND: Duration = Duration::from_secs(60);
/// The longest that one command may take, in seconds.
const COMMAND_BOUND: &str = "120";

/// The folder of the shipped files.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker")
}

/// Says past the capture of the test runner that something was not tested.
pub(crate) fn skipped(reason: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "{name}: SKIPPED: {reason}");
}

/// How Compose is called here, if everything that containers need is there; otherwise the test is said to be skipped.
pub(super) fn compose_with_engine() -> Option<Compose> {
    let missing = match (Compose::find(), missing()) {
        (Some(compose), None) => return Some(compose),
        (None, _) => "there is no Compose".to_owned(),
        (_, Some(missing)) => missing,
    };
    skipped(&missing);
    None
}

/// What is missing here to run containers.
fn missing() -> Option<String> {
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

/// What `docker` wrote to its standard output; it has to succeed.
#[track_caller]
pub(super) fn docker(args: &[&str]) -> String {
    run(bounded("docker").args(args))
}

/// A command that ends by itself: an engine that hangs fails the test, it does not hold it up.
pub(super) fn bounded(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg(COMMAND_BOUND).arg(program);
    command
}

/// What a command wrote to its standard output; it has to succeed.
#[track_caller]
pub(super) fn run(command: &mut Command) -> String {
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
pub(super) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
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
pub(super) enum Compose {
    Standalone,
    Plugin,
}

impl Compose {
    pub(super) fn find() -> Option<Self> {
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

    /// Compose with a shipped file and none of its variables set.
    pub(super) fn command(self, file: &str, project: &str) -> Command {
        let mut command = self.program();
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.args(["-p", project, "-f"]).arg(folder().join(file));
        command
    }
}

/// What the shipped files can be told.
const VARIABLES: [&str; 7] = [
    "API_IMAGE",
    "WEIR_IMAGE",
    "WEIR_PORT",
    "WEIR_CONFIG",
    "SLOTS",
    "SERVICE_TIME",
    "CPU_WORK",
];

/// A command that is run when this is dropped, and also when the process of the tests is killed: a shell of its own
/// waits for a word, or for the end of its input.
pub(super) struct AtTheEnd(Child);

impl AtTheEnd {
    /// `script` finds `args` in `$@`.
    pub(super) fn run<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>) -> Self {
        // Killed: commands that were running then are given time to end, so that nothing comes back.
        let script = format!("read -r told || sleep 30\n{script}");
        let shell = Command::new("sh")
            .args(["-c", &script, "sh"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not in the group that Ctrl-C reaches.
            .process_group(0)
            .spawn();
        Self(shell.expect("a shell can be started"))
    }
}

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.write_all(b"now\n");
        }
        let _ = self.0.wait();
    }
}
