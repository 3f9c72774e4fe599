//! HTTP/2 from clients, on the `h2` crate (see `docs/decisions/0008-http2-on-h2.md`).
//!
//! - [`transport`]: the bytes of a connection. It watches the frames as they come in ([`frames`]), counts those
//!   that cost more than they do ([`floods`]), gathers small writes, and lets other connections have their turn.
//! - [`blocks`]: what is wrong with a field block that cannot be taken.
//! - [`request`]: the head of a request, checked as RFC 9113 section 8 says.
//! - [`session`]: one stream, as a [`super::Downstream`].
//!
//! The task of a connection, which accepts its streams and keeps its time limits, is [`super::super::conn_http2`].

mod blocks;
mod floods;
mod frames;
mod request;
mod session;
mod transport;

pub(in super::super) use self::floods::Flood;
pub(in super::super) use self::frames::{Limits, Violation};
pub(in super::super) use self::request::{Refusal, head_of};
pub(in super::super) use self::session::Session;
pub(in super::super) use self::transport::{Io, Transport};

/// What a client with prior knowledge sends first (RFC 9113 section 3.4).
pub(in super::super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much a client may send on one stream before it is read.
pub(in super::super) const STREAM_WINDOW: u32 = 128 * 1024;
/// How much a client may send on all streams together before it is read.
pub(in super::super) const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// How much of an answer waits for the client to take it, for each stream.
pub(in super::super) const SEND_BUFFER: usize = 64 * 1024;
