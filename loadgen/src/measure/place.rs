//! Where a run leaves its files, and what stays of them when it breaks off.

use std::{io, path::Path};

use tempfile::TempDir;
use weir_lab::provenance::Commit;
use weir_load::{record::Recording, summary::Summary};

use super::{Keep, MeasureError, Order, Setup, Subject};
use crate::{
    page::write_page,
    results::{RunFolder, RunRecord, write_latest},
};

/// Where a run leaves its files.
pub(super) enum Place {
    /// A new folder of its own.
    Named(RunFolder),
    /// A folder that the user named.
    Exactly(RunFolder),
    /// A folder for logs and derived configuration, gone afterwards.
    Scratch(TempDir),
}

impl Place {
    /// Makes the folder.
    pub(super) fn make(order: &Order, setup: &Setup) -> Result<Self, MeasureError> {
        Ok(match &setup.keep {
            Keep::Named => Self::Named(RunFolder::create(
                &setup.results,
                &order.scenario.name,
                &order.label(),
                &Commit::here(),
            )?),
            Keep::Exactly(path) => Self::Exactly(RunFolder::at(path)?),
            Keep::Nothing => Self::Scratch(
                tempfile::tempdir().map_err(failed("make a folder for temporary files"))?,
            ),
        })
    }

    /// Where processes leave their logs.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Named(folder) | Self::Exactly(folder) => folder.path(),
            Self::Scratch(folder) => folder.path(),
        }
    }

    /// The name of the run.
    pub(super) fn id(&self, order: &Order, created_at: &str) -> String {
        match self {
            Self::Named(folder) | Self::Exactly(folder) => folder.name(),
            Self::Scratch(_) => RunFolder::name_of(
                &order.scenario.name,
                &order.label(),
                &Commit::here(),
                created_at,
            ),
        }
    }

    /// Writes everything about a finished run; none when nothing is kept.
    pub(super) fn write(
        self,
        setup: &Setup,
        recording: &Recording,
        record: &RunRecord,
        summary: &Summary,
    ) -> Result<Option<RunFolder>, MeasureError> {
        let (folder, named) = match self {
            Self::Named(folder) => (folder, true),
            Self::Exactly(folder) => (folder, false),
            Self::Scratch(_) => return Ok(None),
        };
        recording
            .write_hlog(folder.path())
            .map_err(failed("write the interval logs"))?;
        recording
            .write_timeseries(folder.path())
            .map_err(failed("write timeseries.csv"))?;
        folder.save(record, summary)?;
        write_page(&folder)?;
        if named {
            write_latest(&setup.results, &folder)?;
        }
        Ok(Some(folder))
    }

    /// What to say about a run that broke off: where its logs are, if anybody would want to look at
    /// them; otherwise the folder goes.
    pub(super) fn broken(&self, order: &Order, error: MeasureError) -> MeasureError {
        let nothing_happened = error.is_usage()
            || matches!(order.subject, Subject::Running(_))
            || matches!(&error, MeasureError::Topology(error) if error.is_before_start());
        match self {
            Self::Named(folder) if nothing_happened => {
                let _ = std::fs::remove_dir_all(folder.path());
                error
            }
            Self::Named(folder) | Self::Exactly(folder) if !nothing_happened => {
                MeasureError::Broken {
                    cause: Box::new(error),
                    folder: folder.path().to_owned(),
                }
            }
            _ => error,
        }
    }
}

pub(super) fn failed(what: &'static str) -> impl Fn(io::Error) -> MeasureError {
    move |cause| MeasureError::Io { what, cause }
}
