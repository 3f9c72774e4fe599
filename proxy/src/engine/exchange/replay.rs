//! What a server has been sent of a request body, for the case that it says it did nothing with it.

use weir_http1::Fields;

/// Most of a body that is kept.
const MAX: usize = 64 * 1024;

/// The start of a request body, as taken from the client by earlier tries.
#[derive(Debug, Default)]
pub(in super::super) struct Replay {
    bytes: Vec<u8>,
    /// More was taken than is kept: the request cannot be sent again.
    lost: bool,
    trailers: Option<Fields>,
}

// === impl Replay ===

impl Replay {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is kept, from `at` on.
    pub(super) fn from(&self, at: usize) -> &[u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    /// Whether the body can be sent again from its start.
    pub(in super::super) fn is_whole(&self) -> bool {
        !self.lost
    }

    /// Notes what is taken from the client; it is kept if the server `may_refuse` the request.
    pub(super) fn push(&mut self, piece: &[u8], may_refuse: bool) {
        if self.lost || piece.is_empty() {
            return;
        }
        if may_refuse && self.bytes.len() + piece.len() <= MAX {
            self.bytes.extend_from_slice(piece);
        } else {
            self.lost = true;
            self.bytes = Vec::new();
        }
    }

    /// The trailers of the request: those that the client sends now, or sent during an earlier try.
    pub(super) fn trailers(&mut self, taken: Option<Fields>) -> Option<&Fields> {
        if taken.is_some() {
            self.trailers = taken;
        }
        self.trailers.as_ref()
    }
}
