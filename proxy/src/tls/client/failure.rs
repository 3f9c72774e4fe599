//! Why a handshake with a server failed, in words.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use crate::tls::certificate::date;

/// Why a handshake failed, for the log: what is wrong with the server's certificate, or what the server
/// did not like about ours. Anything else is said as it comes.
#[must_use]
pub fn handshake_failure(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(what)) => certificate(what),
        Some(Error::AlertReceived(alert)) => refused_by_server(*alert),
        Some(Error::InvalidMessage(_)) => "the server does not speak TLS".to_owned(),
        Some(Error::PeerIncompatible(what)) => {
            format!("the server and weir have no version or cipher in common: {what:?}")
        }
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection during the TLS handshake".to_owned()
        }
        None => error.to_string(),
    }
}

fn certificate(what: &CertificateError) -> String {
    let when = |time: &UnixTime| date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    match what {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the server's certificate expired on {}", when(not_after))
        }
        CertificateError::Expired => "the server's certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the server's certificate is not valid before {}",
            when(not_before)
        ),
        CertificateError::NotValidYet => "the server's certificate is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "the server's certificate is not for {} but for {}",
            expected.to_str(),
            match presented.as_slice() {
                [] => "no name".to_owned(),
                names => names
                    .iter()
                    .map(|name| plain(name))
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        ),
        CertificateError::NotValidForName => {
            "the server's certificate is for another name".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is not signed by a trusted authority (tls.ca)".to_owned()
        }
        CertificateError::Revoked => "the server's certificate has been revoked".to_owned(),
        other => format!("the server's certificate is not good: {other}"),
    }
}

/// A name without the kind that rustls puts around it: `DnsName("api.test")`, `IpAddress(::1)`.
fn plain(name: &str) -> &str {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn refused_by_server(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server wants a client certificate (tls.cert and tls.key)".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => {
            format!("the server refused our client certificate: {alert:?}")
        }
        AlertDescription::UnrecognisedName => {
            "the server knows no site of this name (tls.server_name)".to_owned()
        }
        other => format!("the server broke the TLS handshake off: {other:?}"),
    }
}
