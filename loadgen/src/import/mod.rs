//! Scenarios out of what there is already: a HAR recording, an OpenAPI document, an access log.
//!
//! Each source becomes a [`Draft`], which is written as the TOML of a scenario. What is not safe
//! to send again is left out unless asked for, secrets are too, and so is every host: where load
//! goes is said on the command line of the run alone.

mod access_log;
mod draft;
mod har;
mod moment;
mod openapi;
mod schema;
mod secrets;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::path::{Path, PathBuf};

pub use self::{
    access_log::{AccessLog, access_log},
    draft::Draft,
    har::{Shape, har},
    openapi::openapi,
};

/// What of a source is taken over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice {
    /// Requests that change something too, not only `GET`, `HEAD` and `OPTIONS`.
    pub all_methods: bool,
    /// Tokens, cookies and passwords too.
    pub keep_secrets: bool,
}

impl Choice {
    /// Whether a method is taken over: safe ones always (RFC 9110 §9.2.1).
    fn takes(self, method: &str) -> bool {
        self.all_methods || matches!(method, "GET" | "HEAD" | "OPTIONS")
    }
}

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}{}: {message}", path.display(), at_line(*line))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 if unknown.
        line: usize,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Nothing of it can be taken over.
    #[error("{}: nothing to import: {message}", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// Why, and what could be done.
        message: String,
    },
}

fn at_line(line: usize) -> String {
    match line {
        0 => String::new(),
        line => format!(":{line}"),
    }
}

impl ImportError {
    fn malformed(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

fn read(path: &Path) -> Result<String, ImportError> {
    std::fs::read_to_string(path).map_err(|source| ImportError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
