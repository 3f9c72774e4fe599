//! Where clients connect (`[[listener]]`).

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer};

/// The beginning of an address that is a Unix socket.
pub const UNIX_PREFIX: &str = "unix:";

/// The longest path of a Unix socket that Linux takes, without the final NUL (`sun_path`, unix(7)).
const MAX_UNIX_PATH: usize = 107;

/// Where clients connect (`[[listener]]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, or a Unix socket (nginx: `listen`).
    pub address: ListenAddress,
    /// TLS; none: in the clear (nginx: `listen … ssl`).
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// Whether HTTP/2 is offered with TLS, by ALPN (nginx: `http2`).
    #[serde(default = "yes")]
    pub http2: bool,
    /// Whether clients may speak HTTP/2 in the clear, with prior knowledge (nginx: `http2`); never with TLS.
    #[serde(default)]
    pub h2c: bool,
    /// Whether connections begin with a PROXY protocol header, taken from `client.trusted_proxies` only (nginx:
    /// `listen … proxy_protocol`).
    #[serde(default)]
    pub proxy_protocol: bool,
}

const fn yes() -> bool {
    true
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 asks for any free one.
    Inet(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// What an address of a listener looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither an IP address with a port nor unix:/PATH")]
pub struct BadListenAddress;

/// Certificates and rules of a listener with TLS (`tls`); at least one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "TlsTable")]
pub struct ListenerTls {
    /// Certificates with their keys; the first is the default (nginx: `ssl_certificate`).
    pub certificates: Vec<CertificateFiles>,
    /// The only certificate stands in the table itself, as `cert` and `key`.
    pub short: bool,
    /// The oldest version that is spoken (nginx: `ssl_protocols`).
    pub min_version: TlsVersion,
    /// Authorities of client certificates, PEM (nginx: `ssl_client_certificate`).
    pub client_ca: Option<PathBuf>,
    /// Whether clients show a certificate (nginx: `ssl_verify_client`).
    pub client_auth: ClientAuth,
}

/// A certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// Certificate chain, PEM, the certificate of the key first.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked; one that is shown must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// The table as it is written, short or by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    certificates: Vec<CertificateFiles>,
    #[serde(default)]
    min_version: TlsVersion,
    client_ca: Option<PathBuf>,
    client_auth: Option<ClientAuth>,
}

// === impl ListenAddress ===

impl ListenAddress {
    /// The IP address and port, if it is one.
    #[must_use]
    pub const fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl FromStr for ListenAddress {
    type Err = BadListenAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match unix_path(text) {
            Some(path) => Ok(Self::Unix(path.to_owned())),
            None => text.parse().map(Self::Inet).map_err(|_| BadListenAddress),
        }
    }
}

impl fmt::Display for ListenAddress {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The path in `unix:/PATH`; none for any other text, and for a path that is not absolute or too long.
#[must_use]
pub fn unix_path(text: &str) -> Option<&Path> {
    let path = text.strip_prefix(UNIX_PREFIX)?;
    let good = path.starts_with('/')
        && path.len() > 1
        && path.len() <= MAX_UNIX_PATH
        && !path.chars().any(char::is_control);
    good.then(|| Path::new(path))
}

// === impl ListenerTls ===

impl From<TlsTable> for ListenerTls {
    fn from(table: TlsTable) -> Self {
        let short = table.cert.zip(table.key);
        let short = short.map(|(cert, key)| CertificateFiles { cert, key });
        // Whoever names authorities wants them asked for.
        let asked = if table.client_ca.is_some() {
            ClientAuth::Required
        } else {
            ClientAuth::Off
        };
        Self {
            short: short.is_some(),
            certificates: short.into_iter().chain(table.certificates).collect(),
            min_version: table.min_version,
            client_ca: table.client_ca,
            client_auth: table.client_auth.unwrap_or(asked),
        }
    }
}

impl TlsVersion {
    /// As the file writes it: `1.2`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

impl ClientAuth {
    /// As the file writes it: `optional`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_the_same() {
        for text in ["127.0.0.1:80", "[::1]:443", "unix:/run/weir/front.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(MAX_UNIX_PATH));
        for text in ["", "80", "unix:", "unix:/", "unix:a", "unix:/\n", &long] {
            assert_eq!(text.parse::<ListenAddress>(), Err(BadListenAddress));
        }
    }

    fn tls(text: &str) -> ListenerTls {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_short_form_is_one_certificate() {
        let short = tls("cert = \"a.pem\"\nkey = \"b.pem\"");
        let long = tls("certificates = [ { cert = \"a.pem\", key = \"b.pem\" } ]");
        assert_eq!(short.certificates, long.certificates);
        assert!(short.short && !long.short);
        assert_eq!(short.client_auth, ClientAuth::Off);
        assert_eq!(short.min_version, TlsVersion::Tls12);
    }

    #[test]
    fn whoever_names_authorities_asks_for_certificates() {
        let asks = "cert = \"a\"\nkey = \"b\"\nclient_ca = \"c\"\n";
        assert_eq!(tls(asks).client_auth, ClientAuth::Required);
        let off = format!("{asks}client_auth = \"off\"");
        assert_eq!(tls(&off).client_auth, ClientAuth::Off);
    }
}
