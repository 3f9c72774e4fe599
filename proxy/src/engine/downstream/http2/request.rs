//! From the head of an HTTP/2 request to one that any server can be sent (RFC 9113 section 8).
//!
//! `h2` refuses by itself: names in upper case, pseudo-header fields that are unknown, repeated, missing or behind
//! others, fields that are about a connection, `TE` other than `trailers`, and a body of another length than
//! `content-length` says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use weir_http1::{Fields, Name, RequestBody, RequestHead, Version, is_authority};

/// The only protocol that extended CONNECT is understood for (RFC 8441).
const WEBSOCKET: &str = "websocket";

/// Why a head is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super::super) enum Refusal {
    /// It breaks a rule of the protocol; the stream is reset (RFC 9113 section 8.1.1).
    Malformed,
    /// It is answered with this status.
    Status(u16),
}

/// The head of a request, for a stream that ends with it or not, of at most `max` bytes.
///
/// # Errors
/// [`Refusal`].
pub(in super::super::super) fn head_of(
    parts: &Parts,
    ends: bool,
    max: u64,
) -> Result<RequestHead, Refusal> {
    let host = single(&parts.headers, header::HOST)?;
    let authority = parts.uri.authority().map(|it| it.as_str().as_bytes());
    let asked = authority.or(host).ok_or(Refusal::Malformed)?;
    if asked.is_empty()
        || !is_authority(asked)
        || host.is_some_and(|host| !host.eq_ignore_ascii_case(asked))
    {
        return Err(Refusal::Malformed);
    }
    let tunnel = tunnel(parts)?;
    let path = parts.uri.path_and_query().map(|it| it.as_str().as_bytes());
    // Without a path: CONNECT, of which only the log tells.
    let path = path.unwrap_or(asked);
    let fields = fields(&parts.headers, path.len() + asked.len(), max)?;
    if !tunnel {
        let body = body(&parts.headers, ends)?;
        return Ok(RequestHead::new(
            Version::Http2,
            parts.method.clone(),
            path,
            Some(asked),
            fields,
            body,
        ));
    }
    Ok(RequestHead::new(
        Version::Http2,
        Method::GET,
        path,
        Some(asked),
        as_upgrade(fields),
        RequestBody::None,
    ))
}

/// Whether it is an extended CONNECT.
fn tunnel(parts: &Parts) -> Result<bool, Refusal> {
    match parts.extensions.get::<h2::ext::Protocol>() {
        None => Ok(false),
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) => Ok(true),
        Some(_) => Err(Refusal::Status(501)),
    }
}

/// The request for a WebSocket as HTTP/1 has it (RFC 6455 section 4.1). What proves there that the server has
/// understood it proves nothing to this client: it gets a status of HTTP/2.
fn as_upgrade(mut fields: Fields) -> Fields {
    let key: [u8; 16] = rand::random();
    fields.remove_called(b"sec-websocket-key");
    fields.push(b"connection", b"upgrade");
    fields.push(b"upgrade", WEBSOCKET.as_bytes());
    fields.push(b"sec-websocket-key", BASE64.encode(key).as_bytes());
    if fields.find(b"sec-websocket-version").is_none() {
        fields.push(b"sec-websocket-version", b"13");
    }
    fields
}

/// The value of a field that must not be repeated.
fn single(headers: &HeaderMap, name: http::HeaderName) -> Result<Option<&[u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first.map(|value| value.as_bytes())),
        _ => Err(Refusal::Malformed),
    }
}

fn body(headers: &HeaderMap, ends: bool) -> Result<RequestBody, Refusal> {
    let length = single(headers, header::CONTENT_LENGTH)?;
    let length = match length {
        Some(text) if text.iter().all(u8::is_ascii_digit) => {
            let text = std::str::from_utf8(text).map_err(|_| Refusal::Malformed)?;
            Some(text.parse::<u64>().map_err(|_| Refusal::Malformed)?)
        }
        Some(_) => return Err(Refusal::Malformed),
        None => None,
    };
    match (length, ends) {
        (Some(n), true) if n > 0 => Err(Refusal::Malformed),
        (Some(n), _) => Ok(RequestBody::Length(n)),
        (None, true) => Ok(RequestBody::None),
        (None, false) => Ok(RequestBody::Stream),
    }
}

