//! TLS and the PROXY protocol on connections to servers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// TLS to the servers of an upstream (nginx: `proxy_ssl_*`). An empty table verifies with the system's roots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// Authorities that sign the servers' certificates, PEM; none: the system's roots (nginx:
    /// `proxy_ssl_trusted_certificate`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The name that is asked for and verified; none: the host of the server's address (nginx:
    /// `proxy_ssl_name`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Our own certificate chain, PEM (nginx: `proxy_ssl_certificate`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Our own key, PEM (nginx: `proxy_ssl_certificate_key`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Whether the server's certificate is verified (nginx: `proxy_ssl_verify`, off there).
    pub verify: bool,
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

/// A version of the PROXY protocol, as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}
