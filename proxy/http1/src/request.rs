//! Request heads: strict parsing, piece by piece.

use http::Method;

use crate::fields::{Fields, Slot};
use crate::lines::Lines;
use crate::syntax::{is_authority, is_token, number};
use crate::target::{Target, parse_target};
use crate::{Name, Version};

/// Longest method, in bytes. None that is registered has more than 17.
const MAX_METHOD: usize = 32;

/// Why a request head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The request line is not `METHOD SP target SP HTTP/1.x`.
    #[error("malformed request line")]
    RequestLine,
    /// A version this codec does not speak.
    #[error("unsupported HTTP version")]
    Version,
    /// A header line without a valid name, with folding, or with a forbidden byte.
    #[error("malformed header field")]
    Field,
    /// A line that does not end in CRLF.
    #[error("bare LF")]
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

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestBody {
    /// There is none.
    #[default]
    None,
    /// `Content-Length`, which may be 0.
    Length(u64),
    /// Its end is marked in the stream: chunked in HTTP/1, the end of the stream in HTTP/2.
    Stream,
}

/// A request head of any HTTP version. Every part is kept as the client wrote it.
#[derive(Debug)]
pub struct RequestHead {
    /// Method.
    pub method: Method,
    /// Version.
    pub version: Version,
    /// The fields. `Host` is among them if it was sent; use [`RequestHead::authority`].
    pub fields: Fields,
    /// How the body is delimited.
    pub body: RequestBody,
    /// The client wants to use the connection again.
    pub keep_alive: bool,
    target: Target,
}

// === impl RequestHead ===

impl RequestHead {
    /// A head that did not come as HTTP/1 text: `path` is path and query, or `*`.
    #[must_use]
    pub fn new(
        version: Version,
        method: Method,
        path: &[u8],
        authority: Option<&[u8]>,
        fields: Fields,
        body: RequestBody,
    ) -> Self {
        let target = Target::apart(path, authority);
        Self {
            method,
            version,
            fields,
            body,
            keep_alive: true,
            target,
        }
    }

    /// The request target as written.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.target.written(self.fields.bytes())
    }

    /// Path and query as a server expects them, or `*`: an absolute target without its scheme and
    /// authority, everything else as written.
    #[must_use]
    pub fn origin_form(&self) -> &[u8] {
        self.target.origin_form(self.fields.bytes())
    }

    /// Who is asked, as `host[:port]`: the authority of the target if it has one (RFC 9112 section
    /// 3.2.2), else `Host`. Empty if neither is there.
    #[must_use]
    pub fn authority(&self) -> &[u8] {
        self.target
            .authority(self.fields.bytes())
            .or_else(|| self.fields.get(Name::Host))
            .unwrap_or_default()
    }

    /// Whether chunked and informational answers are understood: anything but HTTP/1.0.
    #[must_use]
    pub fn is_modern(&self) -> bool {
        self.version != Version::Http10
    }

    /// The client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.is_modern()
            && self.body != RequestBody::None
            && self
                .fields
                .get(Name::Expect)
                .is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"))
    }

    /// The protocols that the client offers to switch to: those in `Upgrade`, if `Connection` names it
    /// and the message has no body. HTTP/2 is never among them: no proxy may ask for it (RFC 9113
    /// section 3.1). A client of HTTP/2 cannot send these fields; its extended CONNECT is put in their words (RFC 8441).
    pub fn upgrades(&self) -> impl Iterator<Item = &[u8]> {
        let asked = self.is_modern()
            && matches!(self.body, RequestBody::None | RequestBody::Length(0))
            && self.fields.has(Name::Upgrade)
            && self.fields.has_token(Name::Connection, b"upgrade");
        self.fields
            .tokens(Name::Upgrade)
            .filter(move |protocol| asked && !is_http(protocol))
    }
}

/// A version of HTTP itself, under whatever name.
fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|&b| b == b'/').next().unwrap_or_default();
    [&b"h2c"[..], b"h2", b"h3", b"http"]
        .iter()
        .any(|http| name.eq_ignore_ascii_case(http))
}

/// Parses a request head from a buffer that grows at its end (RFC 9112 sections 2 to 6). What cannot
/// become a request is refused as soon as that is certain.
#[derive(Debug, Default)]
pub struct RequestParser {
    lines: Lines,
    looked_at: usize,
    request_line: Option<(Method, Version, Target)>,
    slots: Vec<Slot>,
    host: bool,
    length: Option<u64>,
    chunked: bool,
    len: usize,
}

