//! A stack of a shipped Compose file, running the programs under test.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use rand::RngExt as _;
use serde_json::Value;
use tempfile::TempDir;
use toml::Table;
use weir_tests::{process::program, weir::merge};

use super::engine::{AtTheEnd, Compose, bounded, docker, folder, run, until};

/// The image of the programs under test, gone with the last stack that uses it.
struct Images {
    tag: String,
    _gone: AtTheEnd,
}

impl Images {
    /// Those that are there, or new ones.
    fn of_this_run() -> Arc<Self> {
        static BUILT: Mutex<Weak<Images>> = Mutex::new(Weak::new());
        let mut built = BUILT
            .lock()
            .unwrap_or_else(|panicked| panicked.into_inner());
        if let Some(images) = built.upgrade() {
            return images;
        }
        let tag = unique();
        // An image stays as long as a container uses it.
        let gone = AtTheEnd::run(
            "for image; do
                 for again in 1 2 3 4 5 6 7 8 9; do
                     docker image inspect $image >/dev/null 2>&1 || break
                     timeout 60 docker rmi $image && break
                     sleep 2
                 done
             done",
            [format!("weir:{tag}"), format!("weir-stand-in:{tag}")],
        );
        let programs = program("weir");
        run(bounded(folder().join("build.sh"))
            .arg("--prebuilt")
            .arg(programs.parent().unwrap())
            .env("TAG", &tag));
        let images = Arc::new(Self { tag, _gone: gone });
        *built = Arc::downgrade(&images);
        images
    }
}

/// A name that no other stack has.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("weir-e2e-{}-{count}", std::process::id())
}

