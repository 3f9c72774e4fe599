//! A topology as a file declares it: `config/topologies/*.toml`, or just a number of replicas.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use weir_load::units::{format_duration, parse_duration};

use crate::{
    error::TopologyError,
    process::{Bounds, confine::BoundsTable},
};

/// Where named topologies are.
const FOLDER: &str = "config/topologies";
/// Most replicas that one machine is asked to run.
const MOST_REPLICAS: u32 = 64;

/// Which processes to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologySpec {
    /// Short name, as in folder names.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Whether the proxy stands in front.
    pub proxy: bool,
    /// Number of replicas; 1 without a proxy.
    pub replicas: u32,
    /// Capacity of each.
    pub replica: ReplicaSpec,
    /// What each replica may use of the machine.
    pub replica_bounds: Bounds,
    /// What the proxy may use of the machine.
    pub proxy_bounds: Bounds,
    /// What they run as.
    pub kind: Kind,
}

/// What the parts of a topology run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Processes of this machine.
    Processes,
    /// Containers of a Docker engine on this machine.
    Containers {
        /// The Compose file with the services `api` and `weir`.
        compose: PathBuf,
    },
}

/// Declared capacity of a stand-in replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaSpec {
    /// Requests that it serves at once.
    pub slots: u32,
    /// Time that a request holds its slot.
    pub service_time: Duration,
}

impl Default for ReplicaSpec {
    fn default() -> Self {
        Self {
            slots: 8,
            service_time: Duration::from_millis(10),
        }
    }
}

impl ReplicaSpec {
    /// Requests per second that the capacity allows: slots / service time.
    #[must_use]
    pub fn capacity_rps(&self) -> f64 {
        f64::from(self.slots) / self.service_time.as_secs_f64()
    }