// === impl RequestParser ===

impl RequestParser {
    /// A parser at the start of a head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with `buf`, which begins as at the last call. Returns the length of the head once it is
    /// complete; then call [`RequestParser::finish`].
    ///
    /// # Errors
    /// The first [`HeadError`] found.
    pub fn advance(&mut self, buf: &[u8]) -> Result<Option<usize>, HeadError> {
        while let Some(line) = self.lines.next(buf) {
            if !line.crlf {
                return Err(HeadError::BareNewline);
            }
            let start = line.range.start;
            let text = buf.get(line.range).unwrap_or_default();
            if self.request_line.is_none() {
                let (method, target, version) = split_request_line(text)?;
                let target = parse_target(&method, target, start + method.as_str().len() + 1)
                    .ok_or(HeadError::RequestLine)?;
                self.request_line = Some((method, version, target));
                // Most requests have no more fields than this.
                self.slots.reserve(16);
            } else if text.is_empty() {
                self.len = self.lines.at();
                self.check()?;
                return Ok(Some(self.len));
            } else {
                self.field(text, start, buf)?;
            }
        }
        self.check_partial(buf)?;
        self.looked_at = buf.len();
        Ok(None)
    }

    fn field(&mut self, line: &[u8], start: usize, buf: &[u8]) -> Result<(), HeadError> {
        let slot = Slot::parse(line, start, true).map_err(|_| HeadError::Field)?;
        let value = slot.value(buf);
        match slot.name() {
            Name::Host => {
                let again = std::mem::replace(&mut self.host, true);
                if again || !is_authority(value) {
                    return Err(HeadError::Host);
                }
            }
            Name::ContentLength => {
                let length = number(value).ok_or(HeadError::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(HeadError::ContentLength);
                }
            }
            Name::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        self.slots.push(slot);
        Ok(())
    }

    /// What only the whole head shows.
    fn check(&self) -> Result<(), HeadError> {
        let http10 = matches!(self.request_line, Some((_, Version::Http10, _)));
        if !self.host && !http10 {
            return Err(HeadError::Host);
        }
        if self.chunked && http10 {
            return Err(HeadError::TransferEncoding);
        }
        if self.chunked && self.length.is_some() {
            return Err(HeadError::ContentLength);
        }
        Ok(())
    }

    /// Refuses what cannot become a line of a head, whatever follows.
    fn check_partial(&self, buf: &[u8]) -> Result<(), HeadError> {
        let fresh = self.lines.fresh(buf, self.looked_at);
        let fresh = fresh.strip_suffix(b"\r").unwrap_or(fresh);
        let error = match self.request_line {
            None => HeadError::RequestLine,
            Some(_) => HeadError::Field,
        };
        if !crate::syntax::is_field_value(fresh) {
            return Err(error);
        }
        if self.request_line.is_none() && self.looked_at <= MAX_METHOD {
            let start = buf.get(self.lines.at()..).unwrap_or_default();
            let method = start.split(|&b| b == b' ').next().unwrap_or_default();
            let method = method.strip_suffix(b"\r").unwrap_or(method);
            if method.len() > MAX_METHOD || !method.iter().all(|&b| is_token(b)) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The head, whose text is `bytes`: as many as [`RequestParser::advance`] said.
    #[must_use]
    pub fn finish(self, bytes: Vec<u8>) -> Option<RequestHead> {
        let (method, version, target) = self.request_line?;
        let fields = Fields::from_parsed(bytes, self.slots);
        let says = |token: &[u8]| fields.has_token(Name::Connection, token);
        let keep_alive = match version {
            Version::Http10 => says(b"keep-alive") && !says(b"close"),
            _ => !says(b"close"),
        };
        let body = match self.length {
            _ if self.chunked => RequestBody::Stream,
            Some(n) => RequestBody::Length(n),
            None => RequestBody::None,
        };
        Some(RequestHead {
            method,
            version,
            fields,
            body,
            keep_alive,
            target,
        })
    }
}

fn split_request_line(line: &[u8]) -> Result<(Method, &[u8], Version), HeadError> {
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::RequestLine);
    };
    if method.len() > MAX_METHOD || method.is_empty() || !method.iter().all(|&b| is_token(b)) {
        return Err(HeadError::RequestLine);
    }
    let method = Method::from_bytes(method).map_err(|_| HeadError::RequestLine)?;
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(HeadError::Version);
        }
        _ => return Err(HeadError::RequestLine),
    };
    Ok((method, target, version))
}
