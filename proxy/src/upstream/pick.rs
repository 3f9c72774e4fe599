//! A chosen server.

use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering::Relaxed};

use super::{
    balance::Peer, endpoint::Endpoint, registry::UpstreamState, server::ServerState, tried::Tried,
};

/// A server chosen for one try of a request.
///
/// The try counts as in flight until this is dropped, which happens on every way out: answer, retry,
/// client abort, time-out, panic. Its outcome counts once, whatever is reported first: [`Pick::succeed`] or
/// [`Pick::fail`]. Dropped without an outcome (the client went away) it says nothing about the server.
#[derive(Debug)]
pub struct Pick {
    upstream: Arc<UpstreamState>,
    state: Arc<ServerState>,
    address: Endpoint,
    position: usize,
    backup: bool,
    reported: AtomicBool,
}

impl Pick {
    pub(super) fn new(upstream: Arc<UpstreamState>, position: usize, backup: bool) -> Option<Self> {
        let peer = upstream.peer(position, backup)?;
        let (state, address) = (Arc::clone(&peer.state), peer.address);
        Some(Self {
            upstream,
            state,
            address,
            position,
            backup,
            reported: AtomicBool::new(false),
        })
    }

    /// Where to connect to.
    #[must_use]
    pub fn address(&self) -> Endpoint {
        self.address
    }

    /// The server as it is written in the settings.
    #[must_use]
    pub fn name(&self) -> &str {
        let peer = self.upstream.peer(self.position, self.backup);
        peer.map_or("", |peer| peer.name.as_str())
    }

    /// The server's live figures, for upkeep of its connection counters.
    #[must_use]
    pub fn server(&self) -> &ServerState {
        &self.state
    }

    /// A shared handle to the same, for connections that outlive the request.
    #[must_use]
    pub fn shared_server(&self) -> Arc<ServerState> {
        Arc::clone(&self.state)
    }

    /// The group this server was chosen from, as it was then.
    #[must_use]
    pub fn upstream(&self) -> &Arc<UpstreamState> {
        &self.upstream
    }

    /// The server has answered.
    pub fn succeed(&self) {
        // The common case, no failure to forget, takes no lock.
        if !self.reported.swap(true, Relaxed) && self.state.fails() > 0 {
            self.upstream.locked(|| self.state.recover());
        }
    }

    /// The server could not be reached, did not answer in time, or broke the connection off.
    ///
    /// Counts towards `max_fails`, except for a lone server, which is never taken out.
    pub fn fail(&self, now_ms: u64) {
        if self.reported.swap(true, Relaxed) {
            return;
        }
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        self.state.count_failure(now_ms);
        if let Some(Peer {
            weight, max_fails, ..
        }) = self
            .upstream
            .peer(self.position, self.backup)
            .filter(|_| !self.upstream.is_lone(self.backup))
        {
            self.upstream
                .locked(|| self.state.fail(*weight, *max_fails, now_ms));
        }
    }

    /// Lets the next pick of the same request choose this server again: a kept connection turned out to have
    /// been closed by the server meanwhile, which is no failure of the server.
    pub fn allow_again(&self, tried: &mut Tried) {
        if tried.is_on_backup() == self.backup {
            tried.forget(self.position);
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.state.finish();
    }
}
