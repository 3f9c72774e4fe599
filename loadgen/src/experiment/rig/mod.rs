//! What a claim is tried on: stand-in replicas and one proxy, of which a setting can be switched
//! while it stays warm.
//!
//! `weir` is switched by a temporary override that is renewed as long as the trial lasts; nginx by
//! a new configuration and a reload, after which only new workers serve.

mod config;
mod cpu;
mod full_queue;
mod haproxy;
mod nginx;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub(super) use self::{cpu::CpuClock, full_queue::FullQueue};
use self::{haproxy::Haproxy, nginx::Nginx};
use super::client::Connection;
use crate::{
    run::StopToken,
    topology::{Child, TopologyError, Tuning, find_weir},
};

/// How long a child may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Time to live of an override: what a killed generator leaves behind ends after this.
pub const OVERRIDE_TTL: Duration = Duration::from_secs(30);
/// Upstream and rate limit of the rig's configuration, as in the documented one.
pub(super) const UPSTREAM: &str = "api";
pub(super) const LIMIT: &str = "api_limit";

/// Which proxy is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// This project's proxy, tuned live.
    Weir,
    /// nginx, by reloading its configuration.
    Nginx,
    /// HAProxy; it is compared, but not tuned.
    #[value(skip)]
    Haproxy,
    /// No proxy: the first replica directly.
    #[value(skip)]
    Direct,
}

impl ProxyKind {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Direct => "direct",
        }
    }
}

/// A trial could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// Processes or the admin API.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A socket or a file.
    #[error("{what}: {cause}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// nginx cannot be used.
    #[error("nginx: {0}")]
    Nginx(String),
    /// Another proxy cannot be used.
    #[error("{name}: {reason}")]
    Other {
        /// Which one.
        name: &'static str,
        /// Why not.
        reason: String,
    },
    /// The rig's own configuration is not accepted: a defect of this program.
    #[error("the configuration of the experiment is not accepted: {0}")]
    Config(String),
    /// The user asked to stop.
    #[error("stopped on request")]
    Stopped,
}

impl RigError {
    pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::Io { what, cause }
    }
}

/// Where trials are made, shared by all of them.
#[derive(Debug)]
pub struct Lab {
    /// The generator's one thread.
    pub runtime: Runtime,
    /// Asks everything to end.
    pub stop: StopToken,
    /// Folder for configurations and logs.
    pub folder: PathBuf,
    /// Which proxy.
    pub proxy: ProxyKind,
    /// The proxy's binary, if it is not beside this program.
    pub weir: Option<PathBuf>,
}

impl Lab {
    /// A lab that keeps what its processes write below `results`.
    ///
    /// # Errors
    ///
    /// When the folder or the runtime cannot be made.
    pub fn new(
        results: &Path,
        proxy: ProxyKind,
        weir: Option<PathBuf>,
        stop: StopToken,
    ) -> io::Result<Self> {
        let folder = results.join("processes");
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            stop,
            folder,
            proxy,
            weir,
        })
    }

    /// Runs something asynchronous, unless the user asks to stop.
    pub(super) fn wait_for<T>(
        &self,
        work: impl Future<Output = Result<T, RigError>>,
    ) -> Result<T, RigError> {
        let stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.stopped() => Err(RigError::Stopped),
                result = work => result,
            }
        })
    }
}

/// What a workload needs of its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RigSpec {
    /// The documented rate limit is on.
    pub limited: bool,
    /// Compression is on.
    pub compressed: bool,
    /// Number of replicas; at least 1.
    pub replicas: usize,
    /// Slots and service time of each replica; none: it answers at once.
    pub capacity: Option<Capacity>,
    /// Idle upstream connections kept; none: the documented 32.
    pub keepalive: Option<u32>,
}

/// Declared capacity of a stand-in replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Requests that it serves at once.
    pub slots: u32,
    /// Time that each holds its slot.
    #[serde(serialize_with = "crate::units::as_text::duration")]
    pub service_time: Duration,
}

