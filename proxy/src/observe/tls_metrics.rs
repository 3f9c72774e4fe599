//! Metrics of TLS and the PROXY protocol.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Metrics of TLS and the PROXY protocol.
#[derive(Debug)]
pub struct TlsMetrics {
    handshakes: IntCounterVec,
    days_left: IntGaugeVec,
    reloads: IntCounterVec,
    /// Connections closed for what stood where a PROXY header should, or because nobody trusts the sender.
    pub proxy_refused: IntCounterVec,
}

/// How a handshake with a client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// A new session.
    Full,
    /// A session of an earlier connection goes on.
    Resumed,
    /// Broken off, by either side.
    Failed,
    /// Not done within `timeouts.client_header`.
    TimedOut,
    /// Closed for the sake of others, or because the process ends.
    GaveWay,
}

impl HandshakeOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::GaveWay => "gave_way",
        }
    }
}

impl TlsMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let days_left = IntGaugeVec::new(
            Opts::new(
                "weir_tls_certificate_days_left",
                "Whole days until a certificate of a listener expires; negative afterwards.",
            ),
            &["certificate"],
        )?;
        registry.register(Box::new(days_left.clone()))?;
        Ok(Self {
            handshakes: counters(
                "weir_tls_handshakes_total",
                "TLS handshakes with clients, by version (none before one is agreed on) and outcome.",
                &["version", "outcome"],
            )?,
            days_left,
            reloads: counters(
                "weir_tls_reloads_total",
                "Files of certificates and keys read again because they had changed: replaced, or failed and the old ones kept.",
                &["outcome"],
            )?,
            proxy_refused: counters(
                "weir_proxy_protocol_refused_total",
                "Connections closed where a PROXY protocol header is due: from a stranger, malformed, timed_out.",
                &["reason"],
            )?,
        })
    }

    /// Counts a handshake with a client.
    pub fn handshake(&self, version: &str, outcome: HandshakeOutcome) {
        self.counter(version, outcome).inc();
    }

    fn counter(&self, version: &str, outcome: HandshakeOutcome) -> IntCounter {
        self.handshakes
            .with_label_values(&[version, outcome.as_str()])
    }

    /// Counts files that were read again.
    pub fn reload(&self, replaced: bool) {
        let outcome = if replaced { "replaced" } else { "failed" };
        self.reloads.with_label_values(&[outcome]).inc();
    }

    /// Tells of all certificates in use: file and whole days left.
    pub fn set_certificates(&self, certificates: impl IntoIterator<Item = (String, i64)>) {
        self.days_left.reset();
        for (file, days) in certificates {
            self.days_left.with_label_values(&[file.as_str()]).set(days);
        }
    }
}
