//! Where load may go: this machine, unless somebody vouches for another host by name.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
};

/// Why a target may not be driven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL this program can drive.
    #[error(
        "target `{url}` is not usable: {why}; write it like http://127.0.0.1:8080 or https://127.0.0.1:8443"
    )]
    Malformed {
        /// As given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Another machine, and nobody said it may be loaded.
    #[error(
        "target `{host}` is not this machine ({address}); if you own it and it may be loaded, add `--target-approved {host}`"
    )]
    NotApproved {
        /// Host as given.
        host: String,
        /// Where it resolves to.
        address: SocketAddr,
    },
    /// No target at all.
    #[error("no target given; add `--target http://127.0.0.1:PORT`")]
    Missing,
}

/// One base URL, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    address: SocketAddr,
    secure: bool,
    host: String,
    authority: String,
}

impl BaseUrl {
    /// Where connections go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is `https`: TLS goes first.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Host as given, without port; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and port for the `Host` header.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority)
    }
}

/// What a run drives: one or more base URLs that share the load evenly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    base_urls: Vec<BaseUrl>,
}

impl Target {
    /// Resolves base URLs and makes sure that they may be driven: loopback addresses, or hosts
    /// listed in `approved`.
    ///
    /// # Errors
    ///
    /// When a URL is malformed, does not resolve, or names another machine without approval.
    pub fn new<U: AsRef<str>>(urls: &[U], approved: &[String]) -> Result<Self, TargetError> {
        let base_urls = urls
            .iter()
            .map(|url| resolve(url.as_ref(), approved))
            .collect::<Result<Vec<_>, _>>()?;
        if base_urls.is_empty() {
            return Err(TargetError::Missing);
        }
        Ok(Self { base_urls })
    }

    /// A target on this machine.
    ///
    /// # Errors
    ///
    /// When the address is not a loopback address.
    pub fn local(address: SocketAddr) -> Result<Self, TargetError> {
        Self::new(&[format!("http://{address}")], &[])
    }

    /// Something that this program itself has started, wherever on this machine it listens.
    #[must_use]
    pub fn own(address: SocketAddr) -> Self {
        Self {
            base_urls: vec![BaseUrl {
                address,
                secure: false,
                host: address.ip().to_string(),
                authority: address.to_string(),
            }],
        }
    }

    /// The base URLs; never empty.
    pub fn base_urls(&self) -> &[BaseUrl] {
        &self.base_urls
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, base) in self.base_urls.iter().enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            base.fmt(f)?;
        }
        Ok(())
    }
}

fn resolve(url: &str, approved: &[String]) -> Result<BaseUrl, TargetError> {
    let malformed = |why: &str| TargetError::Malformed {
        url: url.to_owned(),
        why: why.to_owned(),
    };
    let uri: http::Uri = url
        .parse()
        .map_err(|error: http::uri::InvalidUri| malformed(&error.to_string()))?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(malformed("the scheme must be http or https")),
    };
    if uri
        .path_and_query()
        .is_some_and(|path| path.as_str() != "/")
    {
        return Err(malformed(
            "a base URL has no path; paths come from the scenario",
        ));
    }
    let host = uri.host().ok_or_else(|| malformed("it has no host"))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let mut addresses = (bare, port)
        .to_socket_addrs()
        .map_err(|error| malformed(&format!("`{host}` does not resolve ({error})")))?;
    let address = addresses
        .next()
        .ok_or_else(|| malformed(&format!("`{host}` does not resolve")))?;
    if !address.ip().is_loopback() && !approved.iter().any(|name| name == bare) {
        return Err(TargetError::NotApproved {
            host: bare.to_owned(),
            address,
        });
    }
    Ok(BaseUrl {
        address,
        secure,
        host: bare.to_owned(),
        authority: format!("{host}:{port}"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_allowed_as_it_is() {
        let target = Target::new(&["http://127.0.0.1:8080", "http://127.0.0.9:81/"], &[]).unwrap();
        assert_eq!(target.base_urls().len(), 2);
        assert_eq!(target.base_urls()[0].authority(), "127.0.0.1:8080");
        assert_eq!(target.base_urls()[1].to_string(), "http://127.0.0.9:81");
    }

    #[test]
    fn https_has_its_own_port() {
        let target = Target::new(&["https://127.0.0.1", "https://localhost:8443"], &[]).unwrap();
        let [plain, named] = target.base_urls() else {
            unreachable!("two base URLs");
        };
        assert!(plain.is_secure() && plain.address().port() == 443);
        assert_eq!(named.host(), "localhost");
        assert_eq!(named.to_string(), "https://localhost:8443");
    }

    #[test]
    fn another_machine_needs_approval_by_name() {
        let url = ["http://192.0.2.1:80"];
        let error = Target::new(&url, &[]).unwrap_err();
        assert!(matches!(error, TargetError::NotApproved { .. }));
        assert!(error.to_string().contains("--target-approved 192.0.2.1"));
        assert!(Target::new(&url, &["192.0.2.1".into()]).is_ok());
    }

    #[test]
    fn what_cannot_be_driven_is_refused_with_a_reason() {
        for bad in [
            "127.0.0.1:80",
            "ftp://127.0.0.1",
            "http://127.0.0.1/api",
            "http://",
            "not a url",
        ] {
            let error = Target::new(&[bad], &[]).unwrap_err();
            assert!(matches!(error, TargetError::Malformed { .. }), "{bad}");
        }
        assert_eq!(Target::new::<&str>(&[], &[]), Err(TargetError::Missing));
    }
}
