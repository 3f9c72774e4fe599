//! What measured folders say about capacity: runs, searches, sweeps, and comparisons of topologies.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_lab::record::{TopologyRecord, TuningRecord};
use weir_load::summary::Verdict;

use super::model::Span;
use crate::{
    page::ComparisonRecord,
    results::{FolderError, RunFolder},
    study::{
        search::{self, Over, ProbeRecord, SearchRecord, word},
        sweep::{self, SweepRecord},
    },
};

/// A folder that tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// None of the files that this program writes.
    #[error(
        "{0} is not a folder of a run, a search, a sweep or a comparison: it has none of run.json, search.json, sweep.json, comparison.json"
    )]
    Unknown(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {cause}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        cause: serde_json::Error,
    },
    /// A run folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// What one folder says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The folder.
    pub folder: String,
    /// `run`, `search`, `sweep` or `comparison`.
    pub kind: String,
    /// Replicas of the topology, if this program started it or somebody said so.
    pub replicas: Option<u32>,
    /// Throughput that is known to be possible, and the lowest that is known not to be.
    pub capacity: Option<Capacity>,
    /// Efficiency of the second replica.
    pub efficiency: Option<Efficiency>,
    /// What a request costs, and what limits there were.
    pub costs: Costs,
    /// What speaks against it.
    pub doubts: Vec<String>,
}

/// Throughput with the objectives met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Held, requests/s.
    pub holds: f64,
    /// Did not hold, requests/s; none when nothing that high was tried.
    pub fails: Option<f64>,
    /// What had to be met.
    pub objectives: String,
}

/// X₂ / (2·X₁).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    /// Its mean.
    pub mean: f64,
    /// Its interval; the mean alone when there are too few runs for one.
    pub interval: Option<Span>,
}

/// What a request costs, and what limits stood in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// CPU seconds a request, by process.
    pub cpu_s: BTreeMap<String, f64>,
    /// Mean time that a request is in flight, seconds.
    pub in_flight_s: Option<f64>,
    /// Requests per second that the declared capacity of one stand-in replica allows.
    pub declared_rps: Option<f64>,
    /// `connections.max` of the proxy.
    pub connections_max: Option<f64>,
    /// Rate limits of the proxy that are in force when nothing is raised, requests/s for each key.
    pub rate_limits: BTreeMap<String, f64>,
    /// Cores of the machine.
    pub cores: Option<usize>,
    /// Client engine.
    pub engine: Option<String>,
}

