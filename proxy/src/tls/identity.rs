//! Who a client with a certificate is.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::certificate::Facts;

/// The holder of a client certificate that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Whose certificate it is (RFC 4514), printable ASCII.
    pub subject: String,
    /// SHA-256 of the certificate in DER, 64 hexadecimal digits in lower case.
    pub fingerprint: String,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

impl ClientIdentity {
    /// The identity in a certificate; none if it cannot be parsed.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let facts = Facts::of(certificate)?;
        let mut fingerprint = String::with_capacity(64);
        for byte in Sha256::digest(certificate) {
            // Writing to a string cannot fail.
            let _ = write!(fingerprint, "{byte:02x}");
        }
        Some(Self {
            subject: facts.subject,
            fingerprint,
            not_after: facts.not_after,
        })
    }
}
