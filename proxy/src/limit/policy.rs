//! What a limit allows, and what it decides.

use std::{num::NonZeroU64, time::Duration};

use weir_api::units::Rate;

use super::bucket::REQUEST;

/// What happens to requests above the rate but within the burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// They pass at once (nginx: `nodelay`).
    Never,
    /// The first so many pass at once, the rest wait for their turn (nginx: `delay=N`; 0 is nginx's default).
    After(u32),
}

/// Rate, burst and delay of a limit, ready for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Thousandths of a request per second.
    rate: NonZeroU64,
    /// The highest level let in, in thousandths of a request.
    burst: u64,
    /// Levels up to here pass at once, in thousandths of a request.
    undelayed: u64,
    dry_run: bool,
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Let it pass now.
    Admit,
    /// Let it pass after this time.
    Delay(Duration),
    /// Turn it away.
    Reject,
}

impl Policy {
    /// A policy that lets `rate` in for good, and `burst` requests above it.
    #[must_use]
    pub fn new(rate: Rate, burst: u32, delay: Delay) -> Self {
        Self {
            rate: NonZeroU64::new(rate.thousandths_per_second()).unwrap_or(NonZeroU64::MIN),
            burst: u64::from(burst) * REQUEST,
            undelayed: match delay {
                Delay::Never => u64::MAX,
                Delay::After(requests) => u64::from(requests) * REQUEST,
            },
            dry_run: false,
        }
    }

    /// The same policy, which decides and counts but lets every request pass (nginx: `limit_req_dry_run`).
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// Whether requests pass whatever is decided.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Thousandths of a request per second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate.get()
    }

    /// Whether a request that brings the level to `excess` is within the burst.
    pub(super) fn admits(&self, excess: u64) -> bool {
        excess <= self.burst
    }

    /// How long until a request that brings the level to `excess` would be within the burst.
    pub(super) fn until_admitted(&self, excess: u64) -> Duration {
        let over = excess.saturating_sub(self.burst);
        Duration::from_millis(over.saturating_mul(1000).div_ceil(self.rate.get()))
    }

    /// How long a request that brought the level to `excess` waits for its turn.
    pub(super) fn wait(&self, excess: u64) -> Duration {
        let late = excess.saturating_sub(self.undelayed);
        Duration::from_millis(late.saturating_mul(1000) / self.rate)
    }
}
