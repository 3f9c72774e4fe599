//! Counting connections against `connections.max` (nginx: `worker_connections`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// Open connections of the process, client and upstream together.
#[derive(Debug, Default)]
pub(super) struct Slots {
    clients: AtomicU32,
    upstream: AtomicU32,
    /// Idle client connections.
    idle: AtomicU32,
    /// Wakes idle client connections, the longest idle first, so that they close.
    reclaim: Notify,
}

/// Which side a connection is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Upstream,
}

/// One counted connection; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    side: Side,
}

impl Slots {
    /// Takes a place, or `None` when `max` are open.
    ///
    /// When few places are left (a sixteenth, as in nginx), the longest idle client connection is
    /// asked to close, so that keepalive does not starve new clients.
    pub(super) fn take(self: &Arc<Self>, side: Side, max: u32) -> Option<Slot> {
        // Without anybody to wake, the wake-up would wait for the next to go idle: the wrong one.
        if self.is_short(max) && self.idle.load(Ordering::Relaxed) > 0 {
            self.reclaim.notify_one();
        }
        if self.open() >= max {
            return None;
        }
        self.counter(side).fetch_add(1, Ordering::Relaxed);
        Some(Slot {
            slots: Arc::clone(self),
            side,
        })
    }

    /// Asks idle client connections to close, the longest idle first, until no more than `max` are open or
    /// none is idle.
    pub(super) fn shed(&self, max: u32) {
        let idle = self.idle.load(Ordering::Relaxed);
        for _ in 0..self.open().saturating_sub(max).min(idle) {
            self.reclaim.notify_one();
        }
    }

    /// Whether few places are left.
    pub(super) fn is_short(&self, max: u32) -> bool {
        self.open() + max / 16 >= max
    }

    /// Counts a client connection as idle until the result is dropped.
    pub(super) fn idle(&self) -> Idle<'_> {
        self.idle.fetch_add(1, Ordering::Relaxed);
        Idle(self)
    }

    fn open(&self) -> u32 {
        self.clients() + self.upstream()
    }

    pub(super) fn clients(&self) -> u32 {
        self.clients.load(Ordering::Relaxed)
    }

    pub(super) fn upstream(&self) -> u32 {
        self.upstream.load(Ordering::Relaxed)
    }

    /// Resolves when an idle client connection should close.
    pub(super) fn reclaim(&self) -> &Notify {
        &self.reclaim
    }

    fn counter(&self, side: Side) -> &AtomicU32 {
        match side {
            Side::Client => &self.clients,
            Side::Upstream => &self.upstream,
        }
    }
}

/// A client connection that is idle.
#[derive(Debug)]
pub(super) struct Idle<'a>(&'a Slots);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots
            .counter(self.side)
            .fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_on_drop() {
        let slots = Arc::new(Slots::default());
        let held: Vec<_> = (0..16)
            .map(|_| slots.take(Side::Client, 16).unwrap())
            .collect();
        assert!(slots.take(Side::Upstream, 16).is_none());
        drop(held);
        assert_eq!(slots.clients(), 0);
        assert!(slots.take(Side::Upstream, 16).is_some());
    }

    #[tokio::test]
    async fn a_shortage_wakes_the_idle_and_nobody_who_comes_later() {
        let slots = Arc::new(Slots::default());
        let mut held: Vec<_> = (0..16).map(|_| slots.take(Side::Client, 16)).collect();
        assert!(slots.is_short(16));
        let late = slots.reclaim().notified();
        tokio::pin!(late);
        assert!(
            !late.as_mut().enable(),
            "nobody was idle: no wake-up is kept"
        );
        let idle = slots.idle();
        assert!(slots.take(Side::Client, 16).is_none());
        late.await;
        drop(idle);
        held.clear();
        assert!(!slots.is_short(16));
    }
}
