//! Run folders that the user names.

use std::path::{Path, PathBuf};

use crate::{
    compare::kept::KeptRun,
    exit::Usage,
    results::{
        baseline::BaselineError,
        folder::{FolderError, RunFolder},
    },
};

/// Opens a run folder that the user named.
///
/// # Errors
///
/// [`Usage`] when it is not a run folder.
pub fn open_run(path: &Path) -> anyhow::Result<RunFolder> {
    RunFolder::open(path).map_err(|error| match error {
        FolderError::NotARun { .. } => Usage::new(error).into(),
        other => other.into(),
    })
}

/// An error of the store, marked as usage when the user's input is wrong.
pub(crate) fn as_usage(error: BaselineError) -> anyhow::Error {
    if error.is_usage() {
        Usage::new(error).into()
    } else {
        error.into()
    }
}

/// Reads run folders that the user named.
///
/// # Errors
///
/// When one is not a run folder (usage), or cannot be read.
pub fn read_runs(paths: &[PathBuf]) -> anyhow::Result<Vec<KeptRun>> {
    let mut runs = Vec::new();
    for path in paths {
        let (record, summary) = open_run(path)?.load()?;
        runs.push(record.kept(&summary));
    }
    Ok(runs)
}
