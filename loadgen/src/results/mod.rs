//! Run folders and what is kept of runs.

pub mod baseline;
pub mod ceiling;
pub(crate) mod folder;
mod record;

pub use self::{
    folder::{FolderError, RunFolder, now_utc, write_latest},
    record::{Overhead, OverheadRow, ProfileRecord, RunRecord, StageBreakdown, StageRow},
};
