//! Clients that send one request at a time: `session` for realism, `wire` for least cost.

mod check;
mod connect;
mod counting;
mod http1;
mod http2;
mod plan;
mod session;
mod transport;
mod user;
mod watch;
mod wire;

pub(crate) use self::{
    check::{Headers, Kept, MAX_KEPT, Received},
    http2::{Http2Client, Http2Shared},
    plan::{Endpoint, Next, Plan},
    session::SessionClient,
    transport::Transport,
    user::User,
    watch::{Slot, Watch},
    wire::{WireClient, WireShared},
};
use crate::{
    record::{FailureKind, connections::Setup},
    scenario::UserState,
};

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `None` if there is an answer; whether it is a good one, [`Endpoint::judge`] says.
    pub(crate) failure: Option<FailureKind>,
    /// Bytes received.
    pub(crate) bytes: u64,
}

/// One user's or one connection's side of the conversation.
///
/// Dropping the future of [`Client::exchange`] gives the request up: an HTTP/1.1 connection is not
/// used again, an HTTP/2 stream is cancelled.
pub(crate) trait Client {
    /// Opens the connection ahead of time, if this client counts its connections.
    async fn connect(&mut self) -> Result<(), FailureKind>;

    /// Sends a request of the plan and waits for the whole answer.
    async fn exchange(&mut self, endpoint: usize, user: &UserState) -> Answer;

    /// A connection that was opened since this was last asked, successful request or not.
    fn opened(&mut self) -> Option<Setup>;

    /// The last answer, as far as its endpoint keeps it.
    fn received(&self) -> Received<'_>;

    /// Sends this token with every request from now on.
    fn authorize(&mut self, token: &str);
}

/// Seed of everything random in one lane, different for each of them.
pub(crate) fn lane_seed(seed: u64, lane: u32) -> u64 {
    // The golden ratio spreads consecutive lanes over the whole range.
    seed.wrapping_add((u64::from(lane) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
