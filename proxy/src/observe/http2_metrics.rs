//! Metrics of HTTP/2 connections from clients.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::metrics::register;

/// Metrics of HTTP/2 connections from clients.
pub struct Http2Metrics {
    /// Connections that began with the preface of HTTP/2.
    pub connections: IntCounter,
    floods: IntCounterVec,
}

impl Http2Metrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            connections: register(
                r,
                IntCounter::new(
                    "weir_http2_connections_total",
                    "Client connections that spoke HTTP/2.",
                )?,
            )?,
            floods: register(
                r,
                IntCounterVec::new(
                    Opts::new(
                        "weir_http2_floods_total",
                        "HTTP/2 connections closed with ENHANCE_YOUR_CALM, by what there was too much of.",
                    ),
                    &["kind"],
                )?,
            )?,
        })
    }

    /// There is such a kind of flood.
    pub fn name(&self, kind: &str) {
        self.floods.with_label_values(&[kind]);
    }

    /// A connection has been closed for a flood of this kind.
    pub fn flood(&self, kind: &str) {
        self.floods.with_label_values(&[kind]).inc();
    }
}
