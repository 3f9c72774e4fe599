//! The groups by name, and the lasting part of each.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use weir_api::settings::{self, Balance, Server};

use super::{
    balance::{Peer, PeerList},
    endpoint::Endpoint,
    health::{Change, CheckResult, Thresholds},
    pick::Pick,
    server::ServerState,
    tried::Tried,
    view::UpstreamView,
};

/// A server of the settings with the addresses its name stands for now; each is a server of its own.
pub type Resolved = (Server, Vec<Endpoint>);

/// The groups by name. What is known about a server is kept by group and address, and outlives any change of
/// settings as long as the address stays or has requests in flight.
#[derive(Debug, Default)]
pub struct Registry {
    groups: Mutex<HashMap<String, Arc<Group>>>,
}

/// One group under one revision of its settings.
#[derive(Debug)]
pub struct UpstreamState {
    name: String,
    balance: Balance,
    regular: PeerList,
    backup: PeerList,
    group: Arc<Group>,
}

/// The lasting part of a group.
#[derive(Debug, Default)]
struct Group {
    /// Guards the balancing figures of the group's servers.
    balancing: Mutex<()>,
    /// By address and occurrence, should an address be listed twice.
    servers: Mutex<HashMap<(Endpoint, usize), Weak<ServerState>>>,
}

// === impl Registry ===

impl Registry {
    /// The group `name` under new settings, with its servers' addresses resolved by the caller.
    ///
    /// A server whose name has no address at the moment is left out. A changed list, or a changed weight, starts
    /// the round robin anew; everything else goes on.
    pub fn apply(
        &self,
        name: &str,
        settings: &settings::Upstream,
        resolved: &[Resolved],
    ) -> Arc<UpstreamState> {
        let group = Arc::clone(self.groups.lock().entry(name.to_owned()).or_default());
        Arc::new(UpstreamState::new(name, settings.balance, resolved, group))
    }

    /// Forgets the groups whose names are not wanted any more. Requests in flight are not affected.
    pub fn retain(&self, wanted: impl Fn(&str) -> bool) {
        self.groups.lock().retain(|name, _| wanted(name));
    }
}

// === impl Group ===

impl Group {
    fn server(
        &self,
        address: Endpoint,
        occurrence: usize,
        weight: i64,
    ) -> (Arc<ServerState>, bool) {
        let mut servers = self.servers.lock();
        if let Some(known) = servers.get(&(address, occurrence)).and_then(Weak::upgrade) {
            let changed = known.configure_weight(weight);
            return (known, changed);
        }
        servers.retain(|_, server| server.strong_count() > 0);
        let new = Arc::new(ServerState::new(weight));
        servers.insert((address, occurrence), Arc::downgrade(&new));
        (new, true)
    }
}

// === impl UpstreamState ===

impl UpstreamState {
    fn new(name: &str, balance: Balance, resolved: &[Resolved], group: Arc<Group>) -> Self {
        let balancing = group.balancing.lock();
        let mut occurrences: HashMap<Endpoint, usize> = HashMap::new();
        let (mut regular, mut backup) = (PeerList::default(), PeerList::default());
        let mut changed = false;
        for (server, addresses) in resolved {
            let list = if server.backup {
                &mut backup
            } else {
                &mut regular
            };
            for &address in addresses {
                let occurrence = occurrences.entry(address).or_default();
                let weight = i64::from(server.weight.max(1));
                let (state, is_new) = group.server(address, *occurrence, weight);
                *occurrence += 1;
                changed |= is_new;
                list.peers.push(Peer {
                    name: server.address.clone(),
                    address,
                    weight,
                    max_fails: server.max_fails,
                    fail_timeout_ms: millis(server.fail_timeout),
                    max_conns: server.max_conns,
                    down: server.down,
                    state,
                });
            }
        }
        if changed {
            for peer in regular.peers.iter().chain(&backup.peers) {
                peer.state.reset_current_weight();
            }
        }
        regular.lone = regular.peers.len() == 1 && backup.peers.is_empty();
        drop(balancing);
        Self {
            name: name.to_owned(),
            balance,
            regular,
            backup,
            group,
        }
    }

    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Chooses a server for the next try of a request, or none if no server that has not been tried is
    /// available (nginx: "no live upstreams", 502).
    ///
    /// `now_ms` is [`crate::limit::monotonic_ms`] or a clock of the caller's.
    #[must_use = "the request counts as in flight until the pick is dropped"]
    pub fn pick(self: &Arc<Self>, tried: &mut Tried, now_ms: u64) -> Option<Pick> {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let position = self.locked(|| {
            if !tried.is_on_backup() {
                let position = self.regular.choose(self.balance, tried, now_ms);
                if position.is_some() || self.backup.peers.is_empty() {
                    return position;
                }
                tried.turn_to_backup();
            }
            self.backup.choose(self.balance, tried, now_ms)
        })?;
        Pick::new(Arc::clone(self), position, tried.is_on_backup())
    }

    /// The figures of every server, regular ones first.
    #[must_use]
    pub fn view(&self, now_ms: u64) -> UpstreamView {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        UpstreamView::new(
            &self.name,
            self.balance,
            &self.regular,
            &self.backup,
            now_ms,
        )
    }

    /// Every server's address and live figures, regular ones first.
    pub fn servers(&self) -> impl Iterator<Item = (Endpoint, &Arc<ServerState>)> {
        self.regular
            .peers
            .iter()
            .chain(&self.backup.peers)
            .map(|peer| (peer.address, &peer.state))
    }

    /// Every server with its name as written in the settings, regular ones first.
    pub fn named_servers(&self) -> impl Iterator<Item = (&str, Endpoint, &Arc<ServerState>)> {
        self.regular
            .peers
            .iter()
            .chain(&self.backup.peers)
            .map(|peer| (peer.name.as_str(), peer.address, &peer.state))
    }

    /// Takes in the end of a health check of one of the servers. One that comes back starts without failures.
    pub fn note_check(
        &self,
        server: &ServerState,
        result: CheckResult,
        took: Duration,
        now_ms: u64,
        thresholds: Thresholds,
    ) -> Option<Change> {
        let change = server.checks.note(result, took, now_ms, thresholds);
        if change == Some(Change::Back) {
            self.locked(|| server.forgive());
        }
        change
    }

    pub(super) fn peer(&self, position: usize, backup: bool) -> Option<&Peer> {
        let list = if backup { &self.backup } else { &self.regular };
        list.peers.get(position)
    }

    pub(super) fn is_lone(&self, backup: bool) -> bool {
        !backup && self.regular.lone
    }

    /// Runs `work` while nobody else balances this group.
    pub(super) fn locked<T>(&self, work: impl FnOnce() -> T) -> T {
        let _balancing = self.group.balancing.lock();
        work()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
