//! The configurations of proxies: the only place that writes them.

pub mod compared;
pub(crate) mod derived;
pub mod tuned;
