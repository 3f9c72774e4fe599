//! Strict check of a request head, before the engine parses it.

use memchr::memmem;

/// Why a request head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The request line is not `METHOD SP target SP HTTP/1.x`.
    #[error("malformed request line")]
    RequestLine,
    /// A version this proxy does not speak on an HTTP/1 connection.
    #[error("unsupported HTTP version")]
    Version,
    /// A header line without a valid name, with folding, or with a forbidden byte.
    #[error("malformed header field")]
    Field,
    /// A line that does not end in CRLF.
    #[error("bare CR or LF")]
    BareNewline,
    /// `Host` is missing in HTTP/1.1, present twice, or not `host[:port]`.
    #[error("missing, repeated or invalid Host")]
    Host,
    /// `Content-Length` is repeated, not a number, or beside `Transfer-Encoding`.
    #[error("invalid Content-Length")]
    ContentLength,
    /// `Transfer-Encoding` other than a single `chunked`, or in HTTP/1.0.
    #[error("unsupported Transfer-Encoding")]
    TransferEncoding,
}

impl HeadError {
    /// The status that the client gets.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::TransferEncoding => 501,
            _ => 400,
        }
    }
}

/// What the framing of a valid head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadSummary {
    /// Declared body length; `None` without `Content-Length`.
    pub content_length: Option<u64>,
    /// The body is chunked.
    pub chunked: bool,
    /// HTTP/1.0, whose clients must not get a chunked answer.
    pub http10: bool,
}

/// Where the head ends (just after the empty line), if it is complete.
///
/// `scanned` is how much of `buf` an earlier call has already looked at.
#[must_use]
pub fn head_end(buf: &[u8], scanned: usize) -> Option<usize> {
    let from = scanned.saturating_sub(3);
    memmem::find(buf.get(from..)?, b"\r\n\r\n").map(|at| from + at + 4)
}

/// Checks a complete head, up to and including its empty line (RFC 9112 sections 2 to 6).
///
/// # Errors
/// The first [`HeadError`] found.
pub fn check_head(head: &[u8]) -> Result<HeadSummary, HeadError> {
    let mut lines = Lines { rest: head };
    let request_line = lines.next().ok_or(HeadError::RequestLine)??;
    let mut summary = HeadSummary {
        http10: check_request_line(request_line)?,
        ..HeadSummary::default()
    };
    let mut host = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (name, value) = split_field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            if host.replace(value).is_some() {
                return Err(HeadError::Host);
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if summary.content_length.replace(number(value)?).is_some() {
                return Err(HeadError::ContentLength);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if summary.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::TransferEncoding);
            }
            summary.chunked = true;
        }
    }
    match host {
        Some(host) if !valid_host(host) => return Err(HeadError::Host),
        None if !summary.http10 => return Err(HeadError::Host),
        _ => {}
    }
    if summary.chunked && summary.http10 {
        return Err(HeadError::TransferEncoding);
    }
    if summary.chunked && summary.content_length.is_some() {
        return Err(HeadError::ContentLength);
    }
    Ok(summary)
}

/// Lines of a head, without their CRLF; a bare CR or LF is an error.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], HeadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(at) = memchr::memchr2(b'\r', b'\n', self.rest) else {
            self.rest = &[];
            return Some(Err(HeadError::BareNewline));
        };
        let (line, tail) = self.rest.split_at(at);
        let Some(next) = tail.strip_prefix(b"\r\n") else {
            self.rest = &[];
            return Some(Err(HeadError::BareNewline));
        };
        self.rest = next;
        Some(Ok(line))
    }
}

/// Returns whether the version is HTTP/1.0.
fn check_request_line(line: &[u8]) -> Result<bool, HeadError> {
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::RequestLine);
    };
    if method.is_empty() || !method.iter().all(|&b| is_token(b)) {
        return Err(HeadError::RequestLine);
    }
    if !valid_target(method, target) {
        return Err(HeadError::RequestLine);
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(HeadError::Version)
        }
        _ => Err(HeadError::RequestLine),
    }
}

/// A path, an absolute URI, `*` for OPTIONS, or an authority for CONNECT (RFC 9112 section 3.2), without
/// bytes that a URI parser behind this one would stumble over. A fragment never goes on the wire.
fn valid_target(method: &[u8], target: &[u8]) -> bool {
    let form = match method {
        b"CONNECT" => !target.is_empty(),
        b"OPTIONS" if target == b"*" => true,
        _ => {
            target.starts_with(b"/")
                || [&b"http://"[..], b"https://"].iter().any(|scheme| {
                    target.len() > scheme.len()
                        && target[..scheme.len()].eq_ignore_ascii_case(scheme)
                })
        }
    };
    let query = memchr::memchr(b'?', target).unwrap_or(target.len());
    form && target.iter().enumerate().all(|(at, &b)| match b {
        0..=b' ' | 0x7f | b'#' | b'<' | b'>' => false,
        b'`' => at > query,
        b'"' => at < query,
        _ => true,
    })
}

fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), HeadError> {
    let colon = memchr::memchr(b':', line).ok_or(HeadError::Field)?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(|&b| is_token(b)) {
        return Err(HeadError::Field);
    }
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if value.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(HeadError::Field);
    }
    Ok((name, value))
}

