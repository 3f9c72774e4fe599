//! Version 2: a signature of 12 bytes, version and command, family, length, addresses, extensions.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{BadHeader, Header, MAX_HEADER, Origin};

/// How a header begins.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;

const VERSION: u8 = 0x20;
const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;

const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

/// The two paths of a Unix connection.
const UNIX_ADDRESSES: usize = 216;

pub(super) fn parse(input: &[u8]) -> Result<Option<Header>, BadHeader> {
    let Some(&command) = input.get(SIGNATURE.len()) else {
        return Ok(None);
    };
    if !matches!(command, c if c == VERSION | LOCAL || c == VERSION | PROXY) {
        return Err(BadHeader::Version);
    }
    let Some(&[family, high, low]) = input.get(SIGNATURE.len() + 1..FIXED) else {
        return Ok(None);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_HEADER {
        return Err(BadHeader::TooLong);
    }
    let Some(body) = input.get(FIXED..length) else {
        return Ok(None);
    };
    let origin = if command == VERSION | LOCAL {
        // Family and addresses are to be ignored.
        Origin::Local
    } else {
        client(family, body).ok_or(BadHeader::Binary)?
    };
    Ok(Some(Header { origin, length }))
}

fn client(family: u8, body: &[u8]) -> Option<Origin> {
    let (origin, extensions) = match family {
        TCP_OVER_IPV4 => {
            let (head, rest) = body.split_first_chunk::<12>()?;
            let [s0, s1, s2, s3, d0, d1, d2, d3, ps, qs, pd, qd] = *head;
            let origin = Origin::Client {
                source: (Ipv4Addr::new(s0, s1, s2, s3), u16::from_be_bytes([ps, qs])).into(),
                destination: (Ipv4Addr::new(d0, d1, d2, d3), u16::from_be_bytes([pd, qd])).into(),
            };
            (origin, rest)
        }
        TCP_OVER_IPV6 => {
            let (source, rest) = body.split_first_chunk::<16>()?;
            let (destination, rest) = rest.split_first_chunk::<16>()?;
            let (ports, rest) = rest.split_first_chunk::<4>()?;
            let [ps, qs, pd, qd] = *ports;
            let origin = Origin::Client {
                source: (Ipv6Addr::from(*source), u16::from_be_bytes([ps, qs])).into(),
                destination: (Ipv6Addr::from(*destination), u16::from_be_bytes([pd, qd])).into(),
            };
            (origin, rest)
        }
        UNIX_STREAM => (Origin::Unknown, body.get(UNIX_ADDRESSES..)?),
        // How long the addresses are is not said, so neither is where extensions begin.
        UNSPECIFIED => return Some(Origin::Unknown),
        // Datagrams, and what is not defined.
        _ => return None,
    };
    extensions_are_whole(extensions).then_some(origin)
}

/// Extensions (type, length, value) fill their room exactly; what they say is not used.
fn extensions_are_whole(mut rest: &[u8]) -> bool {
    while let [_, high, low, values @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(after) = values.get(length..) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

pub(super) fn write(origin: Origin, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let mut addresses = Vec::with_capacity(36);
    let (command, family) = match origin {
        Origin::Client {
            source: SocketAddr::V4(source),
            destination: SocketAddr::V4(destination),
        } => {
            addresses.extend(source.ip().octets());
            addresses.extend(destination.ip().octets());
            addresses.extend(source.port().to_be_bytes());
            addresses.extend(destination.port().to_be_bytes());
            (PROXY, TCP_OVER_IPV4)
        }
        Origin::Client {
            source: SocketAddr::V6(source),
            destination: SocketAddr::V6(destination),
        } => {
            addresses.extend(source.ip().octets());
            addresses.extend(destination.ip().octets());
            addresses.extend(source.port().to_be_bytes());
            addresses.extend(destination.port().to_be_bytes());
            (PROXY, TCP_OVER_IPV6)
        }
        Origin::Client { .. } | Origin::Unknown => (PROXY, UNSPECIFIED),
        Origin::Local => (LOCAL, UNSPECIFIED),
    };
    out.extend([VERSION | command, family]);
    // At most 36 bytes.
    out.extend((addresses.len() as u16).to_be_bytes());
    out.append(&mut addresses);
}
