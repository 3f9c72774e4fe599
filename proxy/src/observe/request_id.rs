//! Request ids: 32 hexadecimal digits, as nginx's `$request_id`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Makes request ids that are unique in this process and hard to guess across processes.
#[derive(Debug)]
pub struct RequestIds {
    key: [u64; 2],
    next: AtomicU64,
}

/// One request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 32]);

impl RequestIds {
    /// A generator with a random key.
    #[must_use]
    pub fn new() -> Self {
        Self {
            key: [rand::random(), rand::random()],
            next: AtomicU64::new(0),
        }
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId::from_halves(mix(n ^ self.key[0]), mix(n.wrapping_add(self.key[1])))
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestId {
    fn from_halves(high: u64, low: u64) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        let bytes = high.to_be_bytes().into_iter().chain(low.to_be_bytes());
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Self(text)
    }

    /// An id given by a trusted proxy, if it has the same form.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text: [u8; 32] = value.try_into().ok()?;
        text.iter().all(u8::is_ascii_hexdigit).then_some(Self(text))
    }

    /// The digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII digits are ever stored.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection, so different counters never
/// give the same half.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_parse_back() {
        let ids = RequestIds::new();
        let first = ids.next();
        assert_ne!(first, ids.next());
        assert_eq!(RequestId::parse(first.as_bytes()), Some(first));
        assert!(RequestId::parse(b"short").is_none());
        assert!(RequestId::parse(&[b'x'; 32]).is_none());
    }
}
