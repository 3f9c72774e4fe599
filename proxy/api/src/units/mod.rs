//! Quantities as people write them in the configuration and in the admin API.
//!
//! Each type reads its text with [`FromStr`](std::str::FromStr), writes it with
//! [`Display`](std::fmt::Display) and does both in serde; what is written reads back as the same
//! value. Errors say what is allowed.

mod bytes;
pub mod duration;
mod rate;

pub use bytes::ByteSize;
pub use duration::{format_duration, format_timestamp, parse_duration};
pub use rate::Rate;

/// Text that is not the quantity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct UnitError {
    /// What was written.
    pub text: String,
    /// What should have been written.
    pub expected: &'static str,
}

impl UnitError {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.chars().take(80).collect(),
            expected,
        }
    }
}

/// Splits `"10r/s"` into the digits in front and the rest.
fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}