/// A running stack; gone when dropped.
pub(super) struct Stack {
    compose: Compose,
    file: &'static str,
    name: String,
    /// Variables of the Compose file.
    variables: Vec<(&'static str, String)>,
    // In this order: containers go before what they use.
    _gone: AtTheEnd,
    images: Arc<Images>,
}

impl Stack {
    /// Starts the stack of a shipped file with so many replicas, and waits until every container is healthy.
    pub(super) fn up(
        compose: Compose,
        file: &'static str,
        replicas: usize,
        variables: &[(&'static str, &str)],
    ) -> Self {
        let images = Images::of_this_run();
        let name = unique();
        let down = compose.command(file, &name);
        let stack = Self {
            _gone: AtTheEnd::run(
                "exec \"$@\" down --volumes --timeout 1",
                std::iter::once(down.get_program()).chain(down.get_args()),
            ),
            compose,
            file,
            name,
            variables: variables
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            images,
        };
        stack.scale(replicas);
        for id in stack.all() {
            stack.is_healthy(&id);
        }
        stack
    }

    pub(super) fn compose(&self) -> Command {
        let mut command = self.compose.command(self.file, &self.name);
        command
            .env("WEIR_IMAGE", format!("weir:{}", self.images.tag))
            .env("API_IMAGE", format!("weir-stand-in:{}", self.images.tag))
            // On a free port.
            .env("WEIR_PORT", "127.0.0.1:");
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    pub(super) fn scale(&self, replicas: usize) {
        run(self.compose().args([
            "up",
            "-d",
            "--no-recreate",
            "--scale",
            &format!("api={replicas}"),
        ]));
    }

    /// The containers of a service; those that have ended, too. Asked of the engine: Compose takes a second or more.
    pub(super) fn ids(&self, service: &str) -> Vec<String> {
        let label = |name: &str, value: &str| format!("label=com.docker.compose.{name}={value}");
        let ids = docker(&[
            "ps",
            "--all",
            "--quiet",
            "--no-trunc",
            "--filter",
            &label("project", &self.name),
            "--filter",
            &label("service", service),
        ]);
        ids.lines().map(str::to_owned).collect()
    }

    /// Every container.
    pub(super) fn all(&self) -> Vec<String> {
        [self.ids("api"), self.ids("weir")].concat()
    }

    /// The first container of a service.
    pub(super) fn id(&self, service: &str) -> String {
        self.ids(service).into_iter().next().unwrap()
    }

    /// Where clients find the proxy, on loopback.
    pub(super) fn address(&self) -> String {
        let address = docker(&["port", &self.id("weir"), "8080"]);
        // The only one: it is published on one address.
        address.trim().to_owned()
    }

    #[track_caller]
    pub(super) fn is_healthy(&self, id: &str) {
        until("a container to be healthy", || {
            let health = docker(&["inspect", "--format", "{{.State.Health.Status}}", id]);
            (health.trim() == "healthy").then_some(())
        });
    }

    /// Waits until the proxy gives new requests to this many servers.
    #[track_caller]
    pub(super) fn sends_to(&self, servers: usize) {
        self.has(servers, |server| server["state"] == "up");
    }

    /// Waits until the proxy finds this many servers under the service's name.
    #[track_caller]
    pub(super) fn finds(&self, servers: usize) {
        self.has(servers, |_| true);
    }

    #[track_caller]
    fn has(&self, servers: usize, counts: impl Fn(&Value) -> bool) {
        let weir = self.id("weir");
        until(&format!("weir to have {servers} servers"), || {
            let told = docker(&["exec", &weir, "weir", "ctl", "upstreams", "--json"]);
            let told: Value = serde_json::from_str(&told).unwrap();
            let known = told["upstreams"][0]["servers"].as_array().unwrap();
            let found = known.iter().filter(|server| counts(server)).count();
            (found == servers).then_some(())
        });
    }

    /// Requests that every replica has received, by the name in its answers; health checks do not count.
    pub(super) fn received(&self) -> BTreeMap<String, u64> {
        let ids = self.ids("api").into_iter();
        ids.map(|id| (name(&id), count(&id, "requests"))).collect()
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
    }
}

/// The name that the stand-in in a container gives itself.
pub(super) fn name(id: &str) -> String {
    format!("api-{}", &id[..12])
}

/// A count of the stand-in in a container: `requests`, `in_flight`.
#[track_caller]
pub(super) fn count(id: &str, what: &str) -> u64 {
    let answer = ask(id, "/__stats");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let stats: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    stats[what].as_u64().unwrap()
}

/// Waits until the stand-in in a container works on at least so many requests.
#[track_caller]
pub(super) fn is_serving(id: &str, requests: u64) {
    until(&format!("{requests} requests in flight"), || {
        (count(id, "in_flight") >= requests).then_some(())
    });
}

/// Makes the stand-in in a container answer this much later; not its health.
#[track_caller]
pub(super) fn slow_down(id: &str, by: &str) {
    let answer = ask(id, &format!("/__fault?latency={by}"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// What the stand-in in a container answers, asked from within: not through the proxy.
fn ask(id: &str, target: &str) -> String {
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/8000
         printf 'GET {target} HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' >&3
         cat <&3"
    );
    docker(&["exec", id, "bash", "-c", &script])
}

/// A folder with the shipped configuration and its rate limit off, since all load comes from one address, and with these
/// settings, in TOML, instead of its own.
pub(super) fn configuration(settings: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(folder().join("config/proxy.toml")).unwrap();
    let mut table: Table = shipped.parse().unwrap();
    let off = "rate_limit.api_limit.enabled = false";
    for changed in [off, settings] {
        merge(&mut table, changed.parse().unwrap());
    }
    std::fs::write(dir.path().join("proxy.toml"), table.to_string()).unwrap();
    let readable = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // By the user of the container.
    readable(dir.path(), 0o755);
    readable(&dir.path().join("proxy.toml"), 0o644);
    dir
}

/// `127.0.0.1:PORT` with a port outside of the range that the system chooses from: a container that is restarted finds
/// it free again.
pub(super) fn lasting_port() -> String {
    let mut random = rand::rng();
    until("a free port", || {
        let address = format!("127.0.0.1:{}", random.random_range(20_000..30_000));
        std::net::TcpListener::bind(&address).ok().map(|_| address)
    })
}
