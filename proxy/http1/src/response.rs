//! Heads of answers.

use std::ops::Range;

use http::Method;

use crate::fields::{Fields, Slot};
use crate::lines::Lines;
use crate::syntax::number;
use crate::{Framing, Name};

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// Not HTTP/1, or malformed.
    #[error("malformed response head: {0}")]
    Malformed(&'static str),
    /// Framing that two readers could read differently.
    #[error("ambiguous response framing: {0}")]
    Framing(&'static str),
}

/// The head of an answer, as it came.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status, 100 to 999.
    pub status: u16,
    /// HTTP/1.0.
    pub http10: bool,
    /// The fields in order.
    pub fields: Fields,
    /// How the body ends.
    pub framing: Framing,
    /// The server closes the connection after this answer.
    pub close: bool,
    reason: Range<usize>,
}

// === impl ResponseHead ===

impl ResponseHead {
    /// A head that did not come as text: of HTTP/2, which has no reason phrases.
    #[must_use]
    pub fn apart(status: u16, fields: Fields, framing: Framing) -> Self {
        Self {
            status,
            http10: false,
            fields,
            framing,
            close: false,
            reason: 0..0,
        }
    }

    /// The reason phrase as it was sent; may be empty.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        self.fields
            .bytes()
            .get(self.reason.clone())
            .unwrap_or_default()
    }

    /// 100 to 199.
    #[must_use]
    pub fn is_informational(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// Removes what is meant for this connection only (RFC 9110 section 7.6.1): `Connection` and what it
    /// names, `Keep-Alive`, `Proxy-Connection`, `Transfer-Encoding`, and `Upgrade` unless the
    /// status is about it. `Content-Length` stays.
    pub fn strip_hop_by_hop(&mut self) {
        let upgrading = matches!(self.status, 101 | 426);
        if self.fields.has(Name::Connection) {
            let nominated: Vec<Vec<u8>> = self
                .fields
                .tokens(Name::Connection)
                .filter(|token| !matches!(Name::of(token), Name::ContentLength | Name::Upgrade))
                .filter(|t| {
                    !t.eq_ignore_ascii_case(b"close") && !t.eq_ignore_ascii_case(b"keep-alive")
                })
                .map(<[u8]>::to_vec)
                .collect();
            for name in nominated {
                self.fields.remove_called(&name);
            }
            self.fields.remove(Name::Connection);
        }
        for name in [
            Name::KeepAlive,
            Name::ProxyConnection,
            Name::TransferEncoding,
        ] {
            self.fields.remove(name);
        }
        if !upgrading {
            self.fields.remove(Name::Upgrade);
        }
    }
}

/// Parses the head of an answer from a buffer that grows at its end. Lines may end in LF alone.
#[derive(Debug, Default)]
pub struct ResponseParser {
    lines: Lines,
    status_line: Option<StatusLine>,
    slots: Vec<Slot>,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug)]
struct StatusLine {
    status: u16,
    http10: bool,
    reason: Range<usize>,
}

/// What a parser needs to know of the request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// It asked for another protocol, so that 101 is an answer.
    pub upgrade: bool,
}

// === impl ResponseParser ===

impl ResponseParser {
    /// A parser at the start of a head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with `buf`, which begins as at the last call. Returns the head and its length once it is
    /// complete; the parser is then at the start of another head.
    ///
    /// # Errors
    /// [`BadAnswer`] on anything malformed or ambiguous (RFC 9112 section 6.3).
    pub fn advance(
        &mut self,
        buf: &[u8],
        asked: Asked<'_>,
    ) -> Result<Option<(ResponseHead, usize)>, BadAnswer> {
        while let Some(line) = self.lines.next(buf) {
            let start = line.range.start;
            let text = buf.get(line.range).unwrap_or_default();
            if self.status_line.is_none() {
                self.status_line = Some(StatusLine::parse(text, start)?);
                self.slots.reserve(12);
            } else if text.is_empty() {
                let len = self.lines.at();
                let parser = std::mem::take(self);
                return parser.finish(buf, len, asked).map(|head| Some((head, len)));
            } else {
                self.field(text, start, line.crlf, buf)?;
            }
        }
        if self.status_line.is_none() {
            let known = b"HTTP/1.".len().min(buf.len());
            if buf.get(..known) != b"HTTP/1.".get(..known) {
                return Err(BadAnswer::Malformed("not HTTP/1"));
            }
        }
        Ok(None)
    }

