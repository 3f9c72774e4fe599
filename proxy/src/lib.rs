#![forbid(unsafe_code)]

pub mod limit;
pub mod upstream;
