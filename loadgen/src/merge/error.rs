//! Why shards cannot be joined.

use std::{io, path::PathBuf};

use weir_load::record::LogError;

use crate::{page::PageError, results::FolderError};

/// Shards cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// An interval log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A joined interval log.
    #[error("the joined log: {0}")]
    Joined(LogError),
    /// The report.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A run that is not a part of one.
    #[error(
        "{0} is not a shard: it was run without `--shard`, so there is nothing to join it with"
    )]
    NotAShard(PathBuf),
    /// Parts of differently split runs.
    #[error(
        "{path} is one of {of} shards, but {first} is one of {first_of}: they are not parts of the same run"
    )]
    OtherSplit {
        /// The folder.
        path: PathBuf,
        /// Its number of shards.
        of: u32,
        /// The first folder.
        first: PathBuf,
        /// Its number of shards.
        first_of: u32,
    },
    /// The same part twice.
    #[error("shard {number} is there twice: {first} and {second}; name each shard once")]
    Twice {
        /// Its number.
        number: u32,
        /// Where.
        first: PathBuf,
        /// Where else.
        second: PathBuf,
    },
    /// Parts that are missing.
    #[error(
        "{} of {of} shards: {} missing; a run is only complete with all of its shards",
        .of - .missing.len() as u32,
        list(.missing)
    )]
    Missing {
        /// Their numbers.
        missing: Vec<u32>,
        /// How many there should be.
        of: u32,
    },
    /// Parts that were run with different input.
    #[error(transparent)]
    Different(Box<Difference>),
    /// A file that belongs to a run folder and is not usable.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The result cannot be written.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

/// Two shards that were run with different input.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} and {first} were run differently: {what} is {theirs} in the one and {ours} in the other; shards must have the same {kind}"
)]
pub struct Difference {
    /// The folder.
    pub path: PathBuf,
    /// The first folder.
    pub first: PathBuf,
    /// What kind of thing differs: `scenario`, `thresholds`, `version of weir-bench`.
    pub kind: &'static str,
    /// The field.
    pub what: String,
    /// Its value in the first folder.
    pub ours: String,
    /// Its value in the other.
    pub theirs: String,
}

impl MergeError {
    /// Whether the input is wrong, as opposed to something that happened.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Folder(FolderError::Io { .. })
            | Self::Log(LogError::Io { .. })
            | Self::Write { .. }
            | Self::Joined(_)
            | Self::Page(_) => false,
            Self::Folder(_)
            | Self::Log(_)
            | Self::NotAShard(_)
            | Self::OtherSplit { .. }
            | Self::Twice { .. }
            | Self::Missing { .. }
            | Self::Different(_)
            | Self::File { .. } => true,
        }
    }
}

/// `shard 3 is`, `shards 3 and 5 are`.
fn list(numbers: &[u32]) -> String {
    let words: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    match words.split_last() {
        Some((last, [])) => format!("shard {last} is"),
        Some((last, others)) => format!("shards {} and {last} are", others.join(", ")),
        None => "none is".to_owned(),
    }
}