/// The fields as any other version has them: `Host` is among them only if there is no `:authority`, and the
/// crumbs of `Cookie` are one field again (RFC 9113 section 8.2.3).
fn fields(headers: &HeaderMap, before: usize, max: u64) -> Result<Fields, Refusal> {
    let mut fields = Fields::new();
    let mut size = before;
    let mut cookie = Vec::new();
    for (name, value) in headers {
        let value = value.as_bytes();
        size += name.as_str().len() + value.len() + 4;
        if size as u64 > max {
            return Err(Refusal::Status(431));
        }
        if has_edge_space(value) {
            return Err(Refusal::Malformed);
        }
        if *name == header::HOST {
            continue;
        }
        if *name == header::COOKIE {
            if !cookie.is_empty() {
                cookie.extend_from_slice(b"; ");
            }
            cookie.extend_from_slice(value);
            continue;
        }
        if !fields.push(name.as_str().as_bytes(), value) {
            return Err(Refusal::Malformed);
        }
    }
    if !cookie.is_empty() {
        fields.push(b"cookie", &cookie);
    }
    Ok(fields)
}

/// A value must not begin or end in white space (RFC 9113 section 8.2.1).
fn has_edge_space(value: &[u8]) -> bool {
    let is_space = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

/// Trailers of a request.
pub(super) fn trailers_of(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in headers {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

/// Whether a field of an answer is about a connection, which HTTP/2 does not have (RFC 9113 section 8.2.2), or
/// about the switch that a stream is not.
pub(super) fn is_of_connection(name: Name, text: &[u8]) -> bool {
    matches!(
        name,
        Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::Upgrade
            | Name::Http2Settings
    ) || text.eq_ignore_ascii_case(b"sec-websocket-accept")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str, fields: &[(&str, &str)], ends: bool) -> Result<RequestHead, Refusal> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        head_of(&request.body(()).unwrap().into_parts().0, ends, 4096)
    }

    #[test]
    fn crumbs_are_one_cookie_and_the_authority_is_the_host() {
        let fields = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")];
        let head = head("http://a.example/p?q", &fields, true).unwrap();
        assert_eq!(head.fields.all(Name::Cookie).count(), 1);
        assert_eq!(head.fields.get(Name::Cookie), Some(&b"a=1; b=2"[..]));
        assert_eq!(head.authority(), b"a.example");
        assert_eq!(head.origin_form(), b"/p?q");
        assert_eq!(head.body, RequestBody::None);
    }

    #[test]
    fn what_the_rfc_calls_malformed_is() {
        let bad = |uri: &str, fields: &[(&str, &str)]| {
            assert_eq!(
                head(uri, fields, false).err(),
                Some(Refusal::Malformed),
                "{uri} {fields:?}"
            );
        };
        bad("/", &[]);
        bad("http://user@a/", &[]);
        bad("http://a/", &[("host", "b")]);
        bad("/", &[("host", "a"), ("host", "a")]);
        bad(
            "http://a/",
            &[("content-length", "1"), ("content-length", "1")],
        );
        bad("http://a/", &[("content-length", "+1")]);
        bad("http://a/", &[("content-length", "99999999999999999999")]);
        bad("http://a/", &[("x", " y")]);
        bad("http://a/", &[("x", "y\t")]);
        assert!(head("http://a/", &[("host", "A")], true).is_ok());
        assert!(head("http://a/", &[("content-length", "1")], true).is_err());
    }

    #[test]
    fn a_large_head_is_431() {
        let value = "v".repeat(5000);
        let refused = head("http://a/", &[("x", &value)], true).err();
        assert_eq!(refused, Some(Refusal::Status(431)));
    }
}
