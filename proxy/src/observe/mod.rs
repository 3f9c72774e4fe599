//! What the proxy tells about itself: metrics, access log, request ids.

mod access_line;
pub mod access_log;
mod allowance;
mod check_metrics;
mod grpc_metrics;
mod http2_metrics;
pub mod log;
pub mod metrics;
mod name_metrics;
mod process;
pub mod profile;
mod request_id;
mod stages;
pub mod stats;
pub mod tls_metrics;

pub use request_id::{RequestId, RequestIds};
pub use stages::{ServerTiming, Stages};
