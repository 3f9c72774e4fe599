//! Run folders and what is kept of runs.

pub mod ceiling;
