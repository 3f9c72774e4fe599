//! The choice among the servers of one list.

use std::sync::Arc;

use weir_api::settings::Balance;

use super::{endpoint::Endpoint, server::ServerState, tried::Tried};

/// One server of a list: its settings of this revision and its live figures.
#[derive(Debug)]
pub(super) struct Peer {
    /// As written in the settings.
    pub(super) name: String,
    pub(super) address: Endpoint,
    pub(super) weight: i64,
    pub(super) max_fails: u32,
    pub(super) fail_timeout_ms: i64,
    /// 0: no limit.
    pub(super) max_conns: u32,
    pub(super) down: bool,
    pub(super) state: Arc<ServerState>,
}

/// The regular or the backup servers of a group.
#[derive(Debug, Default)]
pub(super) struct PeerList {
    pub(super) peers: Vec<Peer>,
    /// The only server of its group: failures of requests never take it out, since there is no other.
    pub(super) lone: bool,
}

// === impl Peer ===

impl Peer {
    pub(super) fn is_full(&self) -> bool {
        self.max_conns > 0 && self.state.in_flight() >= self.max_conns
    }

    pub(super) fn rests_until(&self, now_ms: i64) -> Option<i64> {
        self.state
            .rests_until(self.max_fails, self.fail_timeout_ms, now_ms)
    }

    fn is_available(&self, now_ms: i64) -> bool {
        !self.is_out() && self.rests_until(now_ms).is_none() && !self.is_full()
    }

    /// Taken out by the settings or by health checks.
    fn is_out(&self) -> bool {
        self.down || self.state.checks.is_out()
    }

    /// In flight relative to weight, compared without division.
    fn load_cmp(&self, other: &Self) -> std::cmp::Ordering {
        let of = |a: &Self, b: &Self| i64::from(a.state.in_flight()) * b.weight;
        of(self, other).cmp(&of(other, self))
    }
}

// === impl PeerList ===

impl PeerList {
    /// Chooses a server and counts the request as in flight on it. The caller holds the group's lock.
    pub(super) fn choose(&self, balance: Balance, tried: &mut Tried, now_ms: i64) -> Option<usize> {
        let position = match self.peers.as_slice() {
            [only] if self.lone => {
                (!tried.contains(0) && !only.is_out() && !only.is_full()).then_some(0)
            }
            _ => match balance {
                Balance::RoundRobin => self.weighted(self.available(tried, now_ms)),
                Balance::LeastConn => self.least_loaded(tried, now_ms),
            },
        }?;
        let peer = self.peers.get(position)?;
        peer.state.start(peer.fail_timeout_ms, now_ms);
        tried.insert(position);
        Some(position)
    }

    fn available(
        &self,
        tried: &Tried,
        now_ms: i64,
    ) -> impl Iterator<Item = (usize, &Peer)> + Clone {
        self.peers
            .iter()
            .enumerate()
            .filter(move |(at, peer)| !tried.contains(*at) && peer.is_available(now_ms))
    }

    /// The fewest in flight relative to weight; among equals, by weight in turn.
    fn least_loaded(&self, tried: &Tried, now_ms: i64) -> Option<usize> {
        use std::cmp::Ordering::{Equal, Greater, Less};

        let mut least: Option<(usize, &Peer)> = None;
        let mut several = false;
        for (at, peer) in self.available(tried, now_ms) {
            match least.map_or(Less, |(_, best)| peer.load_cmp(best)) {
                Less => {
                    least = Some((at, peer));
                    several = false;
                }
                Equal => several = true,
                Greater => {}
            }
        }
        let (first, best) = least?;
        if !several {
            return Some(first);
        }
        let equals = self
            .available(tried, now_ms)
            .filter(|(_, peer)| peer.load_cmp(best) == Equal);
        // Requests end without the lock, so by now there may be no equals left.
        self.weighted(equals).or(Some(first))
    }

    /// Smooth weighted round robin: every candidate gains its effective weight, the one with the most is
    /// chosen and pays what all have gained. A weight that failures have lowered recovers by one a round.
    fn weighted<'a>(&self, candidates: impl Iterator<Item = (usize, &'a Peer)>) -> Option<usize> {
        let mut best: Option<(usize, &Peer, i64)> = None;
        let mut gained = 0;
        for (at, peer) in candidates {
            let effective = peer.state.effective_weight();
            let current = peer.state.add_current_weight(effective);
            gained += effective;
            peer.state.recover_weight(peer.weight);
            if best.is_none_or(|(_, _, most)| current > most) {
                best = Some((at, peer, current));
            }
        }
        let (at, peer, _) = best?;
        peer.state.add_current_weight(-gained);
        Some(at)
    }
}
