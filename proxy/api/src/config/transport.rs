//! How connections to the servers of an upstream are made. In the file it stands in `[upstream.NAME]`; unlike
//! the live settings there it changes only when the file is read again.

use std::path::PathBuf;

use serde::Deserialize;

/// How connections to servers are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transport {
    /// TLS; none: in the clear.
    pub tls: Option<UpstreamTls>,
    /// The header that begins each connection; none: no header.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// TLS to the servers of an upstream (nginx: `proxy_ssl_*`). An empty table verifies with the system's roots.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// Authorities that sign the servers' certificates, PEM; none: the system's roots (nginx:
    /// `proxy_ssl_trusted_certificate`).
    pub ca: Option<PathBuf>,
    /// The name that is asked for and verified; none: the host of the server's address (nginx:
    /// `proxy_ssl_name`).
    pub server_name: Option<String>,
    /// Our own certificate chain, PEM (nginx: `proxy_ssl_certificate`).
    pub cert: Option<PathBuf>,
    /// Our own key, PEM (nginx: `proxy_ssl_certificate_key`).
    pub key: Option<PathBuf>,
    /// Whether the server's certificate is verified (nginx: `proxy_ssl_verify`, off there).
    pub verify: bool,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self {
            ca: None,
            server_name: None,
            cert: None,
            key: None,
            verify: true,
        }
    }
}

impl ProxyProtocol {
    /// As the file writes it: `v1`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}