/// A decimal number and nothing else (no sign, no list; RFC 9110 section 8.6).
fn number(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::ContentLength);
    }
    Ok(value
        .iter()
        .fold(0u64, |n, &d| n * 10 + u64::from(d - b'0')))
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2); empty is allowed there, for targets without authority.
fn valid_host(host: &[u8]) -> bool {
    let (name, port) = match host.first() {
        Some(b'[') => {
            let Some(close) = memchr::memchr(b']', host) else {
                return false;
            };
            let (name, rest) = host.split_at(close + 1);
            let inner = name.get(1..close).unwrap_or_default();
            if inner.is_empty()
                || !inner
                    .iter()
                    .all(|&b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
            {
                return false;
            }
            match rest {
                [] => return true,
                [b':', port @ ..] => (&b""[..], port),
                _ => return false,
            }
        }
        _ => match memchr::memchr(b':', host) {
            Some(at) => (&host[..at], host.get(at + 1..).unwrap_or_default()),
            None => (host, &b""[..]),
        },
    };
    name.iter()
        .all(|&b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b))
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token(b: u8) -> bool {
    const TABLE: [bool; 256] = token_table();
    TABLE[b as usize]
}

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let extra = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < extra.len() {
        table[extra[i] as usize] = true;
        i += 1;
    }
    let mut b = 0;
    while b < 128 {
        if (b as u8).is_ascii_alphanumeric() {
            table[b] = true;
        }
        b += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<HeadSummary, HeadError> {
        check_head(text.as_bytes())
    }

    #[test]
    fn an_ordinary_request_passes() {
        let summary = head("POST /a?b=c HTTP/1.1\r\nHost: x:80\r\nContent-Length: 12\r\n\r\n");
        assert_eq!(
            summary,
            Ok(HeadSummary {
                content_length: Some(12),
                chunked: false,
                http10: false
            })
        );
        assert_eq!(head("GET / HTTP/1.0\r\n\r\n").map(|s| s.http10), Ok(true));
        assert!(head("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").is_ok());
        assert!(head("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n").is_ok());
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let cases = [
            (
                "Content-Length: 1\r\nContent-Length: 1",
                HeadError::ContentLength,
            ),
            ("Content-Length: +1", HeadError::ContentLength),
            ("Content-Length: 1, 1", HeadError::ContentLength),
            ("Content-Length:", HeadError::ContentLength),
            (
                "Content-Length: 99999999999999999999",
                HeadError::ContentLength,
            ),
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked",
                HeadError::ContentLength,
            ),
            (
                "Transfer-Encoding: gzip, chunked",
                HeadError::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                HeadError::TransferEncoding,
            ),
            ("Transfer-Encoding: \x0bchunked", HeadError::Field),
            ("Transfer-Encoding : chunked", HeadError::Field),
            ("X: a\r\n b", HeadError::Field),
            ("X: a\nY: b", HeadError::BareNewline),
            ("X: a\rY: b", HeadError::BareNewline),
            ("X: a\0b", HeadError::Field),
            (": b", HeadError::Field),
            ("Host: y", HeadError::Host),
        ];
        for (fields, expected) in cases {
            let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
            assert_eq!(head(&text), Err(expected), "{fields:?}");
        }
    }

    #[test]
    fn request_lines_are_exact() {
        for line in [
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "G@T / HTTP/1.1",
            "GET / http/1.1",
            "GET /\0 HTTP/1.1",
            "GET /",
        ] {
            assert_eq!(
                head(&format!("{line}\r\nHost: x\r\n\r\n")),
                Err(HeadError::RequestLine),
                "{line:?}"
            );
        }
        assert_eq!(
            head("GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
            Err(HeadError::Version)
        );
        assert_eq!(head("GET / HTTP/1.1\r\n\r\n"), Err(HeadError::Host));
        for host in ["a b", "a/b", "a@b", "a:b", "[::1", "[x]", "a:123456"] {
            assert_eq!(
                head(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")),
                Err(HeadError::Host),
                "{host:?}"
            );
        }
    }

    #[test]
    fn targets_have_one_of_four_forms() {
        let line = |line: &str| head(&format!("{line}\r\nHost: x\r\n\r\n")).map(|_| ());
        for good in [
            "GET /a|b^c{d}?`x HTTP/1.1",
            "GET http://x/y HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "CONNECT x:1 HTTP/1.1",
        ] {
            assert_eq!(line(good), Ok(()), "{good}");
        }
        for bad in [
            "GET x HTTP/1.1",
            "GET * HTTP/1.1",
            "GET http:// HTTP/1.1",
            "GET ftp://x/ HTTP/1.1",
            "GET /#f HTTP/1.1",
            "GET /<b> HTTP/1.1",
            "GET /`x HTTP/1.1",
            "GET /?\"x HTTP/1.1",
        ] {
            assert_eq!(line(bad), Err(HeadError::RequestLine), "{bad}");
        }
    }

    #[test]
    fn the_end_is_found_across_reads() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r", 0), None);
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nrest", 17), Some(18));
        assert_eq!(head_end(b"", 10), None);
    }
}
