//! The proxies that are compared: how each is found, started and asked for its version.

use std::{
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Deserialize;
use weir_lab::{
    host::probe,
    process::{
        free_address,
        owned::{Owned, find, last_lines},
    },
    proxies::compared::{self, Features},
};

use crate::exit::Usage;

/// How long a proxy may take until it answers.
const START_DEADLINE: Duration = Duration::from_secs(15);

/// What kind of proxy it is, which decides its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This project's proxy.
    Weir,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
}

/// A proxy that can take part.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Name in the tables.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The program.
    pub program: PathBuf,
}

impl Contender {
    /// The contender of that name, if its program is on this machine.
    ///
    /// # Errors
    ///
    /// When the name is unknown or the program is not there.
    pub fn named(name: &str, weir: Option<&Path>) -> anyhow::Result<Self> {
        let (kind, program) = match name {
            "weir" => (Kind::Weir, weir.map(Path::to_owned).or_else(sibling_weir)),
            "nginx" => (Kind::Nginx, find("nginx")),
            "haproxy" => (Kind::Haproxy, find("haproxy")),
            other => {
                let message = format!("`{other}` cannot be compared: weir, nginx or haproxy");
                return Err(Usage::new(message).into());
            }
        };
        let program = program.with_context(|| match kind {
            Kind::Weir => {
                "there is no weir beside this program: `make build`, or name one with --weir PATH"
                    .to_owned()
            }
            Kind::Nginx | Kind::Haproxy => {
                format!("{name} is not installed (looked in PATH and /usr/sbin)")
            }
        })?;
        if !program.is_file() {
            bail!("{name}: there is no program at {}", program.display());
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            program,
        })
    }

    /// Another build of `weir`, from `NAME=PATH`.
    ///
    /// # Errors
    ///
    /// When the text has another form or there is no such file.
    pub fn other_weir(text: &str) -> anyhow::Result<Self> {
        let Some((name, path)) = text.split_once('=') else {
            let message = format!("`{text}`: write NAME=PATH, such as old=/tmp/weir-old");
            return Err(Usage::new(message).into());
        };
        let program = PathBuf::from(path);
        if !program.is_file() {
            bail!("{name}: there is no program at {path}");
        }
        Ok(Self {
            name: name.to_owned(),
            kind: Kind::Weir,
            program,
        })
    }

    /// What the program says about its version.
    pub fn version(&self) -> String {
        let flag = if self.kind == Kind::Weir {
            "--version"
        } else {
            "-v"
        };
        let Ok(output) = Command::new(&self.program).arg(flag).output() else {
            return "unknown".to_owned();
        };
        // nginx answers on standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text
            .lines()
            .find(|l| !l.trim().is_empty())
            .unwrap_or("unknown");
        line.trim_start_matches("nginx version: ")
            .split(" - http")
            .next()
            .unwrap_or(line)
            .trim()
            .to_owned()
    }

    /// Starts the proxy in `dir` and waits until it passes a request on.
    ///
    /// # Errors
    ///
    /// When it ends early, or does not answer in time; with its last lines of output.
    pub async fn start(
        &self,
        dir: &Path,
        servers: &[SocketAddr],
        features: Features,
        core: Option<usize>,
    ) -> anyhow::Result<Running> {
        std::fs::create_dir_all(dir)?;
        let output = dir.join("output.log");
        let access_log = match self.kind {
            Kind::Haproxy => output.clone(),
            Kind::Weir | Kind::Nginx => dir.join("access.log"),
        };
        let file = dir.join(format!("{}.conf", self.name));
        let args = |list: &[&str]| list.iter().map(|&a| a.to_owned()).collect::<Vec<_>>();
        let path = file.display().to_string();
        let start = |text: String, arguments: Vec<String>| -> anyhow::Result<Owned> {
            std::fs::write(&file, text)?;
            Owned::start(&self.name, &self.program, &arguments, core, &output)
        };
        let (process, address) = match self.kind {
            Kind::Nginx => {
                let (listen, metrics) = (free_address()?, free_address()?);
                let errors = dir.join("error.log").display().to_string();
                let prefix = dir.display().to_string();
                let text = compared::nginx(dir, listen, metrics, servers, features);
                let process = start(text, args(&["-p", &prefix, "-e", &errors, "-c", &path]))?;
                (process, listen)
            }
            Kind::Haproxy => {
                let (listen, metrics) = (free_address()?, free_address()?);
                let text = compared::haproxy(listen, metrics, servers, features);
                (start(text, args(&["-db", "-f", &path]))?, listen)
            }
            Kind::Weir => {
                let ports = dir.join("ports.json");
                let _ = std::fs::remove_file(&ports);
                let text = compared::weir(dir, servers, features);
                let ports_arg = ports.display().to_string();
                let mut process = start(
                    text,
                    args(&["run", "--config", &path, "--ports-file", &ports_arg]),
                )?;
                let address = wait_for_ports(&ports, &mut process).await?;
                (process, address)
            }
        };
        let mut running = Running {
            process,
            address,
            access_log,
            name: self.name.clone(),
        };
        running.wait_until_ready().await?;
        Ok(running)
    }
}

