//! The proxy under test.

use std::{net::SocketAddr, path::PathBuf, process::Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use toml::Table;

use crate::{
    admin::Admin,
    client::Conn,
    message::Response,
    process::{Process, program},
    wait::{eventually, eventually_some, within},
};

/// A running proxy.
#[derive(Debug)]
pub struct Weir {
    pub process: Process,
    pub admin: Admin,
    config: Table,
    listeners: Vec<SocketAddr>,
    dir: TempDir,
}

/// A proxy that is still being configured.
#[derive(Debug, Clone)]
pub struct Builder {
    config: Table,
    /// Limit on file descriptors, soft and hard.
    descriptors: Option<u32>,
    /// Variables of its environment.
    variables: Vec<(String, String)>,
}

/// Anything with an address that can stand behind the proxy.
pub trait Server {
    fn addr(&self) -> SocketAddr;
}

impl Server for SocketAddr {
    fn addr(&self) -> SocketAddr {
        *self
    }
}

impl Weir {
    /// A proxy with one upstream `api` of these servers, all requests going there, and one worker thread.
    pub fn before(servers: &[&dyn Server]) -> Builder {
        let servers: Vec<_> = servers
            .iter()
            .map(|server| format!("{{ address = '{}' }}", server.addr()))
            .collect();
        Builder {
            config: Table::new(),
            descriptors: None,
            variables: Vec::new(),
        }
        .with(&format!(
            "server.threads = 1
             admin.listen = '127.0.0.1:0'
             listener = [{{ address = '127.0.0.1:0' }}]
             route = [{{ upstream = 'api' }}]
             access_log.buffer = 0
             [upstream.api]
             servers = [{}]",
            servers.join(", ")
        ))
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// Every listener with a port, in the order of the configuration.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    pub async fn connect(&self) -> Conn {
        Conn::open(self.addr()).await
    }

    /// The answer to `GET` on a connection of its own.
    pub async fn get(&self, target: &str) -> Response {
        self.connect().await.get(target).await
    }

    pub async fn request(&self, method: &str, target: &str, headers: &str) -> Response {
        self.connect().await.request(method, target, headers).await
    }

    /// The lines of the access log, as JSON.
    pub fn access_log(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        self.process.stdout().lines().map(parse).collect()
    }

    /// Waits until the access log has that many lines.
    pub async fn logged(&self, lines: usize) -> Vec<Value> {
        within("lines in the access log", async {
            loop {
                // The last line may be written in part.
                if self.process.stdout().matches('\n').count() >= lines {
                    return self.access_log();
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// A sample of `/metrics`, 0 if there is none: `weir_requests_total{code="200",route="/"}`.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.admin.text("/metrics").await;
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .map(|value| value.parse().unwrap())
            .next()
            .unwrap_or(0.0)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("weir.toml")
    }

    /// A place for the test's own files.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Merges TOML into the configuration file, without telling the proxy.
    pub fn rewrite_config(&mut self, toml: &str) {
        merge(&mut self.config, parse(toml));
        std::fs::write(self.config_path(), self.config.to_string()).unwrap();
    }
}

impl Builder {
    /// Merges TOML into the configuration; arrays are replaced, tables merged.
    #[must_use]
    pub fn with(mut self, toml: &str) -> Self {
        merge(&mut self.config, parse(toml));
        self
    }

    /// Replaces the servers of `api` with these, in TOML: `{ address = 'a', weight = 2 }`.
    #[must_use]
    pub fn servers(self, servers: &[String]) -> Self {
        self.with(&format!("upstream.api.servers = [{}]", servers.join(", ")))
    }

    /// Starts it under a limit on file descriptors (`ulimit -n`).
    #[must_use]
    pub fn with_descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the proxy and waits until it is ready.
    pub async fn start(self) -> Weir {
        let (process, dir) = self.spawn(&[]);
        self.running(process, dir).await
    }

    /// The same with other ends of its standard output and standard error.
    pub async fn start_writing_to(
        self,
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Weir {
        let (mut command, dir) = self.command(&[]);
        command.stdout(stdout).stderr(stderr);
        let process = Process::start_writing_elsewhere("weir", command);
        self.running(process, dir).await
    }

    async fn running(self, mut process: Process, dir: TempDir) -> Weir {
        let (listeners, admin) = ready(&mut process, dir.path()).await;
        Weir {
            process,
            admin: Admin::new(admin),
            config: self.config,
            listeners,
            dir,
        }
    }

    /// Starts the proxy as the successor of `old`, which hands its sockets over.
    pub async fn start_upgrading(self, old: &Weir) -> Weir {
        let (mut process, dir) = self.spawn(&["--upgrade"]);
        let socket: PathBuf = self.config["server"]["upgrade_socket"]
            .as_str()
            .unwrap()
            .into();
        eventually("the successor to wait for the sockets", || socket.exists()).await;
        old.process.signal(Signal::SIGQUIT);
        let (listeners, admin) = ready(&mut process, dir.path()).await;
        Weir {
            process,
            admin: Admin::new(admin),
            config: self.config,
            listeners,
            dir,
        }
    }

    /// Starts the proxy as a successor, without telling anybody. The folder has its files.
    pub fn spawn_upgrading(&self) -> (Process, TempDir) {
        self.spawn(&["--upgrade"])
    }

    /// Starts a proxy that is expected to give up, and returns its exit code and what it said.
    pub async fn start_expecting_failure(self) -> (Option<i32>, String) {
        let (mut process, _dir) = self.spawn(&[]);
        let code = process.exit_code().await;
        (code, process.stderr())
    }

    fn spawn(&self, more: &[&str]) -> (Process, TempDir) {
        let (command, dir) = self.command(more);
        (Process::start("weir", command, dir.path()), dir)
    }

    fn command(&self, more: &[&str]) -> (Command, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("weir.toml");
        std::fs::write(&file, self.config.to_string()).unwrap();
        let mut command = match self.descriptors {
            None => Command::new(program("weir")),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
                shell.arg(program("weir"));
                shell
            }
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
            .args(["run", "--ports-file"])
            .arg(dir.path().join(PORTS));
        command.arg("--config").arg(&file).args(more);
        (command, dir)
    }

    /// The configuration as text.
    pub fn text(&self) -> String {
        self.config.to_string()
    }
}

/// The file in which the proxy tells its ports.
const PORTS: &str = "ports.json";

/// Waits for the file in which the proxy tells its ports.
async fn ready(process: &mut Process, dir: &std::path::Path) -> (Vec<SocketAddr>, SocketAddr) {
    let ports = dir.join(PORTS);
    let told = eventually_some("weir to be ready", || {
        assert!(
            process.ended().is_none(),
            "weir ended: {}",
            process.stderr()
        );
        let told = std::fs::read(&ports).ok();
        async { told }
    })
    .await;
    let told: Value = serde_json::from_slice(&told).unwrap();
    let address = |value: &Value| value.as_str().unwrap().parse().unwrap();
    // Unix sockets have no port to tell.
    let listeners = told["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| !it.as_str().unwrap().starts_with("unix:"))
        .map(address)
        .collect();
    (listeners, address(&told["admin"]))
}

fn parse(toml: &str) -> Table {
    toml.parse()
        .unwrap_or_else(|error| panic!("{error} in:\n{toml}"))
}

/// Puts settings over others; arrays are replaced, tables merged.
pub fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
