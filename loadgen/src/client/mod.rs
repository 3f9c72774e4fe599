//! Clients that send one request at a time: `session` for realism, `wire` for least cost.

mod http1;
mod plan;
mod session;
mod watch;
mod wire;

pub(crate) use self::{
    plan::{Endpoint, LOGIN, Plan},
    session::SessionClient,
    watch::{Slot, Watch},
    wire::{WireClient, WireShared},
};
use crate::{record::FailureKind, scenario::Facts};

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `None` if it is as the scenario expects.
    pub(crate) failure: Option<FailureKind>,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Whether a connection was opened for it.
    pub(crate) connected: bool,
}

/// One user's or one connection's side of the conversation.
///
/// Dropping the future of [`Client::exchange`] gives the request up; the connection is not used
/// again.
pub(crate) trait Client {
    /// Opens the connection ahead of time, if this client counts its connections.
    async fn connect(&mut self) -> Result<(), FailureKind>;

    /// Sends a request of the plan and waits for the whole answer.
    async fn exchange(&mut self, endpoint: usize, facts: Facts) -> Answer;

    /// Body of the last answer, if its endpoint keeps it.
    fn body(&self) -> &[u8];

    /// Sends this token with every request from now on.
    fn authorize(&mut self, token: &str);
}

/// Seed of everything random in one lane, different for each of them.
pub(crate) fn lane_seed(seed: u64, lane: u32) -> u64 {
    // The golden ratio spreads consecutive lanes over the whole range.
    seed.wrapping_add((u64::from(lane) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
