//! A certificate chain with its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};

use super::certificate::{Facts, date};
use super::read::{self, FileError};

/// A certificate chain and its key, checked.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The file of the chain.
    pub file: PathBuf,
    /// Whose certificate it is (RFC 4514).
    pub subject: String,
    /// The DNS names it stands for, in lower case; `*.example.org` for one label.
    pub names: Vec<String>,
    /// When the first certificate of the chain expires, in seconds since 1970.
    pub not_after: i64,
    pub(super) key: Arc<CertifiedKey>,
}

/// Which of the two files is wrong.
#[derive(Debug)]
pub(super) enum Wrong {
    Cert(FileError),
    Key(FileError),
}

impl Pair {
    /// Reads and checks a chain and its key; `now` in seconds since 1970.
    pub(super) fn load(
        cert: &Path,
        key: &Path,
        now: i64,
        provider: &CryptoProvider,
    ) -> Result<Self, Wrong> {
        let chain = read::certificates(cert).map_err(Wrong::Cert)?;
        let facts = facts(cert, &chain).map_err(Wrong::Cert)?;
        let signing = read::key(key).and_then(|der| {
            let loaded = provider.key_provider.load_private_key(der);
            loaded.map_err(|cause| FileError::UnusableKey {
                path: key.to_owned(),
                cause: cause.to_string(),
            })
        });
        let signing = signing.map_err(Wrong::Key)?;
        belongs(cert, key, &chain, &facts, &signing)?;
        in_order(cert, &facts).map_err(Wrong::Cert)?;
        valid(cert, &facts, now).map_err(Wrong::Cert)?;
        let (subject, names) = facts
            .first()
            .map(|first| (first.subject.clone(), first.names.clone()))
            .unwrap_or_default();
        Ok(Self {
            file: cert.to_owned(),
            subject,
            names,
            not_after: facts.iter().map(|one| one.not_after).min().unwrap_or(now),
            key: Arc::new(CertifiedKey::new(chain, signing)),
        })
    }

    /// Whole days from `now`, in seconds since 1970, to the end of validity; negative afterwards.
    #[must_use]
    pub fn days_left(&self, now: i64) -> i64 {
        (self.not_after - now).div_euclid(24 * 3600)
    }
}

fn facts(path: &Path, chain: &[CertificateDer<'static>]) -> Result<Vec<Facts>, FileError> {
    let parse = |(n, der): (usize, &CertificateDer<'static>)| {
        Facts::of(der).ok_or_else(|| FileError::NotACertificate {
            path: path.to_owned(),
            nth: n + 1,
        })
    };
    chain.iter().enumerate().map(parse).collect()
}

/// The key is that of the first certificate.
fn belongs(
    cert: &Path,
    key: &Path,
    chain: &[CertificateDer<'static>],
    facts: &[Facts],
    signing: &Arc<dyn SigningKey>,
) -> Result<(), Wrong> {
    let is_of = |der: &CertificateDer<'static>| {
        let one = CertifiedKey::new(vec![der.clone()], Arc::clone(signing));
        !matches!(
            one.keys_match(),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch))
        )
    };
    match chain.iter().position(is_of) {
        Some(0) => Ok(()),
        Some(n) => Err(Wrong::Cert(FileError::NotFirst {
            path: cert.to_owned(),
            nth: n + 1,
        })),
        None => Err(Wrong::Key(FileError::AnotherKey {
            cert: cert.to_owned(),
            key: key.to_owned(),
            subject: facts
                .first()
                .map(|one| one.subject.clone())
                .unwrap_or_default(),
        })),
    }
}

/// Each certificate is followed by that of its issuer.
fn in_order(path: &Path, facts: &[Facts]) -> Result<(), FileError> {
    for (n, (one, next)) in facts.iter().zip(facts.iter().skip(1)).enumerate() {
        if !one.is_issued_by(next) {
            return Err(FileError::OutOfOrder {
                path: path.to_owned(),
                nth: n + 1,
                issuer: one.issuer.clone(),
                next: next.subject.clone(),
            });
        }
    }
    Ok(())
}

fn valid(path: &Path, facts: &[Facts], now: i64) -> Result<(), FileError> {
    for (n, one) in facts.iter().enumerate() {
        let (path, nth, subject) = (path.to_owned(), n + 1, one.subject.clone());
        if now > one.not_after {
            let when = date(one.not_after);
            return Err(FileError::Expired {
                path,
                nth,
                subject,
                when,
            });
        }
        if now < one.not_before {
            let when = date(one.not_before);
            return Err(FileError::NotYetValid {
                path,
                nth,
                subject,
                when,
            });
        }
    }
    Ok(())
}
