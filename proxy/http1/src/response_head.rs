//! Reading the head of an upstream's answer.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::Framing;

/// Most header fields in one answer.
const MAX_FIELDS: usize = 128;

/// Why an answer cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// Not HTTP/1, or malformed.
    #[error("malformed response head: {0}")]
    Malformed(&'static str),
    /// Framing that two readers could read differently.
    #[error("ambiguous response framing: {0}")]
    Framing(&'static str),
}

/// The head of an answer.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status.
    pub status: StatusCode,
    /// Reason phrase, if it is not the standard one.
    pub reason: Option<String>,
    /// HTTP/1.0.
    pub http10: bool,
    /// The fields in order, hop-by-hop fields (`Connection`, `Keep-Alive`, `Transfer-Encoding`,
    /// those that `Connection` names) left out; `Content-Length` stays.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// How the body ends.
    pub framing: Framing,
    /// The server closes the connection after this answer.
    pub close: bool,
    /// Bytes of the head.
    pub len: usize,
}

/// Parses an answer to a `method` request; `None` while the head is incomplete.
///
/// # Errors
/// [`BadAnswer`] on anything malformed or ambiguous (RFC 9112 section 6.3).
pub fn parse_response(
    buf: &[u8],
    method: &Method,
    upgrade_asked: bool,
) -> Result<Option<ResponseHead>, BadAnswer> {
    let mut storage = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut storage);
    let len = match parsed.parse(buf) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(BadAnswer::Malformed("too many fields"));
        }
        Err(httparse::Error::Version) => return Err(BadAnswer::Malformed("not HTTP/1")),
        Err(_) => return Err(BadAnswer::Malformed("bad status line or field")),
    };
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(BadAnswer::Malformed("bad status"))?;
    let http10 = parsed.version == Some(0);
    let reason = parsed
        .reason
        .filter(|&reason| Some(reason) != status.canonical_reason())
        .map(str::to_owned);

    let mut hop = HopByHop {
        close: http10,
        ..HopByHop::default()
    };
    let mut fields = Vec::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| BadAnswer::Malformed("bad field name"))?;
        if hop.take(&name, field.value)? {
            continue;
        }
        let value = HeaderValue::from_bytes(field.value)
            .map_err(|_| BadAnswer::Malformed("bad field value"))?;
        fields.push((name, value));
    }
    if !hop.nominated.is_empty() {
        fields.retain(|(name, _)| !hop.nominated.contains(name));
    }
    if status == StatusCode::SWITCHING_PROTOCOLS && !upgrade_asked {
        return Err(BadAnswer::Malformed("101 that nobody asked for"));
    }
    let framing = hop.framing(status, method, http10)?;
    Ok(Some(ResponseHead {
        status,
        reason,
        http10,
        fields,
        framing,
        close: hop.close || framing == Framing::UntilClose,
        len,
    }))
}

/// What the fields say about this connection only.
#[derive(Debug, Default)]
struct HopByHop {
    close: bool,
    chunked: bool,
    length: Option<u64>,
    nominated: Vec<HeaderName>,
}

impl HopByHop {
    /// Notes a field; `true` if it must not be passed on.
    fn take(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, BadAnswer> {
        match *name {
            header::CONTENT_LENGTH => {
                let length = std::str::from_utf8(value)
                    .ok()
                    .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|text| text.parse().ok())
                    .ok_or(BadAnswer::Framing("Content-Length is not a number"))?;
                if self.length.replace(length).is_some() {
                    return Err(BadAnswer::Framing("repeated Content-Length"));
                }
                Ok(false)
            }
            header::TRANSFER_ENCODING => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadAnswer::Framing("Transfer-Encoding other than chunked"));
                }
                self.chunked = true;
                Ok(true)
            }
            header::CONNECTION => {
                for token in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.close = true;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") {
                        self.close = false;
                    } else if let Ok(name) = HeaderName::from_bytes(token) {
                        // Framing belongs to the message, whatever the server nominates.
                        if name != header::CONTENT_LENGTH && name != header::UPGRADE {
                            self.nominated.push(name);
                        }
                    }
                }
                Ok(true)
            }
            _ => Ok(name == "keep-alive" || name == "proxy-connection"),
        }
    }

    fn framing(
        &self,
        status: StatusCode,
        method: &Method,
        http10: bool,
    ) -> Result<Framing, BadAnswer> {
        if self.chunked && http10 {
            return Err(BadAnswer::Framing("Transfer-Encoding in HTTP/1.0"));
        }
        if self.chunked && self.length.is_some() {
            return Err(BadAnswer::Framing(
                "both Content-Length and Transfer-Encoding",
            ));
        }
        Ok(if status == StatusCode::SWITCHING_PROTOCOLS {
            Framing::UntilClose
        } else if status.is_informational()
            || *method == Method::HEAD
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
        {
            Framing::None
        } else if self.chunked {
            Framing::Chunked
        } else if let Some(length) = self.length {
            Framing::Length(length)
        } else {
            Framing::UntilClose
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<ResponseHead>, BadAnswer> {
        parse_response(text.as_bytes(), &Method::GET, false)
    }

    #[test]
    fn framing_follows_the_rfc() {
        let framing = |text: &str| parse(text).unwrap().unwrap().framing;
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            Framing::Length(5)
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            Framing::Chunked
        );
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), Framing::UntilClose);
        assert_eq!(framing("HTTP/1.1 204 No Content\r\n\r\n"), Framing::None);
        assert_eq!(framing("HTTP/1.1 100 Continue\r\n\r\n"), Framing::None);
        let head = parse_response(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            &Method::HEAD,
            false,
        )
        .unwrap()
        .unwrap();
        assert_eq!(head.framing, Framing::None);
        assert!(parse("HTTP/1.1 200 OK\r\nContent-").unwrap().is_none());
    }

    #[test]
    fn hop_by_hop_fields_stay_behind() {
        let head = parse("HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n")
            .unwrap()
            .unwrap();
        let names: Vec<_> = head.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-end", "content-length"]);
        assert!(head.close);
    }

    #[test]
    fn ambiguous_answers_are_refused() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1, 1",
            "Content-Length: -1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            assert!(
                parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).is_err(),
                "{fields}"
            );
        }
        assert!(parse("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").is_err());
        assert!(parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse("HTTP/2 200 OK\r\n\r\n").is_err());
        assert!(parse("nonsense\r\n\r\n").is_err());
    }
}