/// A proxy that runs and answers.
#[derive(Debug)]
pub struct Running {
    /// Its processes.
    pub process: Owned,
    /// Where it listens.
    pub address: SocketAddr,
    /// The file that its access log goes to.
    pub access_log: PathBuf,
    /// Its name in the tables.
    pub name: String,
}

impl Running {
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            self.process.still_running()?;
            let Err(error) = probe::get(self.address).await else {
                return Ok(());
            };
            if Instant::now() > deadline {
                bail!(
                    "{} does not answer at {}: {error:#}",
                    self.name,
                    self.address
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Empties the access log, so that it does not fill the memory over many rounds.
    pub fn truncate_log(&self) {
        let _ = std::fs::OpenOptions::new()
            .write(true)
            .open(&self.access_log)
            .and_then(|file| file.set_len(0));
    }

    /// Lines in the access log, once it has stopped growing (buffers are at most a second old).
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn logged(&self) -> anyhow::Result<Logged> {
        let deadline = Instant::now() + Duration::from_secs(4);
        let size = || std::fs::metadata(&self.access_log).map_or(0, |m| m.len());
        let mut last = size();
        loop {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            let now = size();
            if now == last || Instant::now() > deadline {
                break;
            }
            last = now;
        }
        Logged::of(&self.access_log)
    }
}

/// What is in an access log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Logged {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Logged {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let mut file =
            std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut buffer = vec![0; 1 << 20];
        let mut logged = Self::default();
        loop {
            let read = file.read(&mut buffer)?;
            let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
                return Ok(logged);
            };
            logged.lines += chunk.iter().filter(|&&byte| byte == b'\n').count() as u64;
            // HAProxy does not append: a log emptied under it begins with a hole, read as zeros.
            logged.bytes += chunk.iter().filter(|&&byte| byte != 0).count() as u64;
        }
    }
}

/// What `weir run --ports-file` writes once it listens.
#[derive(Debug, Deserialize)]
struct Ports {
    listeners: Vec<SocketAddr>,
}

async fn wait_for_ports(file: &Path, process: &mut Owned) -> anyhow::Result<SocketAddr> {
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        process.still_running()?;
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Ok(ports) = serde_json::from_str::<Ports>(&text) {
            return ports
                .listeners
                .first()
                .copied()
                .context("weir reports no listener");
        }
        if Instant::now() > deadline {
            bail!(
                "weir did not write {}: {}",
                file.display(),
                last_lines(file, 3)
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `weir` beside the running program, which is where one build puts both.
fn sibling_weir() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name("weir");
    path.is_file().then_some(path)
}