/// Reads one folder.
///
/// # Errors
///
/// When it holds nothing that this program wrote, or a file is damaged.
pub fn read(path: &Path, replicas: Option<u32>) -> Result<Evidence, EvidenceError> {
    let folder = path.display().to_string();
    if path.join(search::FILE).is_file() {
        let record: SearchRecord = json(&path.join(search::FILE))?;
        return Ok(of_search(folder, &record, replicas));
    }
    if path.join(sweep::FILE).is_file() {
        let record: SweepRecord = json(&path.join(sweep::FILE))?;
        return Ok(of_sweep(folder, &record, replicas));
    }
    if path.join("comparison.json").is_file() {
        let record: ComparisonRecord = json(&path.join("comparison.json"))?;
        return Ok(of_comparison(folder, &record));
    }
    if path.join("run.json").is_file() {
        return of_run(folder, path, replicas);
    }
    Err(EvidenceError::Unknown(path.to_owned()))
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, EvidenceError> {
    let text = fs::read_to_string(path).map_err(|cause| EvidenceError::Io {
        path: path.to_owned(),
        cause,
    })?;
    serde_json::from_str(&text).map_err(|cause| EvidenceError::Content {
        path: path.to_owned(),
        cause,
    })
}

fn of_search(folder: String, record: &SearchRecord, replicas: Option<u32>) -> Evidence {
    let answer = &record.answer;
    let mut doubts = Vec::new();
    if !answer.confirmed {
        doubts.push("its answer is not confirmed".to_owned());
    }
    match answer.limit.as_str() {
        "instrument" => doubts.push("the instrument was the limit, not the target".to_owned()),
        "maximum" => {
            doubts.push("the highest level allowed held: the target may do more".to_owned())
        }
        _ => {}
    }
    let at_answer = |probe: &&ProbeRecord| Some(probe.level) == answer.level;
    let held = |probe: &&ProbeRecord| probe.reading == word(search::Reading::Holds);
    let best = record.probes.iter().filter(at_answer).find(held);
    // Over the rate, a level is a throughput; over users, only the measured throughput is one.
    let (holds, fails) = match record.over {
        Over::Rate => (
            answer.level,
            answer.ceiling.filter(|_| answer.limit == "objective"),
        ),
        Over::Users | Over::Connections => (answer.throughput_rps.map(|(least, _, _)| least), None),
    };
    let mut costs = costs_of(
        record.topology.as_ref(),
        record.proxy_settings.as_ref(),
        record.tuning.as_ref(),
    );
    costs.cores = Some(record.provenance.host.cores);
    costs.engine = engine_of(&record.scenario);
    if let Some(probe) = best {
        let rate = probe.figures.requests as f64 / record.procedure.probe_s.max(f64::EPSILON);
        costs.of_processes(&probe.figures.cpu_percent, rate);
        costs.in_flight_s = probe.figures.in_flight.map(|n| n / rate.max(f64::EPSILON));
    }
    Evidence {
        folder,
        kind: "search".to_owned(),
        replicas: replicas_of(record.topology.as_ref(), replicas),
        capacity: holds.map(|holds| Capacity {
            holds,
            fails,
            objectives: record.objectives.join(", "),
        }),
        efficiency: None,
        costs,
        doubts,
    }
}

fn of_sweep(folder: String, record: &SweepRecord, replicas: Option<u32>) -> Evidence {
    let valid = || {
        let runs = record.runs.iter();
        runs.filter(|run| run.figures.verdict != Verdict::Invalid)
    };
    let best = valid().max_by(|a, b| {
        a.figures
            .throughput_rps
            .total_cmp(&b.figures.throughput_rps)
    });
    let level = record
        .levels
        .iter()
        .max_by(|a, b| a.throughput_rps.median.total_cmp(&b.throughput_rps.median));
    let mut costs = costs_of(
        record.topology.as_ref(),
        record.proxy_settings.as_ref(),
        record.tuning.as_ref(),
    );
    costs.cores = Some(record.provenance.host.cores);
    costs.engine = engine_of(&record.scenario);
    if let Some(run) = best {
        let rate = run.figures.requests as f64 / record.measured_s.max(f64::EPSILON);
        costs.of_processes(&run.figures.cpu_percent, rate);
        costs.in_flight_s = run.figures.in_flight.map(|n| n / rate.max(f64::EPSILON));
    }
    let highest = record.levels.last().map(|level| level.level);
    let mut doubts = vec!["the most throughput at any latency: it meets no objective".to_owned()];
    if level.map(|level| level.level) == highest {
        doubts.push("throughput was still rising at the highest level".to_owned());
    }
    Evidence {
        folder,
        kind: "sweep".to_owned(),
        replicas: replicas_of(record.topology.as_ref(), replicas),
        capacity: level.filter(|level| level.runs > 0).map(|level| Capacity {
            holds: level.throughput_rps.least,
            fails: None,
            objectives: "none (saturated)".to_owned(),
        }),
        efficiency: None,
        costs,
        doubts,
    }
}

fn of_comparison(folder: String, record: &ComparisonRecord) -> Evidence {
    let scaling = record.scaling.as_ref();
    let mut doubts = Vec::new();
    if let Some(scaling) = scaling {
        if scaling.validity.verdict != Verdict::Valid {
            doubts.extend(scaling.validity.reasons.iter().take(2).cloned());
        }
        if scaling.interval.is_none() {
            doubts.push("fewer than three pairs: the efficiency has no interval".to_owned());
        }
    } else {
        doubts.push("it compared no numbers of replicas".to_owned());
    }
    Evidence {
        folder,
        kind: "comparison".to_owned(),
        replicas: None,
        capacity: None,
        efficiency: scaling.map(|scaling| Efficiency {
            mean: scaling.efficiency,
            interval: scaling.interval.map(|(low, high)| Span::new(low, high)),
        }),
        costs: Costs::default(),
        doubts,
    }
}

fn of_run(folder: String, path: &Path, replicas: Option<u32>) -> Result<Evidence, EvidenceError> {
    let (record, summary) = RunFolder::open(path)?.load()?;
    let mut costs = costs_of(
        record.topology.as_ref(),
        record.proxy_settings.as_ref(),
        record.tuning.as_ref(),
    );
    let rate = summary.requests as f64 / summary.duration_s.max(f64::EPSILON);
    let cpu: Vec<_> = summary
        .processes
        .iter()
        .map(|process| (process.name.clone(), process.cpu_percent))
        .collect();
    costs.of_processes(&cpu, rate);
    costs.in_flight_s = summary
        .extra
        .get("in_flight_mean")
        .map(|n| n / rate.max(f64::EPSILON));
    costs.cores = Some(record.provenance.host.cores);
    costs.engine = Some(summary.engine.clone());
    let mut doubts = Vec::new();
    let capacity = match record.gate.as_str() {
        "passed" => Some((summary.throughput_rps, None)),
        "failed" => {
            doubts.push("it missed its gate: an upper limit only".to_owned());
            summary.intended_rps.map(|rate| (0.0, Some(rate)))
        }
        _ => {
            doubts.push("it is invalid or was stopped: it says nothing about capacity".to_owned());
            None
        }
    };
    if summary.validity.verdict == Verdict::Suspect {
        doubts.extend(summary.validity.reasons.iter().take(2).cloned());
    }
    let objectives: Vec<_> = record
        .verdict
        .iter()
        .map(|row| format!("{} {}", row.metric, row.threshold))
        .collect();
    Ok(Evidence {
        folder,
        kind: "run".to_owned(),
        replicas: replicas_of(record.topology.as_ref(), replicas),
        capacity: capacity.map(|(holds, fails)| Capacity {
            holds,
            fails,
            objectives: objectives.join(", "),
        }),
        efficiency: None,
        costs,
        doubts,
    })
}

fn replicas_of(topology: Option<&TopologyRecord>, said: Option<u32>) -> Option<u32> {
    topology
        .map(|topology| topology.replicas.len() as u32)
        .or(said)
}

fn engine_of(scenario: &Value) -> Option<String> {
    let engine = scenario.get("engine")?.as_str()?;
    Some(engine.to_lowercase())
}

impl Costs {
    /// CPU of each process, from percent of one core at a rate of requests.
    fn of_processes(&mut self, cpu_percent: &[(String, f64)], rate: f64) {
        for (name, percent) in cpu_percent {
            if *percent > 0.0 && rate > 0.0 {
                self.cpu_s.insert(name.clone(), percent / 100.0 / rate);
            }
        }
    }
}

/// Limits of the configuration; those that were raised for the load count as they were before.
fn costs_of(
    topology: Option<&TopologyRecord>,
    settings: Option<&Value>,
    tuning: Option<&TuningRecord>,
) -> Costs {
    let setting = |path: &str| -> Option<Value> {
        let changes = tuning.map_or(&[][..], |tuning| &tuning.changes).iter();
        let before = changes.rev().find(|change| change.path == path);
        if let Some(change) = before {
            return Some(change.before.clone());
        }
        let mut value = settings?;
        for step in path.split('.') {
            value = value.get(step)?;
        }
        Some(value.clone())
    };
    let zones = settings
        .and_then(|settings| settings.get("rate_limit"))
        .and_then(Value::as_object);
    let mut rate_limits = BTreeMap::new();
    for zone in zones.into_iter().flat_map(|zones| zones.keys()) {
        let enabled = setting(&format!("rate_limit.{zone}.enabled"));
        if enabled.and_then(|value| value.as_bool()) == Some(false) {
            continue;
        }
        let rate = setting(&format!("rate_limit.{zone}.rate"));
        let rate = rate.as_ref().and_then(Value::as_str);
        if let Some(rate) = rate.and_then(|rate| rate.parse::<weir_load::units::Rate>().ok()) {
            rate_limits.insert(zone.clone(), rate.get());
        }
    }
    Costs {
        declared_rps: topology.and_then(|topology| {
            let replicas = topology.replicas.len();
            (replicas > 0).then(|| topology.capacity_rps / replicas as f64)
        }),
        connections_max: setting("connections.max").and_then(|value| value.as_f64()),
        rate_limits,
        ..Costs::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use weir_lab::record::Change;

    use super::*;

    #[test]
    fn limits_count_as_they_were_before_they_were_raised() {
        let settings = json!({
            "connections": {"max": 1024},
            "rate_limit": {
                "api_limit": {"rate": "100r/s", "enabled": true},
                "off": {"rate": "5r/s", "enabled": false},
            },
        });
        let tuning = TuningRecord {
            owner: String::new(),
            reason: String::new(),
            settings: Value::Null,
            ttl_s: 30.0,
            renewals: 0,
            applied_revision: None,
            changes: vec![Change {
                path: "rate_limit.api_limit.rate".into(),
                before: json!("10r/s"),
                during: json!("100r/s"),
                after: json!("10r/s"),
            }],
            restored: true,
            problem: String::new(),
        };
        let costs = costs_of(None, Some(&settings), Some(&tuning));
        assert_eq!(costs.connections_max, Some(1024.0));
        assert_eq!(
            costs.rate_limits,
            BTreeMap::from([("api_limit".into(), 10.0)])
        );
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("search.json"), "{error}");
    }
}
