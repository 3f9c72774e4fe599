//! Heads between this proxy's types and those of the `h2` crate.

use http::header::{CONTENT_LENGTH, HeaderMap};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, Version};
use weir_http1::{BadAnswer, Fields, Framing, RequestHead, ResponseHead};

use super::super::super::forward::{self, Forward, HeadSink as _};
use super::super::AnswerError;

/// The head of `req` for the server. `secure`: it goes over TLS.
///
/// # Errors
/// [`AnswerError::Unspeakable`] for a target that is longer than the `http` crate allows.
pub(super) fn request(
    req: &RequestHead,
    fwd: &Forward<'_>,
    secure: bool,
) -> Result<Request<()>, AnswerError> {
    let path = path(req.origin_form()).ok_or(AnswerError::Unspeakable)?;
    let host = forward::authority(req, fwd);
    let mut fields = forward::http2_fields(req, fwd);
    let mut version = Version::HTTP_2;
    let uri = match Authority::try_from(host) {
        Ok(authority) => {
            // That of the connection: some servers refuse any other.
            let scheme = match secure {
                true => Scheme::HTTPS,
                false => Scheme::HTTP,
            };
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(scheme);
            parts.authority = Some(authority);
            parts.path_and_query = Some(path);
            Uri::from_parts(parts).map_err(|_| AnswerError::Unspeakable)?
        }
        // As one that came without `:authority` (RFC 9113 section 8.3.1).
        Err(_) => {
            version = Version::HTTP_11;
            fields.field(b"host", host);
            path.into()
        }
    };
    let mut request = Request::new(());
    *request.method_mut() = req.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = fields;
    Ok(request)
}

/// A target in origin form; bytes that no URI may have are percent-encoded.
fn path(target: &[u8]) -> Option<PathAndQuery> {
    if let Ok(path) = PathAndQuery::try_from(target) {
        return Some(path);
    }
    let mut encoded = Vec::with_capacity(target.len() + 16);
    for &b in target {
        match b {
            b'"'
            | b'<'
            | b'>'
            | b'\\'
            | b'^'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | b'#'
            | 0..=b' '
            | 0x7f.. => {
                encoded.push(b'%');
                encoded
                    .extend([b >> 4, b & 15].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]));
            }
            _ => encoded.push(b),
        }
    }
    PathAndQuery::try_from(encoded).ok()
}

/// The head of an answer. `ends`: nothing follows it.
///
/// # Errors
/// [`AnswerError::Bad`] for a status that does not exist in HTTP/2.
pub(super) fn response(
    head: Response<()>,
    method: &Method,
    ends: bool,
) -> Result<ResponseHead, AnswerError> {
    let (parts, ()) = head.into_parts();
    let status = parts.status.as_u16();
    if status == 101 {
        return Err(BadAnswer::Malformed("101 in HTTP/2").into());
    }
    let length = || {
        let value = parts.headers.get(CONTENT_LENGTH)?;
        value.to_str().ok()?.parse().ok()
    };
    let framing = match status {
        100..200 | 204 | 304 => Framing::None,
        _ if ends || *method == Method::HEAD => Framing::None,
        _ => length().map_or(Framing::Chunked, Framing::Length),
    };
    Ok(ResponseHead::apart(status, fields(&parts.headers), framing))
}

/// Fields as this proxy passes them on.
pub(super) fn fields(map: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in map {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

/// The same the other way round.
pub(super) fn header_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for f in fields.iter() {
        map.field(f.name, f.value);
    }
    map
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_on_as_written_where_a_uri_can_say_it() {
        for (written, sent) in [
            ("/a?b=%41", "/a?b=%41"),
            ("*", "*"),
            ("//x/../y", "//x/../y"),
            ("/caf\u{e9} <x>", "/caf%C3%A9%20%3Cx%3E"),
        ] {
            assert_eq!(path(written.as_bytes()).unwrap().as_str(), sent);
        }
        assert_eq!(path(b"/\xff\"").unwrap().as_str(), "/%FF%22");
    }

    #[test]
    fn the_end_of_an_answer_is_known_from_its_head() {
        let framing = |status: u16, length: Option<&str>, method: Method, ends: bool| {
            let mut head = Response::builder().status(status);
            if let Some(length) = length {
                head = head.header("content-length", length);
            }
            response(head.body(()).unwrap(), &method, ends)
                .unwrap()
                .framing
        };
        assert_eq!(framing(200, None, Method::GET, false), Framing::Chunked);
        assert_eq!(
            framing(200, Some("5"), Method::GET, false),
            Framing::Length(5)
        );
        assert_eq!(framing(200, Some("5"), Method::HEAD, true), Framing::None);
        assert_eq!(framing(304, Some("5"), Method::GET, true), Framing::None);
        assert_eq!(framing(200, None, Method::GET, true), Framing::None);
        let switched = Response::builder().status(101).body(()).unwrap();
        assert!(response(switched, &Method::GET, false).is_err());
    }
}
