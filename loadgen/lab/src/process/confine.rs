//! Small machines: processes of a topology on few cores and with little address space.
//!
//! `weir-bench` becomes the program that it is to start ([`execute`]): it narrows itself first, so
//! that the program never runs outside of its bounds, not even while it starts.

use std::{
    convert::Infallible,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use procfs::process::{LimitValue, Process};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::Deserialize;

use crate::{error::TopologyError, record::BoundsRecord};

const MIB: u64 = 1 << 20;
/// Least address space in which a process can start at all.
const LEAST_MEMORY: u64 = 64 * MIB;

/// What a process may use of the machine; nothing is bounded by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Cores that it is pinned to: the last ones that this process may use itself.
    pub cores: Option<u32>,
    /// Address space, bytes (`RLIMIT_AS`): resident memory can only be less.
    pub memory_bytes: Option<u64>,
}

/// Bounds as a table of a topology file writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoundsTable {
    cores: Option<u32>,
    memory: Option<String>,
}

impl BoundsTable {
    /// For a table that has other keys as well.
    pub(crate) fn of(cores: Option<u32>, memory: Option<String>) -> Self {
        Self { cores, memory }
    }

    /// Checks the values; `table` is where they stand.
    pub(crate) fn bounds(self, table: &str) -> Result<Bounds, String> {
        if self.cores == Some(0) {
            return Err(format!("{table}.cores: must be at least 1"));
        }
        let memory_bytes = self
            .memory
            .map(|text| memory(&text).map_err(|reason| format!("{table}.memory: {reason}")))
            .transpose()?;
        Ok(Bounds {
            cores: self.cores,
            memory_bytes,
        })
    }
}

/// Bytes out of a text such as `512MiB` or `1.5GiB`.
fn memory(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let parsed = [("MiB", MIB), ("GiB", 1024 * MIB)]
        .into_iter()
        .find_map(|(unit, size)| {
            let count: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            (count.is_finite() && (0.0..1e6).contains(&count)).then_some(count * size as f64)
        });
    match parsed {
        None => Err(format!(
            "`{text}` is no size: write a number with MiB or GiB, such as \"512MiB\""
        )),
        Some(bytes) if bytes < LEAST_MEMORY as f64 => Err(format!(
            "must be at least {}MiB, or no process could start",
            LEAST_MEMORY / MIB
        )),
        Some(bytes) => Ok(bytes as u64),
    }
}

impl Bounds {
    /// Whether nothing is bounded.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Program and arguments that start `program` within the bounds; `own` is this program.
    ///
    /// # Errors
    ///
    /// When this process may use fewer cores than are asked for.
    pub(crate) fn around(
        &self,
        own: &Path,
        program: &Path,
        arguments: &[String],
    ) -> Result<(PathBuf, Vec<String>), TopologyError> {
        if self.is_none() {
            return Ok((program.to_owned(), arguments.to_vec()));
        }
        let mut words = vec!["confined".to_owned()];
        if let Some(wanted) = self.cores {
            let allowed = allowed_cores();
            let cores: Vec<_> = last_cores(wanted, &allowed)?
                .iter()
                .map(usize::to_string)
                .collect();
            words.extend(["--cores".to_owned(), cores.join(",")]);
        }
        if let Some(bytes) = self.memory_bytes {
            words.extend(["--address-space".to_owned(), bytes.to_string()]);
        }
        words.push("--".to_owned());
        words.push(program.display().to_string());
        words.extend_from_slice(arguments);
        Ok((own.to_owned(), words))
    }
}

/// Cores that this process may use, in ascending order.
fn allowed_cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count())
        .filter(|core| set.is_set(*core).unwrap_or(false))
        .collect()
}

/// The last `wanted` of the cores: the first ones are left to the generator.
fn last_cores(wanted: u32, allowed: &[usize]) -> Result<&[usize], TopologyError> {
    allowed
        .len()
        .checked_sub(wanted as usize)
        .and_then(|first| allowed.get(first..))
        .ok_or(TopologyError::TooFewCores {
            wanted,
            allowed: allowed.len(),
        })
}