impl Capacity {
    /// Requests per second of one replica at most.
    #[must_use]
    pub fn rps(&self) -> f64 {
        f64::from(self.slots) / self.service_time.as_secs_f64()
    }
}

/// Replicas and a proxy that run.
#[derive(Debug)]
pub struct Rig {
    // Declared first: dropped, and so put back, before the proxy ends.
    tuning: Option<Tuning>,
    proxy: Proxy,
    replicas: Vec<Replica>,
    token: String,
    /// Switches that could not be verified as put back.
    problems: Vec<String>,
    switches: u64,
    revision: Option<u64>,
}

#[derive(Debug)]
enum Proxy {
    Weir {
        child: Child,
        listener: SocketAddr,
        admin: SocketAddr,
    },
    Nginx(Nginx),
    Haproxy(Haproxy),
    Direct(SocketAddr),
}

#[derive(Debug)]
struct Replica {
    // Only kept running.
    _child: Child,
    address: SocketAddr,
    /// For statistics and faults; opened before anything is counted.
    side: Connection,
}

/// The settings that every trial starts from, as JSON: the documented ones, with the rate limit and
/// compression off.
///
/// # Errors
///
/// When the built-in configuration is not accepted, which a test excludes.
pub fn base_settings() -> Result<Value, RigError> {
    let text = config::weir(
        RigSpec::default(),
        &[([127, 0, 0, 1], 1).into()],
        Path::new("."),
    );
    let config = weir_api::config::parse(&text, "experiment.toml")
        .map_err(|error| RigError::Config(error.to_string()))?;
    Ok(config.settings().to_json())
}

/// The patch that makes these the servers of the upstream.
pub(super) fn servers_patch(servers: &[SocketAddr]) -> Value {
    let list: Vec<_> = servers
        .iter()
        .map(|server| json!({ "address": server.to_string(), "max_fails": 3, "fail_timeout": "30s" }))
        .collect();
    json!({ "upstream": { UPSTREAM: { "servers": list } } })
}

/// Merges one patch into another (RFC 7396, without nulls).
pub(super) fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

impl Rig {
    /// Starts replicas and proxy, named after what they are for, and waits until both answer.
    ///
    /// # Errors
    ///
    /// When a process does not start, or the user asks to stop.
    pub fn start(lab: &Lab, name: &str, spec: RigSpec) -> Result<Self, RigError> {
        Self::start_with(lab, lab.proxy, name, spec)
    }

    /// As [`Rig::start`], with another proxy than the lab's.
    ///
    /// # Errors
    ///
    /// As for [`Rig::start`].
    pub fn start_with(
        lab: &Lab,
        kind: ProxyKind,
        name: &str,
        spec: RigSpec,
    ) -> Result<Self, RigError> {
        let folder = lab.folder.join(name);
        std::fs::create_dir_all(&folder).map_err(RigError::io("cannot make a folder"))?;
        let own = std::env::current_exe().map_err(TopologyError::OwnPath)?;
        let mut replicas = Vec::new();
        for number in 1..=spec.replicas.max(1) {
            replicas.push(Replica::start(lab, &own, number, spec, &folder)?);
        }
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
        let first = addresses
            .first()
            .copied()
            .ok_or(TopologyError::NoReplicas)?;
        let proxy = match kind {
            ProxyKind::Direct => Proxy::Direct(first),
            ProxyKind::Haproxy => Proxy::Haproxy(Haproxy::start(lab, &addresses, &folder)?),
            ProxyKind::Weir => Proxy::weir(lab, &own, spec, &addresses, &folder)?,
            ProxyKind::Nginx => Proxy::Nginx(Nginx::start(lab, spec, &addresses, &folder)?),
        };
        let mut rig = Self {
            tuning: None,
            proxy,
            replicas,
            token: String::new(),
            problems: Vec::new(),
            switches: 0,
            revision: None,
        };
        rig.token = match rig.replicas.first_mut() {
            Some(replica) => lab.wait_for(async {
                let token = replica.side.login().await;
                token.map_err(RigError::io("cannot log in at a replica"))
            })?,
            None => String::new(),
        };
        Ok(rig)
    }

