//! The PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`): who the client of a
//! connection is, told by the proxy in front in a header before the first byte.

mod v1;
mod v2;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The longest header that is read: a text line has 107 bytes at most; a binary one may have up to 64 KiB of
/// extensions, of which real ones (TLS details, ids of cloud networks) need a few hundred bytes.
pub const MAX_HEADER: usize = 4096;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's: its address, and the one that it connected to.
    Client {
        /// The client's own address.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
    /// Not told, or not an IP connection: the address of the connection itself stands.
    Unknown,
    /// The sender's own, as for its health checks: the address of the connection itself stands.
    Local,
}

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose connection it is.
    pub origin: Origin,
    /// How many bytes the header has.
    pub length: usize,
}

/// Bytes that are not the beginning of a good header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Neither of the two signatures.
    #[error("no PROXY protocol header")]
    Missing,
    /// A text line that breaks its grammar.
    #[error("a malformed PROXY line")]
    Line,
    /// A binary header that breaks its grammar.
    #[error("a malformed PROXY header")]
    Binary,
    /// A version other than 2, or a command other than LOCAL and PROXY, in a binary header.
    #[error("a PROXY header of an unknown version or command")]
    Version,
    /// A header of more than [`MAX_HEADER`] bytes.
    #[error("a PROXY header of more than {MAX_HEADER} bytes")]
    TooLong,
}

/// Reads the header at the start of `input`; none if more bytes are needed. What has been said so far is
/// checked at once, so that a client that speaks something else is not waited for.
///
/// # Errors
/// [`BadHeader`], as soon as no further byte could make it good.
pub fn parse(input: &[u8]) -> Result<Option<Header>, BadHeader> {
    let begins = |signature: &[u8]| {
        let n = input.len().min(signature.len());
        input.get(..n) == signature.get(..n)
    };
    if begins(v1::SIGNATURE) {
        return v1::parse(input);
    }
    if begins(v2::SIGNATURE) {
        return v2::parse(input);
    }
    Err(BadHeader::Missing)
}

/// A version to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// Appends a header to `out`. Addresses of two families are both written as IPv6.
pub fn write(version: Version, origin: Origin, out: &mut Vec<u8>) {
    let origin = match origin {
        Origin::Client {
            source,
            destination,
        } if source.is_ipv4() != destination.is_ipv4() => Origin::Client {
            source: as_v6(source),
            destination: as_v6(destination),
        },
        other => other,
    };
    match version {
        Version::V1 => v1::write(origin, out),
        Version::V2 => v2::write(origin, out),
    }
}

fn as_v6(address: SocketAddr) -> SocketAddr {
    let ip: Ipv6Addr = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::from((ip, address.port()))
}

#[cfg(test)]
mod tests;
