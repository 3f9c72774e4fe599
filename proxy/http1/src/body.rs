//! Body framing: where a body ends, and which bytes belong to it.

use super::chunked::Chunked;
use super::fields::Fields;

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body by definition (HEAD, 204, 304) or by length 0.
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection closes; it cannot be reused.
    UntilClose,
}

/// Body bytes did not follow their framing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadBody(pub &'static str);

/// Splits a byte stream into body bytes and what follows.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    trailers: Option<Box<Fields>>,
}

#[derive(Debug)]
enum State {
    Done,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// What was found at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub struct BodyStep {
    /// Bytes used up.
    pub consumed: usize,
    /// The last `data` bytes of those are body.
    pub data: usize,
    /// The body is complete.
    pub done: bool,
}

impl BodyDecoder {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            trailers: None,
        }
    }

    /// The trailers of a complete body, once.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take().map(|trailers| *trailers)
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the end of the connection is the end of the body.
    #[must_use]
    pub fn ends_at_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Takes the next run of body bytes from the front of `input`.
    ///
    /// # Errors
    /// [`BadBody`] if chunk framing is malformed.
    pub fn step(&mut self, input: &[u8]) -> Result<BodyStep, BadBody> {
        match &mut self.state {
            State::Done => Ok(BodyStep {
                consumed: 0,
                data: 0,
                done: true,
            }),
            State::UntilClose => Ok(BodyStep {
                consumed: input.len(),
                data: input.len(),
                done: false,
            }),
            State::Length(left) => {
                let take = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *left -= take as u64;
                let done = *left == 0;
                if done {
                    self.state = State::Done;
                }
                Ok(BodyStep {
                    consumed: take,
                    data: take,
                    done,
                })
            }
            State::Chunked(chunked) => {
                let step = chunked.step(input).map_err(BadBody)?;
                if step.done
                    && let State::Chunked(chunked) = std::mem::replace(&mut self.state, State::Done)
                {
                    self.trailers = chunked.trailers().map_err(BadBody)?.map(Box::new);
                }
                Ok(BodyStep {
                    consumed: step.consumed,
                    data: step.data,
                    done: step.done,
                })
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::ChunkWriter;
    use super::*;
    use proptest::prelude::*;

    /// Decodes `input`, fed in pieces of `piece` bytes; the body, what follows it, and whether it ended.
    fn decode(
        framing: Framing,
        input: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, Vec<u8>, bool), BadBody> {
        let mut decoder = BodyDecoder::new(framing);
        let mut body = Vec::new();
        let mut pending = Vec::new();
        for part in input.chunks(piece.max(1)) {
            pending.extend_from_slice(part);
            loop {
                let step = decoder.step(&pending)?;
                body.extend_from_slice(&pending[step.consumed - step.data..step.consumed]);
                pending.drain(..step.consumed);
                if step.done || step.data == 0 {
                    break;
                }
            }
        }
        Ok((body, pending, decoder.is_done()))
    }

    proptest! {
        #[test]
        fn chunked_bodies_come_back_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            piece in 1usize..50,
        ) {
            let mut wire = Vec::new();
            for part in &parts {
                ChunkWriter::chunk(&mut wire, part);
            }
            ChunkWriter::end(&mut wire);
            wire.extend_from_slice(b"HTTP/1.1");
            let (body, rest, done) = decode(Framing::Chunked, &wire, piece).unwrap();
            prop_assert_eq!(body, parts.concat());
            prop_assert_eq!(rest, b"HTTP/1.1".to_vec());
            prop_assert!(done);
        }

        #[test]
        fn sized_bodies_stop_at_their_length(data in prop::collection::vec(any::<u8>(), 1..200), cut in 1usize..200, piece in 1usize..50) {
            let cut = cut.min(data.len());
            let (body, rest, done) = decode(Framing::Length(cut as u64), &data, piece).unwrap();
            prop_assert_eq!(&body[..], &data[..cut]);
            prop_assert_eq!(&rest[..], &data[cut..]);
            prop_assert!(done);
        }

        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
            let _ = decode(Framing::Chunked, &data, piece);
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for wire in [
            &b"\r\n"[..],
            b"x\r\n",
            b"1 \r\na\r\n0\r\n\r\n",
            b"+1\r\na\r\n",
            b"0x1\r\na\r\n",
            b"1\na\n0\n\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"1;a\nb\r\na\r\n",
            b"1;\0\r\na\r\n",
            b"1111111111111111\r\n",
        ] {
            assert!(
                decode(Framing::Chunked, wire, 64).is_err(),
                "{:?}",
                wire.escape_ascii().to_string()
            );
        }
        let long = format!("1;{}\r\n", "x".repeat(5000));
        assert!(decode(Framing::Chunked, long.as_bytes(), 64).is_err());
    }

    #[test]
    fn extensions_are_skipped_and_trailers_kept() {
        let wire = b"3;a=\"b\"\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(
            decode(Framing::Chunked, wire, 2).unwrap(),
            (b"abc".to_vec(), vec![], true)
        );
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let step = decoder.step(wire).unwrap();
        assert_eq!(step.data, 3);
        assert!(decoder.step(&wire[step.consumed..]).unwrap().done);
        let trailers = decoder.take_trailers().unwrap();
        assert_eq!(trailers.find(b"x-sum"), Some(&b"1"[..]));
        assert!(decoder.take_trailers().is_none());
        for bad in [
            "0\r\nX Sum: 1\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "0\r\nX\r\n\r\n",
        ] {
            assert!(
                decode(Framing::Chunked, bad.as_bytes(), 3).is_err(),
                "{bad}"
            );
        }
        let mut wire = Vec::new();
        ChunkWriter::end_with(&mut wire, &trailers);
        assert_eq!(wire, b"0\r\nX-Sum: 1\r\n\r\n");
    }
}
