//! Groups of servers: which one gets the next request, and which ones rest after failures.
//!
//! - [`Registry`]: the groups by name; what is known about a server outlives changes of settings.
//! - [`UpstreamState`]: one group under one revision of its settings; [`UpstreamState::pick`] chooses.
//! - [`Pick`]: the choice, which counts as in flight until it is dropped.
//! - [`Tried`]: the servers that one request has tried already.
//! - [`ServerState`]: the live figures of one server.
//! - [`retry`]: what follows from a failed attempt.
//! - [`health`]: active health checks.
//! - [`Names`]: what addresses the names of servers stand for.
//!
//! Choice and health follow nginx (`ngx_http_upstream_round_robin`, `ngx_http_upstream_least_conn_module`);
//! `docs/decisions/0003-balancing.md` lists the few differences.

mod balance;
mod endpoint;
pub mod health;
mod names;
mod pick;
mod registry;
mod resolve;
pub mod retry;
mod server;
mod tried;
mod view;

#[cfg(test)]
mod tests;

pub use endpoint::{Endpoint, UnixPath};
pub use names::{NameStats, Names};
pub use pick::Pick;
pub use registry::{Registry, Resolved, UpstreamState};
pub use server::{Connections, ServerState};
pub use tried::Tried;
pub use view::{Condition, ConnectionsView, ServerView, UpstreamView};
