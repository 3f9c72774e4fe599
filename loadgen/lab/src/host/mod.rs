//! The machine that everything runs on.

pub mod machine;
pub mod probe;