/// What the kernel says that a process is bound to.
pub(crate) fn read_back(name: &str, pid: u32) -> Option<BoundsRecord> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let cores = process.status().ok()?.cpus_allowed_list?;
    let cores = cores.into_iter().flat_map(|(first, last)| first..=last);
    let memory = process.limits().ok()?.max_address_space.soft_limit;
    Some(BoundsRecord {
        process: name.to_owned(),
        cores: cores.collect(),
        address_space_bytes: match memory {
            LimitValue::Value(bytes) => Some(bytes),
            LimitValue::Unlimited => None,
        },
        cpus: None,
        memory_bytes: None,
    })
}

/// Arguments of the hidden `weir-bench confined`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Cores to run on.
    #[arg(long, value_delimiter = ',', value_name = "N,N")]
    cores: Vec<usize>,
    /// Most address space.
    #[arg(long, value_name = "BYTES")]
    address_space: Option<u64>,
    /// Program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Narrows this process and becomes the program.
///
/// # Errors
///
/// When the kernel refuses a bound, or the program cannot be started.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    if !args.cores.is_empty() {
        let mut set = CpuSet::new();
        for core in &args.cores {
            set.set(*core).context("naming a core")?;
        }
        sched_setaffinity(Pid::from_raw(0), &set).context("pinning to cores")?;
    }
    if let Some(bytes) = args.address_space {
        let bound = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        setrlimit(Resource::As, bound).context("bounding the address space")?;
    }
    let mut words = args.command.iter();
    let program = words.next().context("a program is missing")?;
    let failed = become_program(Command::new(program).args(words));
    Err(failed.err().map_or_else(
        || anyhow::anyhow!("{program} did not take over"),
        |error| anyhow::Error::new(error).context(format!("cannot start {program}")),
    ))
}

/// Comes back only if it fails.
fn become_program(command: &mut Command) -> std::io::Result<Infallible> {
    Err(command.exec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_a_lower_bound() {
        assert_eq!(memory("512MiB"), Ok(512 * MIB));
        assert_eq!(memory(" 1.5 GiB "), Ok(1536 * MIB));
        for bad in ["512", "512MB", "-1GiB", "NaNMiB", "MiB", ""] {
            assert!(memory(bad).unwrap_err().contains("is no size"), "{bad}");
        }
        assert!(memory("63MiB").unwrap_err().contains("at least 64MiB"));
    }

    #[test]
    fn the_last_cores_are_taken_and_never_more_than_there_are() {
        assert_eq!(last_cores(1, &[0, 2, 5]).unwrap(), [5]);
        assert_eq!(last_cores(3, &[0, 2, 5]).unwrap(), [0, 2, 5]);
        let error = last_cores(4, &[0, 2, 5]).unwrap_err();
        assert!(
            error.is_usage() && error.to_string().contains("4 cores"),
            "{error}"
        );
    }

    #[test]
    fn a_process_without_bounds_is_started_as_it_is() {
        let arguments = ["--x".to_owned()];
        let plain = Bounds::default()
            .around(Path::new("own"), Path::new("weir"), &arguments)
            .unwrap();
        assert_eq!(plain, ("weir".into(), vec!["--x".to_owned()]));
        let bounds = Bounds {
            cores: Some(1),
            memory_bytes: Some(64 * MIB),
        };
        let (program, words) = bounds
            .around(Path::new("own"), Path::new("weir"), &arguments)
            .unwrap();
        assert_eq!(program, Path::new("own"));
        let core = allowed_cores().last().unwrap().to_string();
        let expected = [
            "confined",
            "--cores",
            &core,
            "--address-space",
            "67108864",
            "--",
            "weir",
            "--x",
        ];
        assert_eq!(words, expected);
    }
}
