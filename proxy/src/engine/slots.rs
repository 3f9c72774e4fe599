//! Counting connections against `connections.max` (nginx: `worker_connections`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long somebody waits for the place of an idle connection that was asked to close: it does so at once, unless its
/// thread is busy.
const GIVES_WAY_WITHIN: Duration = Duration::from_millis(250);
/// After what time whoever waits asks another idle connection: the place that was meant for it went to somebody else.
const ASKS_AGAIN: Duration = Duration::from_millis(20);

/// Open connections of the process, client and upstream together.
#[derive(Debug)]
pub(super) struct Slots {
    clients: AtomicU32,
    upstream: AtomicU32,
    /// Idle client connections.
    idle: AtomicU32,
    /// Those who wait for the place of an idle client connection.
    waiting: AtomicU32,
    /// Wakes idle client connections, the longest idle first, so that they close.
    reclaim: Notify,
    /// Wakes those who wait, when a place is given back.
    freed: Notify,
    /// How many idle client connections are to close because there was no descriptor, whatever the limit says.
    owed: AtomicU32,
    /// How many connections there are descriptors for.
    room: u32,
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

/// All places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    /// An idle client connection has been asked to close.
    Asked,
    /// Nobody is idle, or, for a connection to a server, others wait for all who are.
    NobodyIdle,
}

impl Slots {
    /// No more than `room` places, whatever `max` says later.
    pub(super) fn new(room: u32) -> Self {
        Self {
            clients: AtomicU32::new(0),
            upstream: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            reclaim: Notify::new(),
            freed: Notify::new(),
            owed: AtomicU32::new(0),
            room,
        }
    }

    /// How many connections are held under `connections.max`.
    pub(super) fn effective(&self, max: u32) -> u32 {
        max.min(self.room)
    }

    /// Takes a place, also above the limit.
    pub(super) fn take_anyway(self: &Arc<Self>, side: Side) -> Slot {
        self.occupy(side)
    }

    /// Takes a place, or `None` when `max` are open.
    ///
    /// When few places are left (a sixteenth, as in nginx), the longest idle client connection is
    /// asked to close, so that keepalive does not starve new clients.
    pub(super) fn take(self: &Arc<Self>, side: Side, max: u32) -> Option<Slot> {
        self.attempt(side, max).ok()
    }

    /// The same, and when `max` are open, waits a moment for the idle client connection that was asked to close.
    pub(super) async fn take_soon(self: &Arc<Self>, side: Side, max: u32) -> Option<Slot> {
        match self.attempt(side, max) {
            Ok(slot) => Some(slot),
            Err(Full::NobodyIdle) => None,
            // Boxed, so that connections do not carry the room for what they hardly ever do.
            Err(Full::Asked) => Box::pin(self.wait(side, max)).await,
        }
    }

    async fn wait(self: &Arc<Self>, side: Side, max: u32) -> Option<Slot> {
        let _waiting = Tally::of(&self.waiting);
        let deadline = Instant::now() + GIVES_WAY_WITHIN;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // First, so that no place that comes back from here on is missed.
            freed.as_mut().enable();
            if self.open() < self.effective(max) {
                return Some(self.occupy(side));
            }
            let until = deadline.min(Instant::now() + ASKS_AGAIN);
            let woken = tokio::time::timeout_at(until, freed).await.is_ok();
            if self.open() < self.effective(max) {
                continue;
            }
            if Instant::now() >= deadline {
                return None;
            }
            // Whoever came meanwhile has taken the place.
            match self.idle.load(Ordering::SeqCst) {
                0 if woken => {}
                0 => return None,
                _ => self.reclaim.notify_one(),
            }
        }
    }

    fn attempt(self: &Arc<Self>, side: Side, max: u32) -> Result<Slot, Full> {
        // Without anybody to wake, the wake-up would wait for the next to go idle: the wrong one.
        let idle = self.idle.load(Ordering::SeqCst);
        let enough = match side {
            // Few arrive at a time, and those who have just got in are idle themselves.
            Side::Client => idle > 0,
            Side::Upstream => idle > self.waiting.load(Ordering::SeqCst),
        };
        let asked = self.is_short(max) && enough;
        if asked {
            self.reclaim.notify_one();
        }
        if self.open() < self.effective(max) {
            return Ok(self.occupy(side));
        }
        Err(if asked { Full::Asked } else { Full::NobodyIdle })
    }

    fn occupy(self: &Arc<Self>, side: Side) -> Slot {
        self.counter(side).fetch_add(1, Ordering::SeqCst);
        Slot {
            slots: Arc::clone(self),
            side,
        }
    }

    /// Asks idle client connections to close, the longest idle first, until no more than `max` are open or
    /// none is idle.
    pub(super) fn shed(&self, max: u32) {
        let idle = self.idle.load(Ordering::Relaxed);
        for _ in 0..self.open().saturating_sub(self.effective(max)).min(idle) {
            self.reclaim.notify_one();
        }
    }

    /// Whether few places are left.
    pub(super) fn is_short(&self, max: u32) -> bool {
        let max = self.effective(max);
        self.open() + max / 16 >= max
    }

    /// Asks the client connection that has been idle the longest to close, because there is no descriptor for
    /// another one. `false`: none is idle.
    pub(super) fn ask_one_to_close(&self) -> bool {
        let idle = self.idle.load(Ordering::SeqCst);
        if idle == 0 {
            return false;
        }
        // One that got a request meanwhile does not hear of it: no more are owed than can pay.
        let more = |owed: u32| Some(owed.saturating_add(1).min(idle));
        let _ = self
            .owed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        self.reclaim.notify_one();
        true
    }

    /// Whether an idle client connection that has been woken should close.
    pub(super) fn should_close(&self, max: u32) -> bool {
        let owed = self
            .owed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |owed| {
                owed.checked_sub(1)
            });
        owed.is_ok() || self.is_short(max)
    }

    /// Waits until a place is given back, for `limit` at most.
    pub(super) async fn freed_within(&self, limit: Duration) {
        let _waiting = Tally::of(&self.waiting);
        // Either is as good.
        let _ = tokio::time::timeout(limit, self.freed.notified()).await;
    }

    /// Counts a client connection as idle until the result is dropped.
    pub(super) fn idle(&self) -> Tally<'_> {
        Tally::of(&self.idle)
    }

    fn open(&self) -> u32 {
        self.clients() + self.upstream()
    }

    pub(super) fn clients(&self) -> u32 {
        self.clients.load(Ordering::SeqCst)
    }

    pub(super) fn upstream(&self) -> u32 {
        self.upstream.load(Ordering::SeqCst)
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

/// Counts one until it is dropped.
#[derive(Debug)]
pub(super) struct Tally<'a>(&'a AtomicU32);

