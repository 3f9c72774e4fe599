//! Metrics of gRPC.

use prometheus::{IntCounterVec, Opts, Registry};

use super::metrics::register;

/// Highest status that gRPC defines.
const MAX_STATUS: u16 = 16;

/// Counters of gRPC calls.
#[derive(Debug)]
pub struct GrpcMetrics {
    requests: IntCounterVec,
}

// === impl GrpcMetrics ===

impl GrpcMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(
            "weir_grpc_requests_total",
            "gRPC calls, by route and grpc-status; \"none\" where there was no status to pass on.",
        );
        let requests = IntCounterVec::new(opts, &["route", "grpc_status"])?;
        Ok(Self {
            requests: register(r, requests)?,
        })
    }

    /// Counts a call.
    pub fn count(&self, route: &str, status: Option<u16>) {
        let text;
        let label = match status {
            None => "none",
            // Servers may send anything; series are bounded all the same.
            Some(n) if n > MAX_STATUS => "other",
            Some(n) => {
                text = n.to_string();
                &text
            }
        };
        self.requests.with_label_values(&[route, label]).inc();
    }
}
