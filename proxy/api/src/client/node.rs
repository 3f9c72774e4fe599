//! Where an admin API is, and what it wants to see.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    time::Duration,
};

use reqwest::{Url, header};

use super::ClientError;

const EXPECTED: &str =
    "write address:port such as 127.0.0.1:9900, https://host:port, or unix:/path/of/the/socket";

/// Where an admin API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    base: Url,
    socket: Option<PathBuf>,
    text: String,
}

impl Node {
    /// Reads `127.0.0.1:9900`, `name:9900`, `http://…`, `https://…` or `unix:/path`.
    ///
    /// # Errors
    /// Anything else, and a name that does not resolve; says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |reason: &str| format!("{reason}; {EXPECTED}");
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(wrong("the path of a socket begins with /"));
            }
            return Ok(Self {
                base: base("http://localhost")?,
                socket: Some(PathBuf::from(path)),
                text: text.to_owned(),
            });
        }
        if text.contains("://") {
            let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
            let bare = matches!(url.path(), "" | "/") && url.query().is_none();
            if !matches!(url.scheme(), "http" | "https") || !bare || url.host().is_none() {
                return Err(wrong("not the address of a host"));
            }
            return Ok(Self {
                base: url,
                socket: None,
                text: text.trim_end_matches('/').to_owned(),
            });
        }
        let address = match text.parse() {
            Ok(address) => address,
            Err(_) => text
                .to_socket_addrs()
                .map_err(|error| wrong(&error.to_string()))?
                .next()
                .ok_or_else(|| wrong("no such address"))?,
        };
        Ok(Self::from(address))
    }

    pub(super) fn url(&self) -> &Url {
        &self.base
    }
}

fn base(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| error.to_string())
}

impl From<SocketAddr> for Node {
    fn from(address: SocketAddr) -> Self {
        let mut url = Url::parse("http://localhost").unwrap_or_else(|_| unreachable!("a constant"));
        // An http URL has a host and a port.
        let _ = url.set_ip_host(address.ip());
        let _ = url.set_port(Some(address.port()));
        Self {
            base: url,
            socket: None,
            text: address.to_string(),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is shown to an admin API, and what it must show.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The token.
    pub token: Option<String>,
    /// Certificates in PEM that may have signed the API's own; without them those of the system.
    pub ca: Option<Vec<u8>>,
}

/// A client builder for a node.
pub(super) fn builder(
    node: &Node,
    credentials: &Credentials,
) -> Result<reqwest::ClientBuilder, ClientError> {
    crate::tls::provide();
    let wrong = |reason: String| ClientError::Unreachable {
        address: node.to_string(),
        reason,
    };
    // A kept connection that is older may be closed by the proxy just as it is used.
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .pool_idle_timeout(Duration::from_secs(5));
    if let Some(path) = &node.socket {
        builder = builder.unix_socket(path.as_path());
    }
    if let Some(token) = &credentials.token {
        let mut value = header::HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| wrong("the token has characters that no token has".to_owned()))?;
        value.set_sensitive(true);
        builder = builder.default_headers([(header::AUTHORIZATION, value)].into_iter().collect());
    }
    if let Some(pem) = &credentials.ca {
        let certificates = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| wrong(format!("the CA certificates: {}", super::chain(&error))))?;
        builder = builder.tls_certs_only(certificates);
    } else if node.base.scheme() == "http" {
        // None is needed, and reading the system's takes a while.
        builder = builder.tls_certs_only([]);
    }
    Ok(builder)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_written_in_several_ways() {
        for (text, base) in [
            ("127.0.0.1:9900", "http://127.0.0.1:9900/"),
            ("[::1]:9900", "http://[::1]:9900/"),
            ("https://proxy.example:9900/", "https://proxy.example:9900/"),
            ("unix:/run/weir/admin.sock", "http://localhost/"),
        ] {
            assert_eq!(Node::parse(text).unwrap().url().as_str(), base);
        }
        for wrong in ["", "9900", "unix:run", "ftp://a:1", "http://a/b", "http://"] {
            let error = Node::parse(wrong).unwrap_err();
            assert!(error.contains("write address:port"), "{wrong}: {error}");
        }
    }
}
