//! What a proxy has to know of gRPC: its deadlines, and how it says that something failed.
//!
//! After the gRPC project's "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping".

use std::time::Duration;

use weir_http1::{Fields, Name, RequestHead};

/// Of a request: when the client stops waiting.
const TIMEOUT: &[u8] = b"grpc-timeout";
/// Of an answer, mostly in its trailers: how the call went.
const STATUS: &[u8] = b"grpc-status";
/// A deadline further away than this is none.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Whether it is a call of gRPC, by its content type. gRPC-Web is not: it is plain HTTP.
pub(super) fn is_call(head: &RequestHead) -> bool {
    let value = head.fields.get(Name::ContentType).unwrap_or_default();
    let Some(("application/grpc", rest)) = value
        .split_at_checked(16)
        .and_then(|(kind, rest)| Some((std::str::from_utf8(kind).ok()?, rest)))
    else {
        return false;
    };
    matches!(rest.trim_ascii_start().first(), None | Some(b'+' | b';'))
}

/// The time that the client gives the call, if it does.
pub(super) fn timeout(head: &RequestHead) -> Option<Duration> {
    let value = head.fields.find(TIMEOUT)?;
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let timeout = match unit {
        b'H' => Duration::from_secs(n * 3600),
        b'M' => Duration::from_secs(n * 60),
        b'S' => Duration::from_secs(n),
        b'm' => Duration::from_millis(n),
        b'u' => Duration::from_micros(n),
        b'n' => Duration::from_nanos(n),
        _ => return None,
    };
    (timeout < FAR).then_some(timeout)
}

/// The status in a head or in trailers.
pub(super) fn status_in(fields: &Fields) -> Option<u16> {
    std::str::from_utf8(fields.find(STATUS)?).ok()?.parse().ok()
}

/// How gRPC says what this proxy means by an HTTP status of its own.
pub(super) fn status_of(http: u16) -> u16 {
    match http {
        // CANCELLED
        499 => 1,
        // DEADLINE_EXCEEDED
        408 | 504 => 4,
        // PERMISSION_DENIED
        403 => 7,
        // RESOURCE_EXHAUSTED
        413 | 429 | 431 => 8,
        // UNIMPLEMENTED
        404 | 405 => 12,
        // INTERNAL
        400 | 500 => 13,
        // UNAVAILABLE
        502 | 503 => 14,
        // UNAUTHENTICATED
        401 => 16,
        // UNKNOWN
        _ => 2,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use weir_http1::RequestParser;

    use super::*;

    fn request(fields: &str) -> RequestHead {
        let text = format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let mut parser = RequestParser::new();
        let len = parser.advance(text.as_bytes()).unwrap().unwrap();
        parser.finish(text.as_bytes()[..len].to_vec()).unwrap()
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        for (kind, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; x=y", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            assert_eq!(
                is_call(&request(&format!("Content-Type: {kind}"))),
                is,
                "{kind}"
            );
        }
    }

    #[test]
    fn deadlines_have_a_unit() {
        for (text, timeout_is) in [
            ("5S", Some(Duration::from_secs(5))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999H", None),
            ("123456789S", None),
            ("5", None),
            ("S", None),
            ("-5S", None),
        ] {
            let head = request(&format!("grpc-timeout: {text}"));
            assert_eq!(timeout(&head), timeout_is, "{text}");
        }
    }
}
