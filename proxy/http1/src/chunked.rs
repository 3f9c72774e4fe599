//! Chunked transfer coding (RFC 9112 section 7.1).

use std::io::Write as _;

use crate::fields::{Fields, Slot};
use crate::lines::Lines;

/// Longest chunk size line, extensions included, in bytes.
const LINE_LIMIT: u32 = 4096;
/// Longest trailer section, in bytes.
const TRAILERS_LIMIT: u32 = 16 * 1024;

/// Reads chunk framing; see [`super::BodyDecoder`].
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of the present line or trailer section seen so far.
    line: u32,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the hexadecimal size; the digits so far and how many.
    Size(u64, u8),
    /// In an extension, skipped up to the CR.
    Extension(u64),
    /// The LF that ends the size line is next.
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    /// Inside a trailer line.
    Trailer,
    TrailerLf,
    /// The LF of the last empty line is next.
    EndLf,
    Done,
}

/// What [`Chunked::step`] found at the front of its input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChunkStep {
    /// Bytes used up.
    pub(super) consumed: usize,
    /// The last `data` bytes of those are body.
    pub(super) data: usize,
    /// The body is complete.
    pub(super) done: bool,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size(0, 0),
            line: 0,
            trailers: Vec::new(),
        }
    }

    /// Consumes framing up to the next run of body bytes, and that run.
    ///
    /// Returns `Err` on anything that is not exactly the grammar.
    pub(super) fn step(&mut self, input: &[u8]) -> Result<ChunkStep, &'static str> {
        let mut at = 0;
        loop {
            if let State::Data(left) = self.state {
                let take = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(input.len() - at);
                let rest = left - take as u64;
                self.state = if rest == 0 {
                    State::DataCr
                } else {
                    State::Data(rest)
                };
                return Ok(ChunkStep {
                    consumed: at + take,
                    data: take,
                    done: false,
                });
            }
            if self.state == State::Done {
                return Ok(ChunkStep {
                    consumed: at,
                    data: 0,
                    done: true,
                });
            }
            let Some(&byte) = input.get(at) else {
                return Ok(ChunkStep {
                    consumed: at,
                    data: 0,
                    done: false,
                });
            };
            at += 1;
            self.line += 1;
            if self.in_trailers() {
                if self.line > TRAILERS_LIMIT {
                    return Err("trailers too long");
                }
                self.trailers.push(byte);
            } else if self.line > LINE_LIMIT {
                return Err("chunk framing too long");
            }
            self.state = self.next(byte)?;
        }
    }

    fn in_trailers(&self) -> bool {
        matches!(
            self.state,
            State::TrailerStart | State::Trailer | State::TrailerLf | State::EndLf
        )
    }

    /// The trailers, once the body is complete; `None` if there are none.
    pub(super) fn trailers(self) -> Result<Option<Fields>, &'static str> {
        if self.trailers.len() <= 2 {
            return Ok(None);
        }
        let mut lines = Lines::default();
        let mut slots = Vec::new();
        while let Some(line) = lines.next(&self.trailers) {
            let start = line.range.start;
            let text = self.trailers.get(line.range).unwrap_or_default();
            if text.is_empty() {
                break;
            }
            slots.push(Slot::parse(text, start, line.crlf).map_err(|_| "malformed trailer")?);
        }
        Ok(Some(Fields::from_parsed(self.trailers, slots)))
    }

    fn next(&mut self, byte: u8) -> Result<State, &'static str> {
        Ok(match (self.state, byte) {
            (State::Size(n, digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits >= 15 {
                    return Err("chunk size too large");
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                State::Size(n * 16 + u64::from(digit), digits + 1)
            }
            (State::Size(_, 0), _) => return Err("chunk size missing"),
            (State::Size(n, _), b'\r') => State::SizeLf(n),
            (State::Size(n, _), b';') => State::Extension(n),
            (State::Extension(n), b'\r') => State::SizeLf(n),
            (State::Extension(n), b'\t' | b' '..=0x7e | 0x80..) => State::Extension(n),
            (State::SizeLf(0), b'\n') => {
                self.line = 0;
                State::TrailerStart
            }
            (State::SizeLf(n), b'\n') => {
                self.line = 0;
                State::Data(n)
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, 0),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::Trailer, b'\t' | b' '..=0x7e | 0x80..) => State::Trailer,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err("malformed chunk framing"),
        })
    }
}

/// Writes chunk framing.
#[derive(Debug)]
pub struct ChunkWriter;

impl ChunkWriter {
    /// Appends `data` as one chunk; an empty slice appends nothing, since that would end the body.
    pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        Self::start(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the line in front of `len` bytes of data, which must not be 0: that would end the body. After the
    /// data comes CRLF.
    pub fn start(out: &mut Vec<u8>, len: usize) {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{len:x}\r\n");
    }

    /// Appends the last chunk.
    pub fn end(out: &mut Vec<u8>) {
        out.extend_from_slice(b"0\r\n\r\n");
    }

    /// Appends the last chunk with trailers.
    pub fn end_with(out: &mut Vec<u8>, trailers: &Fields) {
        out.extend_from_slice(b"0\r\n");
        trailers.write(out);
        out.extend_from_slice(b"\r\n");
    }
}
