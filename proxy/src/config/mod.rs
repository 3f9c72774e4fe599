//! The configuration file for people: `weir check`, and errors as a terminal shows them.
//!
//! Reading and checking is in [`weir_api::config`], where the load generator finds it too.

mod render;
mod summary;

use std::path::Path;

pub use weir_api::config::*;

pub use render::render;
pub use summary::Summary;

/// Checks a file as `weir run` would read it: what it asks for, or every error with its line.
///
/// # Errors
/// The errors, rendered for a terminal as whole lines.
pub fn check(path: impl AsRef<Path>) -> Result<Summary, String> {
    load(path)
        .map(|config| Summary::new(&config))
        .map_err(|errors| render(&errors))
}
