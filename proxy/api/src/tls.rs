//! The cryptography behind TLS: *ring*, chosen once for the whole process.
//!
//! reqwest and rustls are built without a provider of their own, so that only one is compiled.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// Makes *ring* the process's provider, unless one was chosen already. Cheap to call again; to be called
/// before a TLS configuration or a `reqwest` client is made.
pub fn provide() {
    // An error says that there is a provider already, which is just as good.
    let _ = ring::default_provider().install_default();
}

/// The process's provider, for a TLS configuration that names it.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    provide();
    let chosen = CryptoProvider::get_default().cloned();
    chosen.unwrap_or_else(|| Arc::new(ring::default_provider()))
}
