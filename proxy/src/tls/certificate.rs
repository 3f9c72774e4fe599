//! What a certificate says of itself.

use std::fmt::Write as _;

use chrono::DateTime;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::Oid;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The facts of a certificate that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whose it is (RFC 4514).
    pub(super) subject: String,
    /// Who issued it (RFC 4514).
    pub(super) issuer: String,
    /// The same two as they are encoded, for comparing.
    subject_raw: Vec<u8>,
    issuer_raw: Vec<u8>,
    /// Validity in seconds since 1970, ends included.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// DNS names, in lower case; those of the common name if there are no alternative names.
    pub(super) names: Vec<String>,
}

impl Facts {
    /// Parses a certificate; none if it is not one.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        let tbs = &parsed.tbs_certificate;
        rest.is_empty().then(|| Self {
            subject: distinguished_name(&tbs.subject),
            issuer: distinguished_name(&tbs.issuer),
            subject_raw: tbs.subject.as_raw().to_vec(),
            issuer_raw: tbs.issuer.as_raw().to_vec(),
            not_before: tbs.validity.not_before.timestamp(),
            not_after: tbs.validity.not_after.timestamp(),
            names: names(&parsed),
        })
    }

    /// Whether `other` bears the name of this one's issuer.
    pub(super) fn is_issued_by(&self, other: &Self) -> bool {
        self.issuer_raw == other.subject_raw
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    if let Some(alternative) = alternative {
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        return alternative
            .value
            .general_names
            .iter()
            .filter_map(dns)
            .collect();
    }
    let common = certificate.subject().iter_common_name();
    common
        .filter_map(|name| name.as_str().ok())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// A time for people: `2026-11-30 12:00:00 UTC`.
pub(super) fn date(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map_or_else(
        || seconds.to_string(),
        |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// A name as RFC 4514 writes it, the most specific part first. Whatever is not printable ASCII is escaped
/// byte by byte, so that it can stand in a header and in a log whoever has chosen it.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut out = String::new();
    for part in parts.into_iter().rev() {
        if !out.is_empty() {
            out.push(',');
        }
        for (n, attribute) in part.iter().enumerate() {
            if n > 0 {
                out.push('+');
            }
            attribute_text(attribute, &mut out);
        }
    }
    out
}

fn attribute_text(attribute: &AttributeTypeAndValue<'_>, out: &mut String) {
    out.push_str(&short_name(attribute.attr_type()));
    out.push('=');
    let value = attribute.as_slice();
    for (n, &byte) in value.iter().enumerate() {
        let at_an_end = n == 0 || n + 1 == value.len();
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' if at_an_end => out.push_str("\\ "),
            b'#' if n == 0 => out.push_str("\\#"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

/// `CN`, `O` …, or the numbers.
fn short_name(kind: &Oid<'_>) -> String {
    let known = match kind.to_id_string().as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        numbers => return numbers.to_owned(),
    };
    known.to_owned()
}
