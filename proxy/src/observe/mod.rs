//! What the proxy tells about itself: metrics, access log, request ids.

pub mod access_log;
pub mod metrics;
mod request_id;

pub use request_id::{RequestId, RequestIds};
