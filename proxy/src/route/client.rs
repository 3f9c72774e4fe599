//! Who the client is, seen through the proxies in front that are trusted.

use std::net::{IpAddr, SocketAddr};

/// The client behind `peer`: `X-Forwarded-For` is read from its end, and the first address that is not a trusted
/// proxy is the client's (nginx: `real_ip_recursive on`). Without a trusted peer nothing is believed. What is no address,
/// such as `unknown` or an obfuscated name, ends the walk at the last address that was known; empty elements are
/// passed over (RFC 9110, 5.6.1).
///
/// `fields` are the fields of a head in their order, with names in any case.
pub fn find<'a>(
    peer: IpAddr,
    is_trusted: impl Fn(IpAddr) -> bool,
    fields: impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])>,
) -> IpAddr {
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let elements = fields
        .rev()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for"))
        .flat_map(|(_, value)| value.rsplit(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty());
    for element in elements {
        let Some(address) = address(element) else {
            break;
        };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address as proxies write it: alone, with a port, in brackets, or both. An IPv4 address that is mapped into IPv6
/// is the IPv4 address.
#[must_use]
pub fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok().map(IpAddr::V6)
    };
    let with_port = || text.parse::<SocketAddr>().ok().map(|it| it.ip());
    let address = text.parse().ok().or_else(bare).or_else(with_port)?;
    Some(address.to_canonical())
}

/// Whether a field claims who the client is, how it asked, or by what way it came. From a client that is no trusted
/// proxy it must not reach a server: `Forwarded`, `X-Real-IP`, every `X-Forwarded-…` and `X-Client-Cert-…`, and the same
/// names with underscores, which many servers do not tell from hyphens (CGI, WSGI).
#[must_use]
pub fn is_claim(name: &[u8]) -> bool {
    let is = |name: &[u8], claim: &[u8]| {
        name.len() == claim.len()
            && name.iter().zip(claim).all(|(&have, &want)| {
                have.eq_ignore_ascii_case(&want) || have == b'_' && want == b'-'
            })
    };
    let begins = |claim: &[u8]| name.get(..claim.len()).is_some_and(|head| is(head, claim));
    is(name, b"forwarded")
        || is(name, b"x-real-ip")
        || begins(b"x-forwarded-")
        || begins(b"x-client-cert-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The client by these values of `X-Forwarded-For`; 10.0.0.0/8 and 127.0.0.1 are trusted.
    fn client(peer: &str, values: &[&str]) -> String {
        let trusted =
            |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10 || ip.is_loopback());
        let fields = values
            .iter()
            .map(|value| (&b"X-Forwarded-For"[..], value.as_bytes()));
        find(peer.parse().unwrap(), trusted, fields).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        for (values, found) in [
            (&[][..], "127.0.0.1"),
            (&["9.9.9.9"], "9.9.9.9"),
            (&["1.1.1.1, 9.9.9.9"], "9.9.9.9"),
            (&["1.1.1.1, 9.9.9.9, 10.0.0.1"], "9.9.9.9"),
            (&["1.1.1.1", "9.9.9.9", "10.0.0.1"], "9.9.9.9"),
            (&["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
            (&["9.9.9.9:4711"], "9.9.9.9"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["::ffff:9.9.9.9"], "9.9.9.9"),
            (&["9.9.9.9, ::ffff:10.0.0.1"], "9.9.9.9"),
            (&["[::ffff:10.0.0.1]:80"], "10.0.0.1"),
            (&["9.9.9.9, , 10.0.0.1,"], "9.9.9.9"),
            (&[" \t,"], "127.0.0.1"),
            (&["9.9.9.9, unknown, 10.0.0.1"], "10.0.0.1"),
            (&["9.9.9.9, _hidden"], "127.0.0.1"),
            (&["9.9.9.9:99999"], "127.0.0.1"),
            (&["[9.9.9.9]"], "127.0.0.1"),
        ] {
            assert_eq!(client("127.0.0.1", values), found, "{values:?}");
            assert_eq!(client("::ffff:127.0.0.1", values), found, "{values:?}");
            assert_eq!(client("8.8.8.8", values), "8.8.8.8", "a stranger");
        }
    }

    #[test]
    fn claims_are_known_in_every_spelling() {
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded_Proto",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "x-real-ip",
            "X_Real_IP",
            "X-FORWARDED-",
            "X_Client_Cert_Subject",
            "X-Client-Cert-Verify",
        ] {
            assert!(is_claim(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "Forwarded-For",
            "X-Forwarded",
            "X-Real-IPs",
            "Via",
            "X-Request-ID",
            "-forwarded",
        ] {
            assert!(!is_claim(name.as_bytes()), "{name}");
        }
    }

    proptest! {
        /// Whatever stands before it, and however it is written, the address that the trusted proxy added counts.
        #[test]
        fn what_strangers_write_does_not_matter(said in "[ -~]{0,40}", ip in any::<[u8; 4]>(), port in any::<Option<u16>>()) {
            prop_assume!(ip[0] != 10 && ip[0] != 127);
            let ip = IpAddr::from(ip);
            let added = port.map_or(ip.to_string(), |port| format!("{ip}:{port}"));
            prop_assert_eq!(client("127.0.0.1", &[&said, &added]), ip.to_string());
            let value = format!("{said}, {added}");
            prop_assert_eq!(client("127.0.0.1", &[&value]), ip.to_string());
        }
    }
}
