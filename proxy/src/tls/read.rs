//! PEM files: certificates, keys, authorities.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong with a file of certificates or with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The system does not give it.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Nothing of the kind is in it.
    #[error("{}: holds no {wanted} in PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The PEM is broken.
    #[error("{}: is not good PEM: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        cause: String,
    },
    /// What is inside the PEM is no certificate.
    #[error("{}: certificate {nth} cannot be parsed", path.display())]
    NotACertificate {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        nth: usize,
    },
    /// The key needs a passphrase.
    #[error("{}: the key is encrypted", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that is not supported.
    #[error("{}: the key cannot be used: {cause}", path.display())]
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// Certificate and key are not a pair.
    #[error("{} is not the key of {} (its subject: {subject})", key.display(), cert.display())]
    AnotherKey {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Whose certificate it is.
        subject: String,
    },
    /// The certificate of the key is not the first.
    #[error("{}: the certificate of the key is number {nth}, not the first", path.display())]
    NotFirst {
        /// The file.
        path: PathBuf,
        /// Which one it is, from 1.
        nth: usize,
    },
    /// A certificate is not signed by the one that follows.
    #[error(
        "{}: certificate {nth} was issued by {issuer}, but the one after it is of {next}", path.display()
    )]
    OutOfOrder {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        nth: usize,
        /// Who issued it.
        issuer: String,
        /// The subject of the certificate after it.
        next: String,
    },
    /// A certificate is too old.
    #[error("{}: certificate {nth} ({subject}) expired on {when}", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        nth: usize,
        /// Whose it is.
        subject: String,
        /// The end of its validity, in UTC.
        when: String,
    },
    /// A certificate is too new.
    #[error("{}: certificate {nth} ({subject}) is not valid before {when}", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        nth: usize,
        /// Whose it is.
        subject: String,
        /// The start of its validity, in UTC.
        when: String,
    },
    /// Certificate 1 of the authorities cannot stand as one.
    #[error("{}: certificate {nth} cannot be an authority: {cause}", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        nth: usize,
        /// Why not.
        cause: String,
    },
    /// This machine has no authorities.
    #[error("the system has no certificates of authorities: {cause}")]
    NoSystemRoots {
        /// What was found instead.
        cause: String,
    },
    /// rustls refuses what has passed all checks here.
    #[error("TLS cannot be set up: {cause}")]
    Refused {
        /// Why.
        cause: String,
    },
}

impl FileError {
    /// What would be right.
    #[must_use]
    pub fn remedy(&self) -> String {
        let fixed = match self {
            Self::Unreadable { .. } => "a file that exists and that this process may read",
            Self::Empty {
                wanted: "private key",
                ..
            } => {
                "a private key in PEM (\"-----BEGIN PRIVATE KEY-----\", or with RSA or EC before PRIVATE)"
            }
            Self::Empty { .. } | Self::NotACertificate { .. } => {
                "certificates in PEM (\"-----BEGIN CERTIFICATE-----\")"
            }
            Self::Pem { .. } => "complete PEM sections, from BEGIN to END",
            Self::EncryptedKey { path } => {
                return format!(
                    "a key without a passphrase, readable by this process only: openssl pkey -in {} -out FILE",
                    path.display()
                );
            }
            Self::UnusableKey { .. } => {
                "an RSA key of at least 2048 bits, an ECDSA key on P-256 or P-384, or an Ed25519 key"
            }
            Self::AnotherKey { .. } => "the key with which this certificate was requested",
            Self::NotFirst { .. } | Self::OutOfOrder { .. } => {
                "the certificate of the key first, then the one that issued it, and so on"
            }
            Self::Expired { .. } => "a renewed certificate",
            Self::NotYetValid { .. } => {
                "a certificate that is valid today, and a clock that is right"
            }
            Self::NotAnAuthority { .. } => "the certificates of authorities",
            Self::NoSystemRoots { .. } => {
                "the package ca-certificates, or ca = \"FILE\" with the authorities"
            }
            Self::Refused { .. } => "files that go together",
        };
        fixed.to_owned()
    }
}

/// The certificates of a file, in its order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = bytes(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|cause| broken(path, &cause))?;
    if found.is_empty() {
        let path = path.to_owned();
        return Err(FileError::Empty {
            path,
            wanted: "certificate",
        });
    }
    Ok(found)
}

/// The first private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = bytes(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) if !is_encrypted(&text) => Ok(key),
        Ok(_) | Err(pem::Error::NoItemsFound) if is_encrypted(&text) => {
            let path = path.to_owned();
            Err(FileError::EncryptedKey { path })
        }
        Ok(_) | Err(pem::Error::NoItemsFound) => Err(FileError::Empty {
            path: path.to_owned(),
            wanted: "private key",
        }),
        Err(cause) => Err(broken(path, &cause)),
    }
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for (n, certificate) in certificates(path)?.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|cause| FileError::NotAnAuthority {
                path: path.to_owned(),
                nth: n + 1,
                cause: cause.to_string(),
            })?;
    }
    Ok(roots)
}

/// The authorities that this machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` say where else to look.
pub(super) fn system_authorities() -> Result<RootCertStore, FileError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let cause = found.errors.first().map(ToString::to_string);
    Err(FileError::NoSystemRoots {
        cause: cause.unwrap_or_else(|| "none found".to_owned()),
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|cause| FileError::Unreadable {
        path: path.to_owned(),
        cause: cause.to_string(),
    })
}

/// Both ways in which OpenSSL writes a key with a passphrase.
fn is_encrypted(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn broken(path: &Path, cause: &pem::Error) -> FileError {
    let cause = match cause {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line".to_owned(),
        pem::Error::IllegalSectionStart { line } => {
            format!("a bad BEGIN line: {}", String::from_utf8_lossy(line).trim())
        }
        pem::Error::Base64Decode(_) => "a section is not base64".to_owned(),
        other => other.to_string(),
    };
    FileError::Pem {
        path: path.to_owned(),
        cause,
    }
}
