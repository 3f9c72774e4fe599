//! Reading HTTP/1.1 answers, as they come in, with as little copying as possible.

use std::mem::MaybeUninit;

use super::MAX_KEPT;
use crate::record::FailureKind;

/// Most headers of an answer.
const MAX_HEADERS: usize = 96;
/// Longest head of an answer.
const MAX_HEAD: usize = 64 << 10;

/// Reads one answer after another from the bytes of a connection.
#[derive(Debug, Default)]
pub(super) struct ResponseReader {
    state: State,
    /// The beginning of a head that did not come in one piece.
    partial: Vec<u8>,
    /// Body, if it is kept.
    pub(super) body: Vec<u8>,
    /// Bytes of the body, kept or not.
    pub(super) body_size: u64,
    /// Head, if it is kept.
    pub(super) kept_head: Vec<u8>,
    keeps_body: bool,
    keeps_head: bool,
    to_head: bool,
    pub(super) status: u16,
    /// Whether the connection can be used again.
    pub(super) keep_alive: bool,
    /// Bytes of this answer so far.
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Head,
    Sized(u64),
    Chunked(Chunk),
    UntilClose,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
    },
    Data(u64),
    DataEnd,
    /// In the trailer; `line` is the length of the current line.
    Trailer {
        line: u32,
    },
}

const CHUNK_START: Chunk = Chunk::Size {
    value: 0,
    digits: 0,
};

impl ResponseReader {
    /// Prepares for the next answer.
    pub(super) fn begin(&mut self, keeps_body: bool, keeps_head: bool, to_head: bool) {
        self.state = State::Head;
        self.partial.clear();
        self.body.clear();
        self.body_size = 0;
        self.kept_head.clear();
        self.keeps_body = keeps_body;
        self.keeps_head = keeps_head;
        self.to_head = to_head;
        self.status = 0;
        self.keep_alive = true;
        self.bytes = 0;
    }

