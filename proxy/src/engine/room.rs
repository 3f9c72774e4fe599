//! Room for one more connection when `connections.max` is reached: whoever is idle gives way
//! (`docs/decisions/0005-at-the-connection-limit.md`).

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::shared::Shared;
use super::slots::{Side, Slot};
use super::snapshot::Snapshot;
use super::upstream::{ConnectError, Connected, Dial};

/// For how long a new connection waits for the descriptors of idle ones.
const DESCRIPTOR_WITHIN: Duration = Duration::from_millis(250);

/// How long to wait for a connection to close before the next try, where there was no descriptor.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Why there is no new connection to a server.
#[derive(Debug, Clone)]
pub(super) enum NoConnection {
    /// `connections.max` is reached, and nobody is idle.
    Full,
    /// Connecting failed.
    Connect(ConnectError),
}

impl Shared {
    /// Waits for something that a client has to do before its connection is of any use. It counts as idle meanwhile;
    /// none: it is to be closed, for the sake of others or because the process ends.
    pub(super) async fn unless_unwanted<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(doing);
        loop {
            let reclaimed = self.slots.reclaim().notified();
            tokio::pin!(reclaimed);
            reclaimed.as_mut().enable();
            let _idle = self.slots.idle();
            let closing = self.closing.load(Ordering::Acquire);
            tokio::select! {
                biased;
                done = &mut doing => return Some(done),
                () = std::future::ready(()), if closing => return None,
                () = &mut reclaimed => {
                    // The shortage that this wake-up was for may be over.
                    let max = self.snapshot.load().settings.connections.max;
                    if self.slots.should_close(max) {
                        return None;
                    }
                }
            }
        }
    }

    /// A place for a connection. At the limit, that of an idle client connection, which takes a moment, or else that
    /// of the connection to a server that has been idle the longest; `None` if nobody is idle.
    pub(super) async fn room(&self, side: Side, snapshot: &Snapshot) -> Option<Slot> {
        let max = snapshot.settings.connections.max;
        if let Some(slot) = self.slots.take_soon(side, max).await {
            return Some(slot);
        }
        // A client is of no use without a connection to a server: one is left for it.
        let left = match side {
            Side::Client => 1,
            Side::Upstream => 0,
        };
        while close_oldest_idle(snapshot, left) {
            if let Some(slot) = self.slots.take(side, max) {
                return Some(slot);
            }
        }
        None
    }

    /// A new connection to a server, opened within `limit`. At the limit, and where there is no descriptor for it,
    /// idle connections give way.
    pub(super) async fn connect(
        &self,
        dial: &Dial<'_>,
        limit: Duration,
        snapshot: &Snapshot,
    ) -> Result<Connected, NoConnection> {
        let deadline = Instant::now() + DESCRIPTOR_WITHIN;
        loop {
            let slot = self.room(Side::Upstream, snapshot).await;
            let slot = slot.ok_or(NoConnection::Full)?;
            match self.connector.connect(dial, limit, slot).await {
                Err(ConnectError::Exhausted(_)) if Instant::now() < deadline && self.make_way() => {
                    self.slots.freed_within(TRY_AGAIN).await;
                }
                connected => return connected.map_err(NoConnection::Connect),
            }
        }
    }

    /// Lets an idle connection give its descriptor up, where there is none for another: a client's, or else one to
    /// a server. `false`: none is idle.
    pub(super) fn make_way(&self) -> bool {
        self.slots.ask_one_to_close() || close_oldest_idle(&self.snapshot.load(), 0)
    }
}

/// Closes the connection to a server that has been idle the longest, if there are more than `left`.
fn close_oldest_idle(snapshot: &Snapshot, left: usize) -> bool {
    let pools = || snapshot.upstreams.iter().map(|upstream| &upstream.pool);
    let idle: usize = pools().map(|pool| pool.len()).sum();
    if idle <= left {
        return false;
    }
    let oldest = pools().filter_map(|pool| Some((pool.oldest()?, pool)));
    oldest
        .min_by_key(|(since, _)| *since)
        .is_some_and(|(_, pool)| pool.close_oldest())
}
