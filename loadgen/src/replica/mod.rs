//! The stand-in API.

pub mod command;
