//! The host of a request as routes compare it.

use std::borrow::Cow;

/// `host[:port]` in lower case, without its port and without the dot that may end a full domain name (RFC 3986,
/// 3.2.2). An IPv6 address keeps its brackets.
#[must_use]
pub fn normalise(authority: &[u8]) -> Cow<'_, [u8]> {
    let host = without_port(authority);
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

fn without_port(authority: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', authority) {
        Some(at) if !authority.ends_with(b"]") => authority.get(..at).unwrap_or(authority),
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one_host() {
        for (written, host) in [
            ("", ""),
            ("a.example", "a.example"),
            ("A.Example", "a.example"),
            ("a.example:80", "a.example"),
            ("a.example:", "a.example"),
            ("a.example.", "a.example"),
            ("A.EXAMPLE.:8080", "a.example"),
            ("a..", "a."),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ] {
            let got = normalise(written.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), host, "{written}");
        }
    }
}
