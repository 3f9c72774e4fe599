//! Connections to upstream servers: opening, keeping, speaking HTTP/1 on them.

mod connect;
mod connection;
mod pool;

pub(super) use connect::{ConnectError, Connector};
pub(super) use connection::UpstreamConn;
pub(super) use pool::IdlePool;
