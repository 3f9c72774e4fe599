//! A recorded trace: which request came when, to be sent again.
//!
//! A trace is a file of lines, JSON or CSV, described in `docs/reference/scenarios.md`. It is read
//! line by line into a compact form: every distinct path and body is kept once, and an entry takes
//! 24 bytes, so that a million lines fit into tens of megabytes.

mod group;
mod line;
mod read;
mod store;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::{io, path::PathBuf};

pub use self::{
    line::{Timestamp, TraceLine},
    store::{Kind, Trace},
};

/// Why a trace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read trace {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is wrong.
    #[error("{}:{line}:{column}: {}{message}", path.display(), in_field(field))]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: usize,
        /// The field; empty when the line itself does not parse.
        field: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The file as a whole is wrong.
    #[error("{}: {message}", path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// What is wrong and what would be right.
        message: String,
    },
}

fn in_field(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!("`{field}`: ")
    }
}
