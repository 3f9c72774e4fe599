//! Forms of text that settings take.

use std::{
    net::{Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::TextRule;
use crate::{
    config::{ListenAddress, unix_path},
    settings::{LimitKey, Statuses},
};

/// A zone's or an upstream's name.
pub(super) const NAME: TextRule = TextRule {
    allowed: "a name of 1 to 64 letters, digits, \"_\" and \"-\"",
    fits: is_name,
};

/// Where a listener listens.
pub(super) const LISTEN: TextRule = TextRule {
    allowed: "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:80\"",
    fits: |text| SocketAddr::from_str(text).is_ok(),
};

/// Where a DNS server listens.
pub(super) const DNS_SERVER: TextRule = TextRule {
    allowed: "an IP address and a port, such as \"10.0.0.2:53\" or \"[fd00::2]:53\"",
    fits: |text| SocketAddr::from_str(text).is_ok_and(|server| server.port() != 0),
};

/// Where clients connect.
pub(super) const LISTENER: TextRule = TextRule {
    allowed: "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:80\", or a Unix socket: \"unix:/run/weir/front.sock\"",
    fits: |text| ListenAddress::from_str(text).is_ok(),
};

/// Where a server is.
pub(super) const SERVER: TextRule = TextRule {
    allowed: "\"host:port\", such as \"127.0.0.1:8000\", \"[::1]:8000\" or \"api.internal:8000\", with a port from 1 to 65535; or a Unix socket: \"unix:/run/api.sock\"",
    fits: |text| is_server(text) || unix_path(text).is_some(),
};

/// A range of addresses.
pub(super) const CIDR: TextRule = TextRule {
    allowed: "an address or a CIDR range, such as \"10.0.0.0/8\" or \"::1\"",
    fits: |text| crate::settings::parse_network(text).is_some(),
};

/// What a rate limit counts by.
pub(super) const LIMIT_KEY: TextRule = TextRule {
    allowed: crate::settings::LIMIT_KEY_ALLOWED,
    fits: |text| LimitKey::parse_parts(text).is_ok(),
};

/// A media type or a family of them.
pub(super) const MEDIA_TYPE: TextRule = TextRule {
    allowed: "a media type such as \"application/json\", or a family such as \"text/*\"",
    fits: is_media_type,
};

/// The name of a header field.
pub(super) const HEADER_NAME: TextRule = TextRule {
    allowed: "a header's name, but none that frames the message (Connection, Content-Length, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade)",
    fits: is_header_name,
};

/// The value of a header field.
pub(super) const HEADER_VALUE: TextRule = TextRule {
    allowed: "a header's value: visible characters, spaces and tabs",
    fits: |text| http::HeaderValue::from_str(text).is_ok(),
};

/// The beginning of a request's path.
pub(super) const PREFIX: TextRule = TextRule {
    allowed: "a path that begins with \"/\", decoded, without \"//\", \"/./\", \"/../\", \"?\", \"#\", spaces and control characters",
    fits: |text| {
        text.starts_with('/')
            && text.len() <= 1024
            && !["//", "/./", "/../"]
                .iter()
                .any(|never| text.contains(never))
            && !text.contains(['?', '#', ' '])
            && !text.chars().any(char::is_control)
    },
};

/// A whole path of requests.
pub(super) const EXACT_PATH: TextRule = TextRule {
    allowed: PREFIX.allowed,
    fits: |text| (PREFIX.fits)(text) && !text.ends_with("/.") && !text.ends_with("/.."),
};

/// An expression for paths.
pub(super) const PATH_REGEX: TextRule = TextRule {
    allowed: "a regular expression of at most 1024 bytes, such as \"^/v[0-9]+/\", without look-around and back-references",
    fits: |text| text.len() <= 1024 && crate::config::path_regex(text).is_ok(),
};

/// A method that is passed on.
pub(super) const METHOD: TextRule = TextRule {
    allowed: "a method in capitals, such as \"GET\", but neither \"CONNECT\" nor \"TRACE\", which are never passed on",
    fits: |text| {
        http::Method::from_str(text).is_ok()
            && text.len() <= 32
            && !text.bytes().any(|b| b.is_ascii_lowercase())
            && !["CONNECT", "TRACE"].contains(&text)
    },
};

/// The hosts of a route.
pub(super) const ROUTE_HOST: TextRule = TextRule {
    allowed: "a host name or an IP address without a port, such as \"api.example.org\", or \"*.\" and a host name, such as \"*.example.org\"",
    fits: |text| match text.strip_prefix("*.") {
        Some(below) => is_host(below),
        None => (HOST.fits)(text),
    },
};

/// A host as in `Host`, without port.
pub(super) const HOST: TextRule = TextRule {
    allowed: "a host name or an IP address without a port, such as \"api.example.org\"",
    fits: |text| is_host(text) || bracketed_v6(text),
};

/// A host as in `Host`, with or without port.
pub(super) const AUTHORITY: TextRule = TextRule {
    allowed: "a host name or an IP address, with a port if need be, such as \"api.example.org\" or \"api:8000\"",
    fits: |text| is_host(text) || bracketed_v6(text) || is_server(text),
};

/// What a request asks for.
pub(super) const TARGET: TextRule = TextRule {
    allowed: "a path that begins with \"/\", such as \"/health\" or \"/status?full=0\", of visible ASCII characters without \"#\"",
    fits: |text| {
        text.starts_with('/')
            && text.len() <= 1024
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    },
};

/// A set of statuses.
pub(super) const STATUSES: TextRule = TextRule {
    allowed: crate::settings::STATUSES_ALLOWED,
    fits: |text| text.parse::<Statuses>().is_ok(),
};

/// A file of this machine.
pub(super) const FILE_PATH: TextRule = TextRule {
    allowed: "the path of a file",
    fits: |text| !text.is_empty() && !text.contains('\0'),
};

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    digits
        && port.parse::<u16>().is_ok_and(|port| port != 0)
        && (is_host(host) || bracketed_v6(host))
}

/// A DNS name (labels of letters, digits, `-` and `_`) or an IPv4 address.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let labels = text.strip_suffix('.').unwrap_or(text);
    // All digits and dots is an address, and then it must be a good one.
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (1..=253).contains(&labels.len())
        && labels.split('.').all(label)
        && (!numeric || text.parse::<std::net::Ipv4Addr>().is_ok())
}

