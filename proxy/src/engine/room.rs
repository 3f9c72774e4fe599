//! Room for one more connection when `connections.max` is reached: whoever is idle gives way
//! (`docs/decisions/0005-at-the-connection-limit.md`).

use super::request::Shared;
use super::slots::{Side, Slot};
use super::snapshot::Snapshot;

impl Shared {
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
