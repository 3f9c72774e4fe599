//! The folder of a run: its name, its files, and the `latest` link beside it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Serialize, de::DeserializeOwned};
use weir_lab::provenance::Commit;
use weir_load::summary::Summary;

use super::RunRecord;

const RUN: &str = "run.json";
const SUMMARY: &str = "summary.json";

/// A run folder cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refused.
    #[error("cannot {what} {path}: {cause}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// It is not a run folder.
    #[error(
        "{path} is not a run folder: it has no {missing} (a run folder holds run.json and summary.json)"
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file that is missing.
        missing: &'static str,
    },
    /// A file in it is not what it should be.
    #[error("{path}: {cause}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        cause: serde_json::Error,
    },
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `<results>/<UTC time>__<scenario>__<size>__git-<commit>`, with a number appended when
    /// it is already there.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made.
    pub fn create(
        results: &Path,
        scenario: &str,
        size: &str,
        commit: &Commit,
    ) -> Result<Self, FolderError> {
        fs::create_dir_all(results).map_err(|cause| io_error("create", results, cause))?;
        let name = Self::name_of(scenario, size, commit, &now_utc());
        for attempt in 1.. {
            let suffix = if attempt == 1 {
                String::new()
            } else {
                format!("~{attempt}")
            };
            let path = results.join(format!("{name}{suffix}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => {}
                Err(cause) => return Err(io_error("create", &path, cause)),
            }
        }
        Ok(Self {
            path: results.join(name),
        })
    }

    /// The name of a run that began at `time` (RFC 3339, UTC).
    #[must_use]
    pub fn name_of(scenario: &str, size: &str, commit: &Commit, time: &str) -> String {
        let time: String = time
            .chars()
            .filter(|symbol| !matches!(symbol, '-' | ':'))
            .collect();
        format!(
            "{time}__{}__{}__{}",
            slug(scenario),
            slug(size),
            commit.label()
        )
    }

    /// Uses exactly this folder, which is made when it does not exist.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn at(path: &Path) -> Result<Self, FolderError> {
        fs::create_dir_all(path).map_err(|cause| io_error("create", path, cause))?;
        let path = path
            .canonicalize()
            .map_err(|cause| io_error("open", path, cause))?;
        Ok(Self { path })
    }

    /// Opens an existing run folder.
    ///
    /// # Errors
    ///
    /// When it does not hold `run.json` and `summary.json`.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        for missing in [RUN, SUMMARY] {
            if !path.join(missing).is_file() {
                return Err(FolderError::NotARun {
                    path: path.to_owned(),
                    missing,
                });
            }
        }
        let path = path
            .canonicalize()
            .map_err(|cause| io_error("open", path, cause))?;
        Ok(Self { path })
    }

    /// Opens the folder of a comparison.
    pub(crate) fn open_comparison(path: &Path) -> Result<Self, FolderError> {
        let path = path
            .canonicalize()
            .map_err(|cause| io_error("open", path, cause))?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Its report.
    #[must_use]
    pub fn page(&self) -> PathBuf {
        self.file("report.html")
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `run.json` and `summary.json`.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn save(&self, record: &RunRecord, summary: &Summary) -> Result<(), FolderError> {
        self.write_json(RUN, record)?;
        self.write_json(SUMMARY, summary)
    }

    /// Reads `run.json` and `summary.json`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or does not have the expected shape.
    pub fn load(&self) -> Result<(RunRecord, Summary), FolderError> {
        Ok((self.read_json(RUN)?, self.read_json(SUMMARY)?))
    }

    /// Writes a text file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, FolderError> {
        let path = self.file(name);
        fs::write(&path, text).map_err(|cause| io_error("write", &path, cause))?;
        Ok(path)
    }

    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), FolderError> {
        let text = serde_json::to_string_pretty(value).map_err(|cause| FolderError::Content {
            path: self.file(name),
            cause,
        })?;
        self.write(name, &(text + "\n")).map(|_| ())
    }

    pub(crate) fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, FolderError> {
        let path = self.file(name);
        let text = fs::read_to_string(&path).map_err(|cause| io_error("read", &path, cause))?;
        serde_json::from_str(&text).map_err(|cause| FolderError::Content { path, cause })
    }
}

/// Points `<results>/latest` at a folder in it, replacing an older link.
///
/// # Errors
///
/// When the link cannot be made, for example because `latest` is a real folder.
pub fn write_latest(results: &Path, folder: &RunFolder) -> Result<(), FolderError> {
    let link = results.join("latest");
    // A new link moved over the old one: a reader sees one or the other, never none.
    let fresh = results.join(format!(".latest-{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(folder.name(), &fresh)
        .map_err(|cause| io_error("create", &fresh, cause))?;
    fs::rename(&fresh, &link).map_err(|cause| {
        let _ = fs::remove_file(&fresh);
        io_error("replace", &link, cause)
    })
}

/// The time now, RFC 3339, UTC, whole seconds.
#[must_use]
pub fn now_utc() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// A text as a part of a file name.
fn slug(text: &str) -> String {
    let allowed = |symbol: char| symbol.is_ascii_alphanumeric() || matches!(symbol, '-' | '.');
    let slug: String = text
        .chars()
        .map(|symbol| if allowed(symbol) { symbol } else { '-' })
        .collect();
    if slug.is_empty() {
        "unnamed".to_owned()
    } else {
        slug
    }
}

fn io_error(what: &'static str, path: &Path, cause: io::Error) -> FolderError {
    FolderError::Io {
        what,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn commit() -> Commit {
        Commit {
            id: "abcdef0123456789".into(),
            dirty: Some(true),
        }
    }

    #[test]
    fn names_carry_time_scenario_size_and_commit_and_never_collide() {
        let results = tempfile::tempdir().unwrap();
        let make = || RunFolder::create(results.path(), "my scenario/1", "two", &commit()).unwrap();
        let (first, second) = (make(), make());
        assert_ne!(first.path(), second.path());
        let name = first.name();
        assert!(
            name.contains("Z__my-scenario-1__two__git-abcdef0123-dirty"),
            "{name}"
        );
    }

    #[test]
    fn latest_follows_the_newest_run() {
        let results = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let folder = RunFolder::create(results.path(), "s", "one", &commit()).unwrap();
            write_latest(results.path(), &folder).unwrap();
            let target = fs::read_link(results.path().join("latest")).unwrap();
            assert_eq!(target.to_string_lossy(), folder.name());
        }
    }

    #[test]
    fn a_folder_without_a_run_says_what_is_missing() {
        let empty = tempfile::tempdir().unwrap();
        let error = RunFolder::open(empty.path()).unwrap_err().to_string();
        assert!(error.contains("no run.json"), "{error}");
    }
}
