//! The configuration file for people: `weir check`, and errors as a terminal shows them.
//!
//! Reading and checking is in [`weir_api::config`], where the load generator finds it too.

mod places;
mod render;
mod summary;

use std::path::Path;

pub use weir_api::config::*;

use crate::tls::Credentials;

pub use render::render;
pub use summary::Summary;

/// Checks a file as `weir run` would read it, and the folders that it would make files in: what the file asks for, or
/// every error with its line.
///
/// # Errors
/// The errors, rendered for a terminal as whole lines.
pub fn check(path: impl AsRef<Path>) -> Result<Summary, String> {
    let path = path.as_ref();
    let (config, _) = read(path)
        .and_then(|text| parse_with_credentials(&text, path))
        .map_err(|errors| render(&errors))?;
    let problems = places::unusable(&config);
    if problems.is_empty() {
        return Ok(Summary::new(&config));
    }
    let lines = problems
        .iter()
        .map(|(field, why)| format!("{}: {field}: {why}\n", path.display()));
    Err(lines.collect())
}

/// Parses the text of the file at `path`, and reads the certificates and keys that it names.
///
/// # Errors
/// Everything that is wrong with the text; or else with those files.
pub fn parse_with_credentials(
    text: &str,
    path: &Path,
) -> Result<(Config, Credentials), ConfigErrors> {
    let name = path.display().to_string();
    let mut config = parse(text, &name)?;
    config.folder = path.parent().map(Into::into).unwrap_or_default();
    match Credentials::load(&config) {
        Ok(credentials) => Ok((config, credentials)),
        Err(problems) => Err(locate(text, &name, problems.into_vec())),
    }
}
