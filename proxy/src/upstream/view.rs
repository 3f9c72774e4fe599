//! The figures of a group, for the admin API.

use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;
use weir_api::settings::Balance;

use super::{
    balance::{Peer, PeerList},
    endpoint::Endpoint,
    health::CheckView,
};

/// A group and its servers, as `GET /v1/upstreams` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamView {
    /// The group's name.
    pub name: String,
    /// How a server is chosen.
    pub balance: &'static str,
    /// The servers, regular ones first.
    pub servers: Vec<ServerView>,
}

/// One server of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerView {
    /// As written in the settings.
    pub name: String,
    /// Where it is.
    pub address: Endpoint,
    /// Share of the load relative to the others.
    pub weight: i64,
    /// Used only when no regular server is available.
    pub backup: bool,
    /// Whether it can be chosen now.
    pub state: Condition,
    /// Milliseconds until a failed server is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
    /// Requests in flight now.
    pub in_flight: u32,
    /// Requests since the start, retries included.
    pub requests: u64,
    /// Failures since the start.
    pub failures: u64,
    /// Failures that count towards `max_fails` now.
    pub fails: u32,
    /// Milliseconds since the last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_ms_ago: Option<u64>,
    /// What health checks have told; none: it is not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckView>,
    /// Its connections.
    pub connections: ConnectionsView,
}

/// Whether a server can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Can be chosen.
    Up,
    /// Taken out by health checks.
    Unhealthy,
    /// Rests after `max_fails` failures.
    Failed,
    /// Has as many requests in flight as `max_conns` allows.
    Full,
    /// Taken out of rotation by the settings.
    Down,
}

/// The connections to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConnectionsView {
    /// Opened since the start.
    pub opened: u64,
    /// Requests sent over a connection that had served one before.
    pub reused: u64,
    /// Open and unused now.
    pub idle: u32,
}

impl UpstreamView {
    pub(super) fn new(
        name: &str,
        balance: Balance,
        regular: &PeerList,
        backup: &PeerList,
        now_ms: i64,
    ) -> Self {
        let views = |list: &PeerList, backup| -> Vec<ServerView> {
            list.peers
                .iter()
                .map(|peer| ServerView::new(peer, list.lone, backup, now_ms))
                .collect()
        };
        let mut servers = views(regular, false);
        servers.extend(views(backup, true));
        Self {
            name: name.to_owned(),
            balance: match balance {
                Balance::LeastConn => "least_conn",
                Balance::RoundRobin => "round_robin",
            },
            servers,
        }
    }
}

impl ServerView {
    fn new(peer: &Peer, lone: bool, backup: bool, now_ms: i64) -> Self {
        let state = &peer.state;
        let rests_until = if lone { None } else { peer.rests_until(now_ms) };
        let condition = if peer.down {
            Condition::Down
        } else if state.checks.is_out() {
            Condition::Unhealthy
        } else if rests_until.is_some() {
            Condition::Failed
        } else if peer.is_full() {
            Condition::Full
        } else {
            Condition::Up
        };
        Self {
            name: peer.name.clone(),
            address: peer.address,
            weight: peer.weight,
            backup,
            state: condition,
            retry_in_ms: rests_until.and_then(|until| u64::try_from(until - now_ms).ok()),
            in_flight: state.in_flight(),
            requests: state.requests(),
            failures: state.failures(),
            fails: state.fails(),
            last_failure_ms_ago: state
                .last_failure_ms()
                .and_then(|at| u64::try_from(now_ms).ok()?.checked_sub(at)),
            check: state.checks.view(u64::try_from(now_ms).unwrap_or_default()),
            connections: ConnectionsView {
                opened: state.connections.opened.load(Relaxed),
                reused: state.connections.reused.load(Relaxed),
                idle: state.connections.idle.load(Relaxed),
            },
        }
    }
}