    /// How much of the buffer has been looked at: all of it, while the head is incomplete.
    #[must_use]
    pub fn scanned(&self) -> usize {
        self.lines.scanned()
    }

    fn field(
        &mut self,
        line: &[u8],
        start: usize,
        crlf: bool,
        buf: &[u8],
    ) -> Result<(), BadAnswer> {
        let slot = Slot::parse(line, start, crlf).map_err(|_| BadAnswer::Malformed("bad field"))?;
        let value = slot.value(buf);
        match slot.name() {
            Name::ContentLength => {
                let length =
                    number(value).ok_or(BadAnswer::Framing("Content-Length is not a number"))?;
                if self.length.replace(length).is_some() {
                    return Err(BadAnswer::Framing("repeated Content-Length"));
                }
            }
            Name::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadAnswer::Framing("Transfer-Encoding other than chunked"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        self.slots.push(slot);
        Ok(())
    }

    fn finish(self, buf: &[u8], len: usize, asked: Asked<'_>) -> Result<ResponseHead, BadAnswer> {
        let StatusLine {
            status,
            http10,
            reason,
        } = self.status_line.ok_or(BadAnswer::Malformed("empty"))?;
        if status == 101 && !asked.upgrade {
            return Err(BadAnswer::Malformed("101 that nobody asked for"));
        }
        if self.chunked && http10 {
            return Err(BadAnswer::Framing("Transfer-Encoding in HTTP/1.0"));
        }
        if self.chunked && self.length.is_some() {
            return Err(BadAnswer::Framing(
                "both Content-Length and Transfer-Encoding",
            ));
        }
        let framing = match self.length {
            _ if status == 101 => Framing::UntilClose,
            _ if status < 200
                || status == 204
                || status == 304
                || *asked.method == Method::HEAD =>
            {
                Framing::None
            }
            _ if self.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        };
        // Room for what a proxy adds.
        let mut bytes = Vec::with_capacity(len + 160);
        bytes.extend_from_slice(buf.get(..len).unwrap_or_default());
        let fields = Fields::from_parsed(bytes, self.slots);
        let close = match http10 {
            true => !fields.has_token(Name::Connection, b"keep-alive"),
            false => fields.has_token(Name::Connection, b"close"),
        };
        Ok(ResponseHead {
            status,
            http10,
            reason,
            fields,
            framing,
            close: close || framing == Framing::UntilClose,
        })
    }
}

// === impl StatusLine ===

impl StatusLine {
    /// `HTTP/1.x SP status [SP reason]` (RFC 9112 section 4), of the line that begins at `start`.
    fn parse(line: &[u8], start: usize) -> Result<Self, BadAnswer> {
        let bad = BadAnswer::Malformed("bad status line");
        let (version, rest) = line.split_at_checked(9).ok_or(bad.clone())?;
        let http10 = match version {
            b"HTTP/1.1 " => false,
            b"HTTP/1.0 " => true,
            _ => return Err(BadAnswer::Malformed("not HTTP/1")),
        };
        let (code, reason) = rest.split_at_checked(3).ok_or(bad.clone())?;
        if !code.iter().all(u8::is_ascii_digit) {
            return Err(bad);
        }
        let status = code.iter().fold(0, |n, &d| n * 10 + u16::from(d - b'0'));
        let reason = match reason {
            [] => &[][..],
            [b' ', reason @ ..] => reason,
            _ => return Err(bad),
        };
        if status < 100 || !crate::syntax::is_field_value(reason) {
            return Err(bad);
        }
        Ok(Self {
            status,
            http10,
            reason: start + line.len() - reason.len()..start + line.len(),
        })
    }
}
