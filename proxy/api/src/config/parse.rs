//! From text to a checked configuration.

use serde::Deserialize;

use super::{
    Config, ConfigError, ConfigErrors, Position,
    document::{Document, Span},
};
use crate::{schema, settings::Problem};

/// The largest file that is read.
const MAX_FILE: u64 = 4 << 20;

/// Reads and checks a configuration file.
///
/// # Errors
/// When it cannot be read, is larger than 4 MiB or is not UTF-8; and as [`parse`].
pub fn load(path: impl AsRef<std::path::Path>) -> Result<Config, ConfigErrors> {
    let path = path.as_ref();
    let mut config = parse(&read(path)?, &path.display().to_string())?;
    config.folder = path.parent().map(Into::into).unwrap_or_default();
    Ok(config)
}

/// Gives problems that were found after [`parse`] of the same text their places in it.
#[must_use]
pub fn locate(text: &str, file_name: &str, problems: Vec<Problem>) -> ConfigErrors {
    // It was parsed before.
    let document = Document::parse(text).unwrap_or_default();
    Source { text, file_name }.errors(&document, problems)
}

/// Reads a configuration file as text, for [`parse`].
///
/// # Errors
/// When it cannot be read, is larger than 4 MiB or is not UTF-8.
pub fn read(path: impl AsRef<std::path::Path>) -> Result<String, ConfigErrors> {
    use std::io::Read as _;

    let path = path.as_ref();
    let name = path.display().to_string();
    let failed = |message: String, allowed: &str| {
        ConfigErrors(vec![ConfigError {
            file: name.clone(),
            position: None,
            field: String::new(),
            message,
            allowed: allowed.to_owned(),
            source_line: String::new(),
            width: 1,
        }])
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(format!("cannot be read: {error}"), ""))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(
            "larger than 4 MiB".to_owned(),
            "a configuration file",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        failed(
            format!("not UTF-8: a bad byte at offset {at}"),
            "text in UTF-8",
        )
    })
}

/// Checks a text as a configuration file; `file_name` is for the errors only.
///
/// # Errors
/// A syntax error alone; or every unknown key, missing or wrong value, and reference to an upstream
/// or a rate limit that does not exist, in the order of the file.
pub fn parse(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
    let source = Source { text, file_name };
    let document = Document::parse(text).map_err(|(message, span)| {
        ConfigErrors(vec![source.error(
            String::new(),
            message,
            String::new(),
            span,
        )])
    })?;
    let mut problems = document.problems.clone();
    if let Err(found) = schema::check(&schema::FILE, &document.value) {
        problems.extend(found.into_vec());
    }
    if problems.is_empty() {
        match Config::deserialize(&document.value) {
            Ok(config) => return Ok(config),
            Err(error) => problems.push(Problem::new(
                crate::settings::Path::root(),
                error.to_string(),
                "",
            )),
        }
    }
    Err(source.errors(&document, problems))
}

/// The text that positions refer to.
struct Source<'a> {
    text: &'a str,
    file_name: &'a str,
}

impl Source<'_> {
    /// Problems with their places, in the order of the text.
    fn errors(&self, document: &Document, problems: Vec<Problem>) -> ConfigErrors {
        let mut errors: Vec<ConfigError> = problems
            .into_iter()
            .map(|problem| {
                let span = document.find(&problem.path, problem.subject);
                self.error(problem.field, problem.message, problem.allowed, span)
            })
            .collect();
        // What has no place comes last.
        errors.sort_by_key(|error| {
            error
                .position
                .map_or((usize::MAX, 0), |at| (at.line, at.column))
        });
        ConfigErrors(errors)
    }

    fn error(
        &self,
        field: String,
        message: String,
        allowed: String,
        span: Option<Span>,
    ) -> ConfigError {
        let mut error = ConfigError {
            file: self.file_name.to_owned(),
            position: None,
            field,
            message,
            allowed,
            source_line: String::new(),
            width: 1,
        };
        if let Some((before, rest)) = span
            .as_ref()
            .and_then(|span| self.text.split_at_checked(span.start))
        {
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            let (_, head) = before.split_at_checked(line_start).unwrap_or(("", before));
            let tail = rest.lines().next().unwrap_or_default();
            let length = span.map_or(1, |span| span.len());
            error.position = Some(Position {
                line: before.matches('\n').count() + 1,
                column: head.chars().count() + 1,
            });
            error.source_line = format!("{head}{tail}");
            error.width = tail
                .char_indices()
                .take_while(|(at, _)| *at < length)
                .count()
                .max(1);
        }
        error
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
