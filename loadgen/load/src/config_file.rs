//! Reading a TOML file of limits; a mistake in it is said with file, line, column and field.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::scenario::locate::{Step, display, line_column, offset_of, path_at};

/// A file of limits cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A value in it is wrong.
    #[error("{file}:{line}:{column}: `{field}`: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Dotted path of the field.
        field: String,
        /// What is wrong and what would be right.
        message: String,
    },
}

/// A text with a name, whose mistakes can be located.
pub struct ConfigText {
    name: String,
    text: String,
}

impl ConfigText {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        })?;
        Ok(Self::new(path.display().to_string(), text))
    }

    /// A text that was read from a file of this name.
    pub fn new(name: String, text: String) -> Self {
        Self { name, text }
    }

    /// Parses the text.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let path = path_at(&self.text, offset);
            self.invalid(offset, &path, error.message().replace('\n', "; "))
        })
    }

    /// A mistake in a field that parsed.
    pub fn wrong(&self, path: &[Step], message: String) -> ConfigError {
        self.invalid(offset_of(&self.text, path), path, message)
    }

    fn invalid(&self, offset: usize, path: &[Step], message: String) -> ConfigError {
        let (line, column) = line_column(&self.text, offset);
        ConfigError::Invalid {
            file: self.name.clone(),
            line,
            column,
            field: display(path),
            message,
        }
    }
}
