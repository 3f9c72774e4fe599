//! Frames that cost the server more than the client, counted against budgets.
//!
//! A budget refills with time, and with the useful work that such frames are part of: a client that downloads
//! much updates windows often, one that asks much cancels sometimes.

use std::time::Instant;

/// What a client sends too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super::super) enum Flood {
    /// Requests that it takes back at once (CVE-2023-44487).
    Resets,
    /// SETTINGS, each of which is to be acknowledged (CVE-2019-9515).
    Settings,
    /// PING, each of which is to be answered (CVE-2019-9512).
    Pings,
    /// Frames without content (CVE-2019-9518).
    Empty,
    /// WINDOW_UPDATE without data that would be behind it.
    WindowUpdates,
    /// PRIORITY (CVE-2019-9513) and frames of unknown types.
    Control,
    /// CONTINUATION without end (CVE-2024-27316).
    Continuations,
    /// What `h2` itself counts: streams beyond the limit, tiny DATA frames, streams in error.
    Frames,
}

// === impl Flood ===

impl Flood {
    /// All of them.
    pub(in super::super::super) const ALL: [Self; 8] = [
        Self::Resets,
        Self::Settings,
        Self::Pings,
        Self::Empty,
        Self::WindowUpdates,
        Self::Control,
        Self::Continuations,
        Self::Frames,
    ];

    /// As metrics and the log call it.
    pub(in super::super::super) const fn as_str(self) -> &'static str {
        match self {
            Self::Resets => "resets",
            Self::Settings => "settings",
            Self::Pings => "pings",
            Self::Empty => "empty",
            Self::WindowUpdates => "window_updates",
            Self::Control => "control",
            Self::Continuations => "continuations",
            Self::Frames => "frames",
        }
    }
}

/// How many frames of a kind may come.
#[derive(Debug)]
struct Budget {
    left: u32,
    most: u32,
    per_second: u32,
    /// When time last refilled it.
    refilled: Instant,
}

/// The budgets of one connection.
#[derive(Debug)]
pub(super) struct Budgets {
    resets: Budget,
    settings: Budget,
    pings: Budget,
    empty: Budget,
    window_updates: Budget,
    control: Budget,
    /// Bytes that have been credited to nothing yet.
    bytes: usize,
}

/// So many bytes in either direction are worth a WINDOW_UPDATE; a DATA frame of one byte takes ten.
const BYTES_A_CREDIT: usize = 32;
/// So many credits are worth a PING: clients measure round trips while they download.
const CREDITS_A_PING: u32 = 64;

// === impl Budget ===

impl Budget {
    fn new(most: u32, per_second: u32, now: Instant) -> Self {
        Self {
            left: most,
            most,
            per_second,
            refilled: now,
        }
    }

    fn give(&mut self, n: u32) {
        self.left = self.left.saturating_add(n).min(self.most);
    }

    /// Takes one. The clock is only read when nothing is left.
    fn take(&mut self) -> bool {
        if self.left == 0 {
            let now = Instant::now();
            let elapsed = now.duration_since(self.refilled).as_secs_f64();
            let refill = (elapsed * f64::from(self.per_second)) as u32;
            if refill == 0 {
                return false;
            }
            self.refilled = now;
            self.give(refill);
        }
        self.left -= 1;
        true
    }
}

// === impl Budgets ===

impl Budgets {
    /// The budgets of a connection with so many streams at once.
    pub(super) fn new(streams: u32) -> Self {
        let now = Instant::now();
        Self {
            // All streams at once, twice over: a client that gives up on everything and begins anew.
            resets: Budget::new(streams.saturating_mul(2).max(64), 50, now),
            settings: Budget::new(32, 4, now),
            pings: Budget::new(128, 16, now),
            empty: Budget::new(64, 16, now),
            window_updates: Budget::new(4096, 256, now),
            control: Budget::new(1024, 64, now),
            bytes: 0,
        }
    }

    /// Counts a frame.
    pub(super) fn take(&mut self, kind: Flood) -> bool {
        match kind {
            Flood::Resets => self.resets.take(),
            Flood::Settings => self.settings.take(),
            Flood::Pings => self.pings.take(),
            Flood::Empty => self.empty.take(),
            Flood::WindowUpdates => self.window_updates.take(),
            Flood::Control => self.control.take(),
            Flood::Continuations | Flood::Frames => true,
        }
    }

    /// A request has come: frames about its priority may come with it.
    pub(super) fn request(&mut self) {
        self.control.give(3);
    }

    /// A request has been answered.
    pub(super) fn answered(&mut self) {
        self.resets.give(1);
    }

    /// So many bytes have been moved in either direction.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes += bytes;
        let credits = u32::try_from(self.bytes / BYTES_A_CREDIT).unwrap_or(u32::MAX);
        if credits >= CREDITS_A_PING {
            self.bytes = 0;
            self.window_updates.give(credits);
            self.empty.give(credits / CREDITS_A_PING);
            self.pings.give(credits / CREDITS_A_PING);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_comes_back_with_work() {
        let mut budgets = Budgets::new(100);
        let taken = (0..1000)
            .take_while(|_| budgets.take(Flood::Resets))
            .count();
        assert!((200..=300).contains(&taken), "{taken}");
        budgets.answered();
        assert!(budgets.take(Flood::Resets));
        while budgets.take(Flood::WindowUpdates) {}
        budgets.moved(64 * 1024);
        assert!(budgets.take(Flood::WindowUpdates));
    }

    #[test]
    fn pings_pay_for_nothing_by_being_answered() {
        let mut budgets = Budgets::new(1);
        let mut pings = 0;
        while budgets.take(Flood::Pings) && pings < 100_000 {
            pings += 1;
            // The PING and its answer.
            budgets.moved(2 * 17);
        }
        assert!(pings < 1000, "{pings}");
    }
}
