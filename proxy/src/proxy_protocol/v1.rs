//! Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{BadHeader, Header, Origin};

/// How a line begins.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The longest line, its CRLF included.
const MAX_LINE: usize = 107;

pub(super) fn parse(input: &[u8]) -> Result<Option<Header>, BadHeader> {
    let window = input.get(..MAX_LINE).unwrap_or(input);
    let Some(end) = window.windows(2).position(|two| two == b"\r\n") else {
        let hopeless = input.len() >= MAX_LINE || window.contains(&b'\n') || window.contains(&0);
        return if hopeless {
            Err(BadHeader::Line)
        } else {
            Ok(None)
        };
    };
    let line = window.get(SIGNATURE.len()..end).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| BadHeader::Line)?;
    Ok(Some(Header {
        origin: origin(line).ok_or(BadHeader::Line)?,
        length: end + 2,
    }))
}

/// What follows `PROXY `.
fn origin(line: &str) -> Option<Origin> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        // Whatever follows is to be ignored.
        "UNKNOWN" => Some(Origin::Unknown),
        "TCP4" => addresses::<Ipv4Addr>(rest),
        "TCP6" => addresses::<Ipv6Addr>(rest),
        _ => None,
    }
}

fn addresses<T: FromStr + Into<IpAddr>>(text: &str) -> Option<Origin> {
    let mut words = text.split(' ');
    let mut ip = || words.next()?.parse::<T>().ok().map(Into::into);
    let (source, destination): (IpAddr, IpAddr) = (ip()?, ip()?);
    let mut port = || words.next().and_then(port);
    let (from, to) = (port()?, port()?);
    words.next().is_none().then(|| Origin::Client {
        source: SocketAddr::from((source, from)),
        destination: SocketAddr::from((destination, to)),
    })
}

/// 0 to 65535, without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    (digits && plain).then(|| text.parse().ok()).flatten()
}

pub(super) fn write(origin: Origin, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = match origin {
        Origin::Client {
            source,
            destination,
        } => write!(
            out,
            "PROXY TCP{} {} {} {} {}\r\n",
            if source.is_ipv4() { 4 } else { 6 },
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        ),
        Origin::Unknown | Origin::Local => write!(out, "PROXY UNKNOWN\r\n"),
    };
}
