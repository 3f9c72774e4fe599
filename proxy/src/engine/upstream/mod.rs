//! Connections to upstream servers: opening, keeping, speaking HTTP/1 on them.

mod connect;
mod http1;
mod pool;
mod transport;

pub(super) use connect::{ConnectError, Connector, Dial};
pub(super) use http1::{HeadError, UpstreamConn};
pub(super) use pool::IdlePool;
pub(super) use transport::TransportPlan;
