//! HTTP/2 to servers, on the `h2` crate: shared connections, and the streams on them.
//!
//! Every worker thread has connections of its own, so that a request, its connection and the socket
//! live on one event loop. A connection has a task that moves its frames ([`connection`]); the streams
//! talk to it through `h2`. Another connection is opened when the streams that the server allows are all
//! in use ([`shared`]).
//!
//! `h2` and not pingora-core's client on top of it: that one can neither be polled nor tell why a stream
//! ended, and both are needed here.

mod connection;
mod head;
mod shared;
mod stream;

pub(in super::super) use connection::open;
pub(super) use shared::SharedConns;
pub(in super::super) use shared::{Opened, Permit, Place};
pub(in super::super) use stream::Stream;