impl<'a> Tally<'a> {
    fn of(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.counter(self.side).fetch_sub(1, Ordering::SeqCst);
        // In this order: who counts as waiting after this looks for a place once more before sleeping.
        if self.slots.waiting.load(Ordering::SeqCst) > 0 {
            self.slots.freed.notify_one();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_on_drop() {
        let slots = Arc::new(Slots::new(u32::MAX));
        let held: Vec<_> = (0..16)
            .map(|_| slots.take(Side::Client, 16).unwrap())
            .collect();
        assert!(slots.take(Side::Upstream, 16).is_none());
        drop(held);
        assert_eq!(slots.clients(), 0);
        assert!(slots.take(Side::Upstream, 16).is_some());
    }

    #[test]
    fn there_are_never_more_places_than_descriptors() {
        let slots = Arc::new(Slots::new(4));
        let held: Vec<_> = (0..4)
            .filter_map(|_| slots.take(Side::Client, 1000))
            .collect();
        assert_eq!(held.len(), 4);
        assert!(slots.take(Side::Upstream, 1000).is_none());
        let _check = slots.take_anyway(Side::Upstream);
        assert_eq!(slots.upstream(), 1);
    }

    #[test]
    fn want_of_descriptors_closes_as_many_as_are_idle_and_no_more() {
        let slots = Arc::new(Slots::new(u32::MAX));
        assert!(!slots.ask_one_to_close(), "nobody is idle");
        let _idle = (slots.idle(), slots.idle());
        assert!((0..3).all(|_| slots.ask_one_to_close()));
        assert!(slots.should_close(1000) && slots.should_close(1000));
        assert!(!slots.should_close(1000), "there are places enough");
    }

    #[tokio::test]
    async fn a_shortage_wakes_the_idle_and_nobody_who_comes_later() {
        let slots = Arc::new(Slots::new(u32::MAX));
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

    #[tokio::test]
    async fn whoever_waits_gets_the_place_that_an_idle_client_gives_up() {
        let slots = Arc::new(Slots::new(u32::MAX));
        let mut held: Vec<_> = (0..16).map(|_| slots.take(Side::Client, 16)).collect();
        assert!(
            slots.take_soon(Side::Upstream, 16).await.is_none(),
            "nobody is idle"
        );
        let asked = slots.reclaim().notified();
        tokio::pin!(asked);
        asked.as_mut().enable();
        let idle = slots.idle();
        let leaves = async {
            asked.await;
            drop(idle);
            held.pop();
        };
        let (slot, ()) = tokio::join!(slots.take_soon(Side::Upstream, 16), leaves);
        assert_eq!((slots.clients(), slots.upstream()), (15, 1));
        drop(slot);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_and_no_more_requests_wait_than_clients_are_idle() {
        let slots = Arc::new(Slots::new(u32::MAX));
        let _held: Vec<_> = (0..16).map(|_| slots.take(Side::Client, 16)).collect();
        let _stays = slots.idle();
        let first = slots.take_soon(Side::Client, 16);
        tokio::pin!(first);
        tokio::select! {
            biased;
            slot = &mut first => panic!("no place has come back: {slot:?}"),
            second = slots.take_soon(Side::Upstream, 16) => assert!(second.is_none()),
        }
        assert!(first.await.is_none());
        assert_eq!(slots.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn whoever_loses_the_place_that_came_back_asks_for_another() {
        let slots = Arc::new(Slots::new(u32::MAX));
        let mut held: Vec<_> = (0..16).map(|_| slots.take(Side::Client, 16)).collect();
        let asked = slots.reclaim().notified();
        tokio::pin!(asked);
        asked.as_mut().enable();
        let _idle = (slots.idle(), slots.idle());
        let leaves = async {
            asked.await;
            held.pop();
            let thief = slots.take(Side::Client, 16);
            assert!(thief.is_some());
            slots.reclaim().notified().await;
            held.pop();
            held.push(thief);
        };
        let (slot, ()) = tokio::join!(slots.take_soon(Side::Client, 16), leaves);
        assert!(slot.is_some());
    }
}
