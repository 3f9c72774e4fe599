//! What is wrong with a scenario, and where.

use std::{fmt, io, path::PathBuf};

/// Why a scenario cannot be used.
#[derive(Debug)]
pub enum ScenarioError {
    /// Neither a file nor a name of a known scenario.
    NotFound {
        /// As given.
        name: String,
        /// Where it was looked for.
        searched: PathBuf,
        /// Names that exist there.
        known: Vec<String>,
    },
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A value is wrong.
    Invalid {
        /// The file, or a description of where the text came from.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Dotted path of the field; empty when the file itself does not parse.
        field: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// An override of the environment or the command line does not fit the scenario.
    Override {
        /// The flag.
        flag: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound {
                name,
                searched,
                known,
            } => {
                write!(
                    f,
                    "no scenario `{name}`: neither a file nor a name in {}",
                    searched.display()
                )?;
                if known.is_empty() {
                    write!(f, " (which holds none)")
                } else {
                    write!(f, ", which has {}", known.join(", "))
                }
            }
            Self::Unreadable { path, source } => {
                write!(f, "cannot read scenario {}: {source}", path.display())
            }
            Self::Invalid {
                file,
                line,
                column,
                field,
                message,
            } => {
                write!(f, "{file}:{line}:{column}: ")?;
                if !field.is_empty() {
                    write!(f, "`{field}`: ")?;
                }
                f.write_str(message)
            }
            Self::Override { flag, message } => write!(f, "`{flag}`: {message}"),
        }
    }
}

impl std::error::Error for ScenarioError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}