    /// Arguments of `weir-bench` that start such a replica.
    pub(super) fn arguments(&self, name: &str, listen: &str) -> Vec<String> {
        let slots = self.slots.to_string();
        let time = format_duration(self.service_time);
        let words = [
            "replica",
            "--listen",
            listen,
            "--name",
            name,
            "--slots",
            &slots,
            "--service-time",
            &time,
        ];
        words.map(str::to_owned).to_vec()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    engine: Option<String>,
    compose: Option<PathBuf>,
    /// Whether there is one, or its bounds.
    proxy: toml::Value,
    replicas: u32,
    replica: ReplicaTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaTable {
    slots: u32,
    service_time: String,
    cores: Option<u32>,
    memory: Option<String>,
}

/// Whether there is a proxy, and its bounds: `proxy = true`, or a table `[proxy]`.
fn proxy(value: toml::Value) -> Result<(bool, Bounds), String> {
    match value {
        toml::Value::Boolean(proxy) => Ok((proxy, Bounds::default())),
        toml::Value::Table(_) => {
            let table: BoundsTable = value
                .try_into()
                .map_err(|error: toml::de::Error| format!("proxy: {}", error.message()))?;
            Ok((true, table.bounds("proxy")?))
        }
        other => Err(format!(
            "proxy: must be true, false, or a table with `cores` and `memory`, not {}",
            other.type_str()
        )),
    }
}

/// What it runs as: `engine` and `compose` go together.
fn kind(engine: Option<&str>, compose: Option<PathBuf>) -> Result<Kind, String> {
    match (engine, compose) {
        (None | Some("processes"), None) => Ok(Kind::Processes),
        (Some("docker"), Some(compose)) => Ok(Kind::Containers { compose }),
        (Some("docker"), None) => Err(
            "compose: with engine = \"docker\" it must name a Compose file, such as \"docker/compose.prod.yml\""
                .to_owned(),
        ),
        (None | Some("processes"), Some(_)) => {
            Err("compose: it needs engine = \"docker\"".to_owned())
        }
        (Some(other), _) => Err(format!(
            "engine: must be \"processes\" or \"docker\", not \"{other}\""
        )),
    }
}

impl TopologySpec {
    /// Whether containers are started, and not processes.
    #[must_use]
    pub fn is_in_containers(&self) -> bool {
        matches!(self.kind, Kind::Containers { .. })
    }

    /// Finds a topology: a number of replicas behind the proxy, a path to a file, or a name in
    /// `config/topologies`.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or the file is invalid.
    pub fn load(name_or_path: &str) -> Result<Self, TopologyError> {
        Self::load_from(name_or_path, Path::new(FOLDER))
    }

    fn load_from(name_or_path: &str, folder: &Path) -> Result<Self, TopologyError> {
        if let Ok(replicas) = name_or_path.parse::<u32>() {
            return Self::replicas(replicas);
        }
        let given = PathBuf::from(name_or_path);
        let path = if given.extension().is_some() || name_or_path.contains('/') {
            given
        } else {
            folder.join(name_or_path).with_extension("toml")
        };
        let Ok(text) = fs::read_to_string(&path) else {
            let known = known(folder);
            return Err(TopologyError::Unknown {
                name: name_or_path.to_owned(),
                known,
            });
        };
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        Self::parse(&text, name.unwrap_or_default())
            .map_err(|reason| TopologyError::Spec { path, reason })
    }

    /// So many replicas of the default capacity behind the proxy.
    ///
    /// # Errors
    ///
    /// When the number is 0 or more than 64.
    pub fn replicas(replicas: u32) -> Result<Self, TopologyError> {
        if replicas == 0 {
            return Err(TopologyError::NoReplicas);
        }
        if replicas > MOST_REPLICAS {
            let reason = format!(
                "{replicas} replicas are too many for one machine: at most {MOST_REPLICAS}"
            );
            return Err(TopologyError::Spec {
                path: "--topology".into(),
                reason,
            });
        }
        Ok(Self {
            name: format!("{replicas}-replicas"),
            description: format!("{replicas} replicas behind weir."),
            proxy: true,
            replicas,
            replica: ReplicaSpec::default(),
            replica_bounds: Bounds::default(),
            proxy_bounds: Bounds::default(),
            kind: Kind::Processes,
        })
    }

    fn parse(text: &str, name: String) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if !(1..=MOST_REPLICAS).contains(&file.replicas) {
            return Err(format!(
                "replicas: must be 1 to {MOST_REPLICAS}, not {}",
                file.replicas
            ));
        }
        let (proxy, proxy_bounds) = proxy(file.proxy)?;
        let replica_bounds =
            BoundsTable::of(file.replica.cores, file.replica.memory).bounds("replica")?;
        if !proxy && file.replicas != 1 {
            return Err(
                "replicas: must be 1 without a proxy, since nothing would spread the load"
                    .to_owned(),
            );
        }
        if file.replica.slots == 0 {
            return Err("replica.slots: must be at least 1".to_owned());
        }
        let service_time = parse_duration(&file.replica.service_time)
            .map_err(|error| format!("replica.service_time: {error}"))?;
        if service_time.is_zero() {
            return Err(
                "replica.service_time: must be above 0, or the capacity would have no bound"
                    .to_owned(),
            );
        }
        Ok(Self {
            name,
            description: file.description,
            proxy,
            replicas: file.replicas,
            replica: ReplicaSpec {
                slots: file.replica.slots,
                service_time,
            },
            replica_bounds,
            proxy_bounds,
            kind: kind(file.engine.as_deref(), file.compose)?,
        })
    }
}

fn known(folder: &Path) -> String {
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            entry
                .ok()?
                .path()
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        })
        .collect();
    names.sort();
    if names.is_empty() {
        format!("(no files in {})", folder.display())
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/topologies")
    }

    #[test]
    fn the_shipped_topologies_are_valid_and_carry_600_requests_a_second() {
        for (name, replicas, proxy) in [("direct", 1, false), ("one", 1, true), ("two", 2, true)] {
            let spec = TopologySpec::load_from(name, &shipped()).unwrap();
            assert_eq!(
                (spec.name.as_str(), spec.replicas, spec.proxy),
                (name, replicas, proxy)
            );
            assert!(spec.replica.capacity_rps() > 600.0);
        }
    }

    #[test]
    fn what_runs_in_containers_differs_from_processes_in_nothing_else() {
        for (name, processes) in [
            ("docker-direct", "direct"),
            ("docker-one", "one"),
            ("docker", "two"),
        ] {
            let spec = TopologySpec::load_from(name, &shipped()).unwrap();
            let Kind::Containers { compose } = &spec.kind else {
                unreachable!("{name} is in containers")
            };
            let repository = shipped().join("../..");
            assert!(repository.join(compose).is_file(), "{}", compose.display());
            let processes = TopologySpec::load_from(processes, &shipped()).unwrap();
            let same = |spec: TopologySpec| (spec.proxy, spec.replicas, spec.replica);
            assert_eq!(same(spec), same(processes));
        }
    }

    #[test]
    fn the_edge_is_small() {
        let spec = TopologySpec::load_from("edge", &shipped()).unwrap();
        let small = |bounds: Bounds| (bounds.cores, bounds.memory_bytes);
        let bounds = (Some(1), Some(512 << 20));
        assert_eq!(
            (small(spec.replica_bounds), small(spec.proxy_bounds)),
            (bounds, bounds)
        );
        assert!(spec.proxy && spec.replica.slots == 1);
    }

    #[test]
    fn bounds_that_make_no_sense_are_named() {
        let parse = |proxy: &str, replica: &str| {
            let text = format!(
                "description = \"d\"\nreplicas = 1\n{proxy}\n[replica]\nslots = 8\nservice_time = \"1ms\"\n{replica}"
            );
            TopologySpec::parse(&text, "x".to_owned())
        };
        for (proxy, replica, reason) in [
            ("proxy = 1", "", "proxy: must be true, false, or a table"),
            (
                "proxy = { cores = 0 }",
                "",
                "proxy.cores: must be at least 1",
            ),
            ("proxy = { core = 1 }", "", "proxy: unknown field `core`"),
            (
                "proxy = true",
                "memory = \"1MiB\"",
                "replica.memory: must be at least",
            ),
            (
                "proxy = true",
                "memory = \"512\"",
                "replica.memory: `512` is no size",
            ),
        ] {
            let error = parse(proxy, replica).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let spec = parse("proxy = { memory = \"1GiB\" }", "cores = 2").unwrap();
        assert_eq!(spec.proxy_bounds.memory_bytes, Some(1 << 30));
        assert_eq!(spec.replica_bounds.cores, Some(2));
    }

    #[test]
    fn a_number_is_that_many_replicas() {
        assert_eq!(
            TopologySpec::load_from("5", &shipped()).unwrap().replicas,
            5
        );
        assert!(TopologySpec::load_from("0", &shipped()).is_err());
        assert!(TopologySpec::load_from("1000", &shipped()).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_what_exists() {
        let error = TopologySpec::load_from("three", &shipped()).unwrap_err();
        assert!(
            error.is_usage() && error.to_string().contains("one, two"),
            "{error}"
        );
        let parse = |text: &str| TopologySpec::parse(text, "x".to_owned()).unwrap_err();
        let base = "description = \"d\"\nproxy = true\nreplicas = 1\n[replica]\nslots = 8\n";
        assert!(parse(&format!("{base}service_time = \"10\"\n")).contains("service_time"));
        assert!(parse(&format!("{base}service_time = \"0\"\n")).contains("above 0"));
        assert!(parse(&format!("{base}service_time = \"1ms\"\nslot = 3\n")).contains("line 7"));
        let direct = base
            .replace("true", "false")
            .replace("replicas = 1", "replicas = 2");
        assert!(parse(&format!("{direct}service_time = \"1ms\"\n")).contains("without a proxy"));
    }
}
