//! The calibration of this machine, as a file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use weir_lab::host::machine::Machine;

use super::Way;

/// Where a calibration is kept, relative to the working directory.
pub const FILE: &str = "results/calibration.json";

/// What each client engine reaches against a server that does nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// When, RFC 3339, UTC.
    pub at: String,
    /// Version of `weir-bench`.
    pub version: String,
    /// `release` or `debug`: a ceiling of the other says nothing.
    #[serde(default)]
    pub build: String,
    /// Processor: a calibration of another machine says nothing.
    pub cpu: String,
    /// Cores of that machine.
    pub cores: usize,
    /// Connections that it was made with.
    pub connections: u32,
    /// Requests per second of one generator thread, by way: `wire`, `session+h2`, `wire+tls`, …
    pub ceilings: BTreeMap<String, Ceiling>,
}

/// The limit of one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Requests per second of one thread: the median of the runs.
    pub rate: f64,
    /// Slowest run.
    pub min: f64,
    /// Fastest run.
    pub max: f64,
    /// CPU of the generator in microseconds for each request.
    pub cpu_us: f64,
    /// Runs.
    pub runs: usize,
}

impl Ceiling {
    /// Whether the runs agree well enough: the slowest reached at least two thirds of the fastest.
    pub fn is_steady(&self) -> bool {
        self.min * 3.0 >= self.max * 2.0
    }
}

impl Calibration {
    /// How this program was built.
    pub fn build() -> String {
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
        .to_owned()
    }

    /// Reads a calibration, if there is one and it was made on a machine like this by a build like
    /// this.
    pub fn read(file: &Path) -> Option<Self> {
        let found: Self = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let here = Machine::here();
        let fits =
            found.cpu == here.cpu && found.cores == here.cores && found.build == Self::build();
        fits.then_some(found)
    }

    /// Adds what an earlier calibration of this machine and build says about ways that this one left
    /// out.
    #[must_use]
    pub fn with_others_of(mut self, file: &Path) -> Self {
        for (way, ceiling) in Self::read(file).map(|c| c.ceilings).unwrap_or_default() {
            self.ceilings.entry(way).or_insert(ceiling);
        }
        self
    }

    /// Writes it, creating folders as needed.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        std::fs::write(file, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Requests per second that one generator thread reached this way when this machine was calibrated;
/// `None` if it was not (`weir-bench calibrate` does it).
pub fn ceiling(way: Way) -> Option<f64> {
    Calibration::read(&PathBuf::from(FILE))?
        .ceilings
        .get(&way.to_string())
        .map(|ceiling| ceiling.rate)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_disagree_are_no_ceiling() {
        let of = |min: f64, max: f64| Ceiling {
            rate: (min + max) / 2.0,
            min,
            max,
            cpu_us: 8.0,
            runs: 2,
        };
        assert!(of(90_000.0, 110_000.0).is_steady());
        assert!(!of(13_000.0, 64_000.0).is_steady());
    }

    #[test]
    fn a_calibration_counts_only_on_its_own_machine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("results/calibration.json");
        assert_eq!(Calibration::read(&file), None);
        let here = Machine::here();
        let mut made = Calibration {
            at: "2000-01-01T00:00:00Z".into(),
            version: "1".into(),
            build: Calibration::build(),
            cpu: here.cpu,
            cores: here.cores,
            connections: 64,
            ceilings: BTreeMap::from([(
                "wire".to_owned(),
                Ceiling {
                    rate: 1e5,
                    min: 9e4,
                    max: 1.1e5,
                    cpu_us: 10.0,
                    runs: 3,
                },
            )]),
        };
        made.write(&file).unwrap();
        assert_eq!(Calibration::read(&file), Some(made.clone()));
        made.cores += 1;
        made.write(&file).unwrap();
        assert_eq!(Calibration::read(&file), None);
        made.cores -= 1;
        made.build = "another".into();
        made.write(&file).unwrap();
        assert_eq!(Calibration::read(&file), None);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Calibration::read(&file), None);
    }
}