    /// Whether nothing of the answer has come yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.bytes == 0
    }

    /// Takes what came in; `true` once the answer is complete.
    pub(super) fn feed(&mut self, mut data: &[u8]) -> Result<bool, FailureKind> {
        self.bytes += data.len() as u64;
        loop {
            match self.state {
                State::Head => {
                    let consumed = if self.partial.is_empty() {
                        match self.head(data)? {
                            Some(consumed) => consumed,
                            None => {
                                self.partial.extend_from_slice(data);
                                return self.within_limits();
                            }
                        }
                    } else {
                        let before = self.partial.len();
                        self.partial.extend_from_slice(data);
                        let partial = std::mem::take(&mut self.partial);
                        match self.head(&partial)? {
                            Some(consumed) => consumed.saturating_sub(before),
                            None => {
                                self.partial = partial;
                                return self.within_limits();
                            }
                        }
                    };
                    data = data.get(consumed..).unwrap_or_default();
                }
                State::Sized(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let (now, rest) = data.split_at(take);
                    self.keep(now);
                    data = rest;
                    let left = left - take as u64;
                    if left > 0 {
                        self.state = State::Sized(left);
                        return Ok(false);
                    }
                    self.state = State::Done;
                }
                State::Chunked(chunk) => {
                    if data.is_empty() {
                        return Ok(false);
                    }
                    data = self.chunk(chunk, data)?;
                }
                State::UntilClose => {
                    self.keep(data);
                    return Ok(false);
                }
                State::Done => {
                    // Bytes that nobody asked for: the connection cannot be trusted any more.
                    if !data.is_empty() {
                        self.keep_alive = false;
                    }
                    return Ok(true);
                }
            }
        }
    }

    /// The connection has ended: complete, or too early?
    pub(super) fn end(&mut self) -> Result<(), FailureKind> {
        self.keep_alive = false;
        match self.state {
            State::Done | State::UntilClose => Ok(()),
            _ => Err(FailureKind::ClosedEarly),
        }
    }

    fn within_limits(&self) -> Result<bool, FailureKind> {
        if self.partial.len() > MAX_HEAD {
            Err(FailureKind::BadResponse)
        } else {
            Ok(false)
        }
    }

    fn keep(&mut self, data: &[u8]) {
        self.body_size += data.len() as u64;
        if self.keeps_body {
            let room = MAX_KEPT.saturating_sub(self.body.len()).min(data.len());
            self.body
                .extend_from_slice(data.get(..room).unwrap_or_default());
        }
    }

    /// Parses a head; the number of its bytes, or `None` if it is not complete.
    fn head(&mut self, data: &[u8]) -> Result<Option<usize>, FailureKind> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, data, &mut headers)
            .map_err(|_| FailureKind::BadResponse)?;
        let httparse::Status::Complete(consumed) = parsed else {
            return Ok(None);
        };
        self.status = response.code.unwrap_or(0);
        let mut keep_alive = response.version == Some(1);
        let mut length: Option<u64> = None;
        let mut chunked = false;
        for header in response.headers.iter() {
            // Telling names apart by length first spares most comparisons.
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    let value = number(header.value).ok_or(FailureKind::BadResponse)?;
                    if length.is_some_and(|length| length != value) {
                        return Err(FailureKind::BadResponse);
                    }
                    length = Some(value);
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    chunked = header
                        .value
                        .trim_ascii()
                        .to_ascii_lowercase()
                        .ends_with(b"chunked");
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    if contains_token(header.value, b"close") {
                        keep_alive = false;
                    } else if contains_token(header.value, b"keep-alive") {
                        keep_alive = true;
                    }
                }
                _ => {}
            }
        }
        self.keep_alive = keep_alive;
        if self.keeps_head && self.status >= 200 {
            self.kept_head
                .extend_from_slice(data.get(..consumed).unwrap_or_default());
        }
        self.state = match self.status {
            101 => return Err(FailureKind::BadResponse),
            100..=199 => State::Head,
            204 | 304 => State::Done,
            _ if self.to_head => State::Done,
            _ if chunked => State::Chunked(CHUNK_START),
            _ => match length {
                Some(0) => State::Done,
                Some(length) => State::Sized(length),
                None => {
                    self.keep_alive = false;
                    State::UntilClose
                }
            },
        };
        Ok(Some(consumed))
    }

    /// Takes one step through a chunked body; what is left of the data.
    fn chunk<'d>(&mut self, chunk: Chunk, data: &'d [u8]) -> Result<&'d [u8], FailureKind> {
        let Some((&first, rest)) = data.split_first() else {
            return Ok(data);
        };
        let bad = Err(FailureKind::BadResponse);
        let after_size = |value: u64| match value {
            0 => Chunk::Trailer { line: 0 },
            size => Chunk::Data(size),
        };
        let (next, rest) = match chunk {
            Chunk::Size { value, digits } => match (char::from(first).to_digit(16), first) {
                (Some(_), _) if digits >= 15 => return bad,
                (Some(digit), _) => {
                    let value = value * 16 + u64::from(digit);
                    let digits = digits + 1;
                    (Chunk::Size { value, digits }, rest)
                }
                (None, _) if digits == 0 => return bad,
                (None, b'\n') => (after_size(value), rest),
                (None, b'\r' | b';' | b' ' | b'\t') => (Chunk::Extension { value }, rest),
                (None, _) => return bad,
            },
            Chunk::Extension { value } => match first {
                b'\n' => (after_size(value), rest),
                _ => (chunk, rest),
            },
            Chunk::Data(left) => {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                let (now, rest) = data.split_at(take);
                self.keep(now);
                match left - take as u64 {
                    0 => (Chunk::DataEnd, rest),
                    left => (Chunk::Data(left), rest),
                }
            }
            Chunk::DataEnd => match first {
                b'\r' => (Chunk::DataEnd, rest),
                b'\n' => (CHUNK_START, rest),
                _ => return bad,
            },
            Chunk::Trailer { line } => match first {
                b'\n' if line == 0 => {
                    self.state = State::Done;
                    return Ok(rest);
                }
                b'\n' => (Chunk::Trailer { line: 0 }, rest),
                b'\r' => (chunk, rest),
                _ => (
                    Chunk::Trailer {
                        line: line.saturating_add(1),
                    },
                    rest,
                ),
            },
        };
        self.state = State::Chunked(next);
        Ok(rest)
    }
}

