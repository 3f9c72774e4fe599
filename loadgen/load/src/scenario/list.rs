//! A file that names other scenarios, to be run one after the other.

use serde::Deserialize;
use toml::de::DeTable;

use super::{
    ScenarioError,
    locate::{self, Step},
};

/// Such a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(rename = "name")]
    _name: String,
    #[serde(default, rename = "description")]
    _description: String,
    /// Names or paths, in order; never empty.
    pub(super) scenarios: Vec<String>,
}

/// Reads a list; `None` if the text is something else, such as a scenario.
pub(super) fn parse(source: &str, origin: &str) -> Result<Option<List>, ScenarioError> {
    let is_list = DeTable::parse(source).is_ok_and(|table| {
        let mut keys = table.get_ref().iter().map(|(key, _)| key.get_ref());
        keys.any(|key| key == "scenarios")
    });
    if !is_list {
        return Ok(None);
    }
    let list: List = toml::from_str(source).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', "; ");
        wrong(
            source,
            origin,
            offset,
            &locate::path_at(source, offset),
            message,
        )
    })?;
    if list.scenarios.is_empty() {
        let path = [Step::from("scenarios")];
        let offset = locate::offset_of(source, &path);
        let message = "needs at least one name".to_owned();
        return Err(wrong(source, origin, offset, &path, message));
    }
    Ok(Some(list))
}

/// One of the listed scenarios cannot be loaded.
pub(super) fn misplaced(
    source: &str,
    origin: &str,
    index: usize,
    message: String,
) -> ScenarioError {
    let path = [Step::from("scenarios"), Step::from(index)];
    let offset = locate::offset_of(source, &path);
    wrong(source, origin, offset, &path, message)
}

fn wrong(
    source: &str,
    origin: &str,
    offset: usize,
    path: &[Step],
    message: String,
) -> ScenarioError {
    let (line, column) = locate::line_column(source, offset);
    ScenarioError::Invalid {
        file: origin.to_owned(),
        line,
        column,
        field: locate::display(path),
        message,
    }
}
