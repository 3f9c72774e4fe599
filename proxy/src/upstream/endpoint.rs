//! Where a server is.

use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use weir_api::config::{UNIX_PREFIX, unix_path};

/// The longest path of a Unix socket (`sun_path`, unix(7)), without the final NUL.
const MAX_PATH: usize = 107;

/// Where a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// An address and a port.
    Inet(SocketAddr),
    /// A Unix socket.
    Unix(UnixPath),
}

/// The path of a Unix socket; short enough to be copied like an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixPath {
    length: u8,
    bytes: [u8; MAX_PATH],
}

impl Endpoint {
    /// The Unix socket in `unix:/PATH`; none for every other text.
    #[must_use]
    pub fn unix(text: &str) -> Option<Self> {
        let path = unix_path(text)?.to_str()?.as_bytes();
        let mut bytes = [0; MAX_PATH];
        bytes.get_mut(..path.len())?.copy_from_slice(path);
        let length = u8::try_from(path.len()).ok()?;
        Some(Self::Unix(UnixPath { length, bytes }))
    }

    /// The port; 0 of a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Inet(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }

    /// Another port of the same host; a Unix socket has none.
    pub fn set_port(&mut self, port: u16) {
        if let Self::Inet(address) = self {
            address.set_port(port);
        }
    }
}

impl UnixPath {
    /// As a path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(self.text())
    }

    fn text(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        // It was text when it was made.
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl FromStr for Endpoint {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::unix(text) {
            Some(endpoint) => Ok(endpoint),
            None => text.parse().map(Self::Inet),
        }
    }
}

impl fmt::Display for Endpoint {
    /// As it is written in the settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.text()),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written_the_same() {
        for text in ["127.0.0.1:80", "[::1]:443", "unix:/run/api.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert!("api:80".parse::<Endpoint>().is_err() && "unix:x".parse::<Endpoint>().is_err());
    }
}