    /// Where load goes.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        match &self.proxy {
            Proxy::Weir { listener, .. } => *listener,
            Proxy::Nginx(nginx) => nginx.listener(),
            Proxy::Haproxy(haproxy) => haproxy.listener(),
            Proxy::Direct(replica) => *replica,
        }
    }

    /// Value of the `Authorization` header that the replicas accept.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where the replicas listen.
    #[must_use]
    pub fn replicas(&self) -> Vec<SocketAddr> {
        self.replicas
            .iter()
            .map(|replica| replica.address)
            .collect()
    }

    /// Number of the proxy's settings during the last switch, if it counts them.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Switches so far.
    #[must_use]
    pub fn switches(&self) -> u64 {
        self.switches
    }

    /// Gives the running proxy other settings, in place of those of the last switch.
    ///
    /// # Errors
    ///
    /// When the proxy refuses them or does not take them over in time.
    pub fn switch(&mut self, lab: &Lab, patch: &Value, why: &str) -> Result<(), RigError> {
        self.put_back();
        self.switches += 1;
        match &mut self.proxy {
            Proxy::Weir { admin, .. } => {
                let tuning = Tuning::apply(*admin, patch.clone(), why, OVERRIDE_TTL)?;
                self.revision = Some(tuning.during().revision);
                self.tuning = Some(tuning);
            }
            Proxy::Nginx(nginx) => nginx.reload(lab, patch)?,
            Proxy::Haproxy(_) | Proxy::Direct(_) => {
                return Err(RigError::Config(
                    "only weir and nginx can be switched".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn put_back(&mut self) {
        if let Some(tuning) = self.tuning.take() {
            let record = tuning.put_back();
            if !record.restored {
                self.problems.push(record.problem);
            }
        }
    }

    /// Sets faults of every replica; an empty text clears them.
    ///
    /// # Errors
    ///
    /// When a replica does not answer.
    pub fn fault(&mut self, lab: &Lab, query: &str) -> Result<(), RigError> {
        self.fault_of(lab, 0..usize::MAX, query)
    }

    /// Sets faults of some replicas, by number from 0.
    ///
    /// # Errors
    ///
    /// When a replica does not answer.
    pub fn fault_of(
        &mut self,
        lab: &Lab,
        which: std::ops::Range<usize>,
        query: &str,
    ) -> Result<(), RigError> {
        let query = if query.is_empty() { "clear" } else { query };
        let chosen = self.replicas.iter_mut().enumerate();
        let chosen = chosen.filter(|(number, _)| which.contains(number));
        lab.wait_for(async {
            for (_, replica) in chosen {
                let path = format!("/__fault?{query}");
                let answer = replica.side.page(&path).await;
                answer.map_err(RigError::io("cannot set a replica's faults"))?;
            }
            Ok(())
        })
    }

    /// Connections accepted and requests received by all replicas so far.
    pub(super) async fn counts(&mut self) -> Result<Counts, RigError> {
        let mut counts = Counts::default();
        for replica in &mut self.replicas {
            let text = replica.side.page("/__stats").await;
            let text = text.map_err(RigError::io("cannot read a replica's statistics"))?;
            let stats: Value = serde_json::from_slice(&text)
                .map_err(|error| RigError::Config(format!("/__stats: {error}")))?;
            let number = |name: &str| stats.get(name).and_then(Value::as_u64).unwrap_or(0);
            counts.accepted += number("accepted");
            counts.requests += number("requests");
        }
        Ok(counts)
    }

    /// CPU time of the proxy so far.
    ///
    /// # Errors
    ///
    /// When the proxy is gone.
    pub fn cpu(&self) -> Result<CpuClock, RigError> {
        let clock = match &self.proxy {
            Proxy::Weir { child, .. } => CpuClock::of(&[child.pid()]),
            Proxy::Nginx(nginx) => CpuClock::of(&nginx.workers()),
            Proxy::Haproxy(haproxy) => CpuClock::of(&[haproxy.pid()]),
            Proxy::Direct(_) => Ok(CpuClock::default()),
        };
        clock.map_err(RigError::io("cannot read the proxy's CPU time"))
    }

    /// Puts every setting back and stops the processes; what could not be verified as put back.
    #[must_use]
    pub fn close(mut self) -> Vec<String> {
        self.put_back();
        std::mem::take(&mut self.problems)
    }

    /// The admin API, if the proxy has one.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        match &self.proxy {
            Proxy::Weir { admin, .. } => Some(*admin),
            Proxy::Nginx(_) | Proxy::Haproxy(_) | Proxy::Direct(_) => None,
        }
    }
}

/// What replicas have counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) requests: u64,
}

impl Replica {
    fn start(
        lab: &Lab,
        own: &Path,
        number: usize,
        spec: RigSpec,
        folder: &Path,
    ) -> Result<Self, RigError> {
        let name = format!("replica-{number}");
        let words = ["replica", "--listen", "127.0.0.1:0", "--name", &name];
        let mut arguments = words.map(str::to_owned).to_vec();
        match spec.capacity {
            None => arguments.push("--fast".to_owned()),
            Some(capacity) => arguments.extend([
                "--slots".to_owned(),
                capacity.slots.to_string(),
                "--service-time".to_owned(),
                crate::units::format_duration(capacity.service_time),
            ]),
        }
        let mut child = Child::start(&name, own, &arguments, folder)?;
        let ports = child.wait_ready(READY_WITHIN, &lab.stop)?;
        let address = child.first_listener(&ports)?;
        let side = lab.wait_for(async {
            let connection = Connection::open(address, None).await;
            connection.map_err(RigError::io("cannot reach a replica"))
        })?;
        Ok(Self {
            _child: child,
            address,
            side,
        })
    }
}

impl Proxy {
    fn weir(
        lab: &Lab,
        own: &Path,
        spec: RigSpec,
        replicas: &[SocketAddr],
        folder: &Path,
    ) -> Result<Self, RigError> {
        let program = find_weir(lab.weir.as_deref(), own)?;
        let file = folder.join("proxy.toml");
        std::fs::write(&file, config::weir(spec, replicas, folder))
            .map_err(RigError::io("cannot write the proxy's configuration"))?;
        let arguments = ["run", "--config", &file.display().to_string()].map(str::to_owned);
        let mut child = Child::start("weir", &program, &arguments, folder)?;
        let ports = child.wait_ready(READY_WITHIN, &lab.stop)?;
        let listener = child.first_listener(&ports)?;
        let admin = ports.admin.ok_or_else(|| TopologyError::PortsFile {
            name: "weir".to_owned(),
            reason: "it names no admin address".to_owned(),
        })?;
        Ok(Self::Weir {
            child,
            listener,
            admin,
        })
    }
}

/// Looks again and again until something is there.
pub(super) fn until<T>(
    lab: &Lab,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<Option<T>, RigError> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        if lab.stop.is_stopped() {
            return Err(RigError::Stopped);
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn trials_start_from_the_documented_settings() {
        let settings = base_settings().unwrap();
        let at = |pointer: &str| settings.pointer(pointer).cloned();
        assert_eq!(at("/connections/max"), Some(json!(1024)));
        assert_eq!(at("/upstream/api/keepalive"), Some(json!(32)));
        assert_eq!(at("/rate_limit/api_limit/rate"), Some(json!("10r/s")));
        assert_eq!(at("/rate_limit/api_limit/burst"), Some(json!(20)));
        assert_eq!(at("/rate_limit/api_limit/enabled"), Some(json!(false)));
        assert_eq!(at("/timeouts/connect"), Some(json!("30s")));
        assert_eq!(at("/compression/level"), Some(json!(6)));
    }

    #[test]
    fn patches_merge_key_by_key() {
        let mut settings = json!({"a": {"b": 1, "c": 2}});
        merge(&mut settings, &json!({"a": {"c": 3}, "d": [4]}));
        assert_eq!(settings, json!({"a": {"b": 1, "c": 3}, "d": [4]}));
    }
}
