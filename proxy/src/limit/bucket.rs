//! The leaky bucket of one key.

/// One request, in the thousandths that levels and rates are counted in.
pub(super) const REQUEST: u64 = 1000;

/// A clock that went back further than this was set anew, as opposed to two threads racing.
const CLOCK_STEP_MS: u64 = 60_000;

/// The level of one key: how far its requests are ahead of the rate, in thousandths of a request.
///
/// Integer arithmetic in milliseconds, exactly as nginx does it: what drains between two requests is
/// `rate · Δms / 1000`, rounded down, with the rate in thousandths of a request per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    excess: u64,
    last_ms: u64,
}

impl Bucket {
    /// The bucket of a key at its first request, which costs nothing.
    #[must_use]
    pub const fn first(now_ms: u64) -> Self {
        Self {
            excess: 0,
            last_ms: now_ms,
        }
    }

    /// The level after one more request at `now_ms`; the bucket itself stays as it is.
    ///
    /// `rate` is in thousandths of a request per second.
    #[must_use]
    pub fn excess_with_one_more(&self, rate: u64, now_ms: u64) -> u64 {
        let drained = rate.saturating_mul(self.elapsed(now_ms)) / 1000;
        self.excess.saturating_add(REQUEST).saturating_sub(drained)
    }

    /// Takes one more request in: stores its level, and the time unless that stood still.
    pub fn charge(&mut self, excess: u64, now_ms: u64) {
        if self.elapsed(now_ms) > 0 {
            self.last_ms = now_ms;
        }
        self.excess = excess;
    }

    /// The level left at `now_ms` without a further request.
    #[must_use]
    pub fn level(&self, rate: u64, now_ms: u64) -> u64 {
        let drained = rate.saturating_mul(self.elapsed(now_ms)) / 1000;
        self.excess.saturating_sub(drained)
    }

    /// Whether forgetting the key changes no later decision, after at least `idle_ms` of silence.
    #[must_use]
    pub fn is_spent(&self, rate: u64, idle_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_ms) >= idle_ms
            && self.excess_with_one_more(rate, now_ms) == 0
    }

    /// Milliseconds since the last request that was let in.
    fn elapsed(&self, now_ms: u64) -> u64 {
        match now_ms.checked_sub(self.last_ms) {
            Some(ms) => ms,
            None if self.last_ms - now_ms > CLOCK_STEP_MS => 1,
            None => 0,
        }
    }
}
