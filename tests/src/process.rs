//! The programs under test, as child processes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
};

use nix::sys::signal::{Signal, kill};
use tokio::process::{Child, Command};

use crate::wait::within;

/// A running program; killed when dropped, its output printed if the test fails.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts a program with its output going to files in `dir`.
    pub fn start(name: &str, mut command: Command, dir: &Path) -> Self {
        let (stdout, stderr) = (
            dir.join(format!("{name}.out")),
            dir.join(format!("{name}.err")),
        );
        let open = |path: &Path| Stdio::from(std::fs::File::create(path).unwrap());
        command.stdout(open(&stdout)).stderr(open(&stderr));
        Self::spawn(name, command, stdout, stderr)
    }

    /// Starts a program whose output goes where the command says.
    pub fn start_writing_elsewhere(name: &str, command: Command) -> Self {
        Self::spawn(name, command, PathBuf::new(), PathBuf::new())
    }

    fn spawn(name: &str, mut command: Command, stdout: PathBuf, stderr: PathBuf) -> Self {
        let child = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("starting {name}: {error}"));
        Self {
            child,
            name: name.to_owned(),
            stdout,
            stderr,
        }
    }

    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the process has ended")
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).unwrap();
        kill(nix::unistd::Pid::from_raw(id), signal).unwrap();
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for it to end by itself, and returns its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> impl Future<Output = Option<i32>> {
        within("a process to end", async {
            self.child.wait().await.unwrap().code()
        })
    }

    /// Kills it as the kernel would (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            for (what, text) in [("stderr", self.stderr()), ("stdout", self.stdout())] {
                let lines: Vec<_> = text.lines().collect();
                let tail = lines
                    .get(lines.len().saturating_sub(40)..)
                    .unwrap_or_default();
                eprintln!("--- {} {what}\n{}", self.name, tail.join("\n"));
            }
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// An address that nobody listens on at the moment, for programs that cannot be told to choose one.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

/// The path of a program of this workspace: beside this test in the target directory.
///
/// `make test` builds all of them first; if one is missing they are built here, once. `WEIR_PROGRAMS` names
/// another folder, for instance of optimised ones.
pub fn program(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("WEIR_PROGRAMS") {
        return PathBuf::from(directory).join(name);
    }
    static BUILT: OnceLock<()> = OnceLock::new();
    let test = std::env::current_exe().unwrap();
    let directory = test
        .ancestors()
        .find(|dir| dir.ends_with("deps"))
        .and_then(Path::parent);
    let path = directory.expect("tests run from target/…/deps").join(name);
    if !path.exists() {
        BUILT.get_or_init(|| {
            eprintln!("{} is missing: building it", path.display());
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let status = std::process::Command::new(cargo)
                .args(["build", "--workspace", "--bins"])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status();
            assert!(
                status.is_ok_and(|s| s.success()),
                "`cargo build --workspace --bins` failed"
            );
        });
    }
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins`",
        path.display()
    );
    path
}

/// Starts a program of this workspace.
pub fn start(name: &str, args: &[&str], dir: &Path) -> Process {
    let mut command = Command::new(program(name));
    command.args(args);
    Process::start(name, command, dir)
}

/// What a short-lived command left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program of this workspace to its end.
pub async fn run(name: &str, args: &[&str]) -> Finished {
    let output = Command::new(program(name))
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within("a command to end", output).await.unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
