//! The folder of baselines: one folder a name, `baseline.json` in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::Baseline;
use crate::{compare::kept::KeptRun, results::now_utc};

const FILE: &str = "baseline.json";

/// A baseline cannot be saved, found or read.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The name cannot be used.
    #[error(
        "`{name}` is not a name for a baseline: write letters, digits, `-`, `_` and `.`, in parts separated by `/`, such as main or release/1.2"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// There is none of this name.
    #[error("no baseline `{name}` in {folder}{}", which_has(.known))]
    Unknown {
        /// As given.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// Those that exist.
        known: Vec<String>,
    },
    /// There is one already.
    #[error(
        "baseline `{name}` exists already, with {runs} runs; use --replace, or --add to add runs to it"
    )]
    Exists {
        /// As given.
        name: String,
        /// How many runs it has.
        runs: usize,
    },
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
    /// A file is not what it should be.
    #[error("{path} is not a baseline: {cause}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        cause: serde_json::Error,
    },
}

fn which_has(names: &[String]) -> String {
    if names.is_empty() {
        ", which has none".to_owned()
    } else {
        format!(", which has {}", names.join(", "))
    }
}

/// What to do when a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Refuse.
    Refuse,
    /// Forget the runs that were there.
    Replace,
    /// Keep them and add to them.
    Add,
}

/// A folder of baselines.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The baselines in a folder, which need not exist yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Saves runs under a name.
    ///
    /// # Errors
    ///
    /// When the name cannot be used or is taken, or the file cannot be written.
    pub fn save(
        &self,
        name: &str,
        runs: Vec<KeptRun>,
        taken: Taken,
    ) -> Result<Baseline, BaselineError> {
        let path = self.file(name)?;
        let before = path.is_file().then(|| self.load(name)).transpose()?;
        let mut all = match (before, taken) {
            (Some(before), Taken::Refuse) => {
                return Err(BaselineError::Exists {
                    name: name.to_owned(),
                    runs: before.runs.len(),
                });
            }
            (Some(before), Taken::Add) => before.runs,
            _ => Vec::new(),
        };
        for run in runs {
            // The same run twice would be taken for two runs that agree.
            if !all.iter().any(|other| other.id == run.id) {
                all.push(run);
            }
        }
        let baseline = Baseline {
            format: Baseline::FORMAT,
            name: name.to_owned(),
            saved_at: now_utc(),
            runs: all,
        };
        let text =
            serde_json::to_string_pretty(&baseline).map_err(|cause| BaselineError::Content {
                path: path.clone(),
                cause,
            })?;
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(|cause| io_error("create", folder, cause))?;
        // Written beside and moved: who reads meanwhile sees the old one or the new one.
        let fresh = folder.join(format!(".{FILE}-{}", std::process::id()));
        fs::write(&fresh, text + "\n").map_err(|cause| io_error("write", &fresh, cause))?;
        fs::rename(&fresh, &path).map_err(|cause| io_error("write", &path, cause))?;
        Ok(baseline)
    }

    /// Reads a baseline.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or it cannot be read.
    pub fn load(&self, name: &str) -> Result<Baseline, BaselineError> {
        let path = self.existing(name)?;
        let text = fs::read_to_string(&path).map_err(|cause| io_error("read", &path, cause))?;
        serde_json::from_str(&text).map_err(|cause| BaselineError::Content { path, cause })
    }

    /// Forgets a baseline.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), BaselineError> {
        let path = self.existing(name)?;
        fs::remove_file(&path).map_err(|cause| io_error("remove", &path, cause))?;
        // Folders that are empty now go too, up to the folder of baselines itself.
        for folder in path.ancestors().skip(1) {
            if folder == self.folder || fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Names of all baselines, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.folder, "", &mut names);
        names.sort();
        names
    }

    fn existing(&self, name: &str) -> Result<PathBuf, BaselineError> {
        let path = self.file(name)?;
        if path.is_file() {
            return Ok(path);
        }
        Err(BaselineError::Unknown {
            name: name.to_owned(),
            folder: self.folder.clone(),
            known: self.names(),
        })
    }

    fn file(&self, name: &str) -> Result<PathBuf, BaselineError> {
        let allowed = |symbol: char| symbol.is_ascii_alphanumeric() || "-_.".contains(symbol);
        let good = |part: &str| {
            !part.is_empty() && !part.starts_with('.') && part != FILE && part.chars().all(allowed)
        };
        if !name.split('/').all(good) {
            return Err(BaselineError::Name {
                name: name.to_owned(),
            });
        }
        Ok(self.folder.join(name).join(FILE))
    }
}

fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(part) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !path.is_dir() || path.is_symlink() {
            continue;
        }
        let name = format!("{prefix}{part}");
        if path.join(FILE).is_file() {
            names.push(name.clone());
        }
        collect(&path, &format!("{name}/"), names);
    }
}

fn io_error(what: &'static str, path: &Path, cause: io::Error) -> BaselineError {
    BaselineError::Io {
        what,
        path: path.to_owned(),
        cause,
    }
}

impl BaselineError {
    /// Whether the user's input is wrong, as opposed to something that happened.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compare::tests::kept;

    fn ids(baseline: &Baseline) -> Vec<&str> {
        baseline.runs.iter().map(|run| run.id.as_str()).collect()
    }

    #[test]
    fn names_may_have_parts_and_stay_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        for bad in ["", "/", "../x", "a//b", "a b", ".hidden", "a/baseline.json"] {
            assert!(matches!(
                store.save(bad, Vec::new(), Taken::Refuse),
                Err(BaselineError::Name { .. })
            ));
        }
        store
            .save("release", vec![kept("a")], Taken::Refuse)
            .unwrap();
        store
            .save("release/1.2", vec![kept("b")], Taken::Refuse)
            .unwrap();
        assert_eq!(store.names(), ["release", "release/1.2"]);
        store.remove("release/1.2").unwrap();
        assert_eq!(store.names(), ["release"]);
        store.remove("release").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_taken_name_is_refused_replaced_or_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.save("main", vec![kept("a")], Taken::Refuse).unwrap();
        let error = store
            .save("main", vec![kept("b")], Taken::Refuse)
            .unwrap_err();
        assert!(
            error.to_string().contains("exists already, with 1 runs"),
            "{error}"
        );
        let added = store
            .save("main", vec![kept("b"), kept("a")], Taken::Add)
            .unwrap();
        assert_eq!(ids(&added), ["a", "b"]);
        store.save("main", vec![kept("c")], Taken::Replace).unwrap();
        assert_eq!(ids(&store.load("main").unwrap()), ["c"]);
    }

    #[test]
    fn an_unknown_name_says_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let error = store.load("main").unwrap_err().to_string();
        assert!(error.ends_with("which has none"), "{error}");
        store.save("main", vec![kept("a")], Taken::Refuse).unwrap();
        let error = store.load("mian").unwrap_err().to_string();
        assert!(error.ends_with("which has main"), "{error}");
    }
}