fn bracketed_v6(text: &str) -> bool {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

fn is_media_type(text: &str) -> bool {
    let token = |t: &str| {
        !t.is_empty()
            && t.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$&^_.+-".contains(&b))
    };
    text.split_once('/')
        .is_some_and(|(kind, sub)| token(kind) && (sub == "*" || token(sub)))
}

fn is_header_name(text: &str) -> bool {
    const FRAMING: [&str; 8] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    http::HeaderName::from_str(text).is_ok_and(|name| !FRAMING.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(rule: TextRule, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!((rule.fits)(text), "{text} should be {}", rule.allowed);
        }
        for text in bad {
            assert!(!(rule.fits)(text), "{text} should not be {}", rule.allowed);
        }
    }

    #[test]
    fn addresses_of_servers() {
        fits(
            SERVER,
            &[
                "127.0.0.1:8000",
                "[::1]:1",
                "api:8000",
                "a-b.c_d.example.:65535",
                "unix:/run/api.sock",
            ],
            &[
                "unix:",
                "unix:api.sock",
                "",
                "api",
                "api:",
                ":80",
                "api:0",
                "api:65536",
                "api:+80",
                "256.1.1.1:80",
                "::1:80",
                "http://api:80",
                "a b:80",
                "-a:80",
                "a..b:80",
                "api:80/",
            ],
        );
    }

    #[test]
    fn ranges_of_addresses() {
        fits(
            CIDR,
            &["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"],
            &["", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.0/"],
        );
    }

    #[test]
    fn media_types() {
        fits(
            MEDIA_TYPE,
            &["application/json", "text/*", "image/svg+xml"],
            &["", "text", "*/*", "text/", "/x", "Text/Html", "a/b; q=1"],
        );
    }

    #[test]
    fn headers_that_frame_a_message_cannot_be_set() {
        fits(
            HEADER_NAME,
            &["X-Gen", "server", "Host"],
            &[
                "",
                "a b",
                "Connection",
                "Transfer-Encoding",
                "content-length",
            ],
        );
        fits(HEADER_VALUE, &["", "a b", "ä"], &["a\nb", "\0"]);
    }

    #[test]
    fn hosts_and_prefixes() {
        fits(
            HOST,
            &["example.org", "10.0.0.1", "[::1]"],
            &["", "a:80", "*.a", "::1", "a/b"],
        );
        fits(
            PREFIX,
            &["/", "/api/v1", "/.well-known/", "/a..", "/a/.", "/50%"],
            &["", "api", "/a?b", "/a b", "/\n", "//a", "/a/./b", "/a/../"],
        );
        fits(
            EXACT_PATH,
            &["/", "/a", "/.a", "/a/"],
            &["", "a", "/a/.", "/..", "/a//b"],
        );
        fits(
            PATH_REGEX,
            &["^/v[0-9]+/", "", "\\.png$", "/(?i)a", "ü"],
            &["(", "(?=a)", "(a)\\1", "[z-a]"],
        );
        fits(
            METHOD,
            &["GET", "PATCH", "PURGE", "M-SEARCH"],
            &["", "get", "CONNECT", "TRACE", "A B"],
        );
        fits(
            ROUTE_HOST,
            &["a.example", "*.example.org", "[::1]", "*.org"],
            &[
                "",
                "*",
                "*.",
                "a.*",
                "*a.example",
                "*.*.a",
                "a:1",
                "*.[::1]",
            ],
        );
        fits(
            AUTHORITY,
            &["example.org", "api:8000", "[::1]", "[::1]:80", "10.0.0.1"],
            &["", "a:", "a:0", "a b", "a/b", "a\r\nX: y"],
        );
        fits(
            TARGET,
            &["/", "/health?full=0"],
            &["", "health", "/a b", "/a#b", "/ä", "/a\r\nX: y"],
        );
        fits(NAME, &["api_limit", "a-1"], &["", "a.b", "a b", "ä"]);
        fits(
            LISTENER,
            &["0.0.0.0:0", "unix:/run/weir.sock"],
            &["unix:weir.sock", "localhost:80"],
        );
        fits(
            LISTEN,
            &["0.0.0.0:0", "[::1]:80"],
            &["localhost:80", "80", ":80"],
        );
    }
}
