//! Counting connections against `connections.max` (nginx: `worker_connections`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// Open connections of the process, client and upstream together.
#[derive(Debug, Default)]
pub(super) struct Slots {
    clients: AtomicU32,
    upstream: AtomicU32,
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
        let open = self.clients() + self.upstream();
        if open + max / 16 >= max {
            self.reclaim.notify_one();
        }
        if open >= max {
            return None;
        }
        self.counter(side).fetch_add(1, Ordering::Relaxed);
        Some(Slot {
            slots: Arc::clone(self),
            side,
        })
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
}
