//! What `run.json` says about a topology and about the settings that were changed for a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The processes under test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopologyRecord {
    /// `direct`, `one`, `two`, …
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Whether requests pass through the proxy.
    pub proxy: bool,
    /// The replicas.
    pub replicas: Vec<ReplicaRecord>,
    /// Requests per second that the declared capacity of all replicas allows.
    pub capacity_rps: f64,
    /// Processes that may use only a part of the machine; empty when none is bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<BoundsRecord>,
    /// What ran the containers; none when the parts are processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainersRecord>,
}

/// What ran the containers of a topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainersRecord {
    /// The engine and its version.
    pub engine: String,
    /// Compose and its version.
    pub compose: String,
    /// The Compose file.
    pub file: String,
    /// The images.
    pub images: Vec<String>,
}

/// What a process may use of the machine, as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundsRecord {
    /// Its name: `weir`, `replica-1`, …
    pub process: String,
    /// Cores that it may run on.
    pub cores: Vec<u32>,
    /// Most address space, bytes; `None` without a bound.
    pub address_space_bytes: Option<u64>,
    /// Most CPU time per time, in cores, by the control group of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Most memory, bytes, by the control group of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// One replica with its declared capacity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplicaRecord {
    /// Where it listened.
    pub address: String,
    /// Requests that it serves at once.
    pub slots: u32,
    /// Time that a request holds a slot, milliseconds.
    pub service_ms: f64,
}

/// A temporary override of the proxy's settings, applied for a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TuningRecord {
    /// Who asked for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The settings sent.
    pub settings: Value,
    /// Time after which the proxy would have put them back by itself, seconds.
    pub ttl_s: f64,
    /// How often the override was renewed.
    pub renewals: u64,
    /// Revision that applied it.
    pub applied_revision: Option<u64>,
    /// Each setting: before, during, after.
    pub changes: Vec<Change>,
    /// Whether a `GET` after the run showed every original value.
    pub restored: bool,
    /// Why that is not known or not so; empty when it is.
    #[serde(default)]
    pub problem: String,
}

/// One setting over the life of an override.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Dotted path, e.g. `rate_limit.api_limit.rate`.
    pub path: String,
    /// Value before.
    pub before: Value,
    /// Value while the run went on.
    pub during: Value,
    /// Value after the override was deleted.
    pub after: Value,
}