fn number(value: &[u8]) -> Option<u64> {
    let text = value.trim_ascii();
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + u64::from(byte - b'0')),
        _ => None,
    })
}

fn contains_token(value: &[u8], token: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_in(pieces: &[&[u8]]) -> (Result<bool, FailureKind>, ResponseReader) {
        let mut reader = ResponseReader::default();
        reader.begin(true, true, false);
        let mut result = Ok(false);
        for piece in pieces {
            result = reader.feed(piece);
            if result != Ok(false) {
                break;
            }
        }
        (result, reader)
    }

    fn read(text: &str) -> (Result<bool, FailureKind>, ResponseReader) {
        read_in(&[text.as_bytes()])
    }

    const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &str = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n\
                           3;x=y\r\nhel\r\n02\r\nlo\r\n0\r\nTrailer: a\r\n\r\n";

    #[test]
    fn bodies_are_read_by_length_and_by_chunks() {
        for text in [SIZED, CHUNKED] {
            let (result, reader) = read(text);
            assert_eq!(result, Ok(true));
            assert_eq!(reader.body, b"hello");
            assert!(reader.keep_alive);
        }
    }

    #[test]
    fn answers_without_a_body_are_complete_at_once() {
        for status in ["204 No Content", "304 Not Modified"] {
            let (result, reader) = read(&format!("HTTP/1.1 {status}\r\n\r\n"));
            assert_eq!(result, Ok(true));
            assert!(reader.keep_alive);
        }
        let mut reader = ResponseReader::default();
        reader.begin(false, false, true);
        assert_eq!(
            reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
            Ok(true)
        );
    }

    #[test]
    fn an_interim_answer_is_skipped() {
        let text = format!("HTTP/1.1 100 Continue\r\n\r\n{SIZED}");
        let (result, reader) = read(&text);
        assert_eq!((result, reader.status), (Ok(true), 200));
    }

    #[test]
    fn without_a_length_the_end_of_the_connection_ends_the_body() {
        let (result, mut reader) = read("HTTP/1.1 200 OK\r\n\r\nhel");
        assert_eq!(result, Ok(false));
        assert_eq!(reader.feed(b"lo"), Ok(false));
        assert_eq!(reader.end(), Ok(()));
        assert_eq!(reader.body, b"hello");
        assert!(!reader.keep_alive);
    }

    #[test]
    fn an_early_end_is_a_failure() {
        let (_, mut reader) = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
        assert_eq!(reader.end(), Err(FailureKind::ClosedEarly));
        let (_, mut reader) = read("HTTP/1.1 20");
        assert_eq!(reader.end(), Err(FailureKind::ClosedEarly));
    }

    #[test]
    fn reuse_follows_version_and_connection_header() {
        let reuse = |head: &str| {
            read(&format!("{head}\r\nContent-Length: 0\r\n\r\n"))
                .1
                .keep_alive
        };
        assert!(reuse("HTTP/1.1 200 OK"));
        assert!(!reuse("HTTP/1.0 200 OK"));
        assert!(!reuse("HTTP/1.1 200 OK\r\nConnection: Close"));
        assert!(reuse("HTTP/1.0 200 OK\r\nconnection: keep-alive"));
    }

    #[test]
    fn surplus_bytes_end_the_connection() {
        let (result, reader) = read(&format!("{SIZED}x"));
        assert_eq!(result, Ok(true));
        assert!(!reader.keep_alive);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "SSH-2.0-nope\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
        ] {
            assert_eq!(read(text).0, Err(FailureKind::BadResponse), "{text}");
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(
            chunked: bool, cuts in prop::collection::vec(0_usize..100, 0..12)
        ) {
            let text = if chunked { CHUNKED } else { SIZED }.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (result, reader) = read_in(&pieces);
            prop_assert_eq!(result, Ok(true));
            prop_assert_eq!(&reader.body, b"hello");
            prop_assert_eq!(reader.bytes, text.len() as u64);
        }

        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = ResponseReader::default();
            reader.begin(true, true, false);
            let _ = reader.feed(&data);
            let _ = reader.end();
        }
    }
}
