//! HTTP/1 on the wire, apart from any engine: strict heads, and bodies in their framing, for servers
//! and for clients.
//!
//! - [`RequestParser`] and [`ResponseParser`] read heads that arrive in pieces. A head is bytes with
//!   offsets: [`Fields`] finds well-known names by number and is written out by whole lines.
//! - [`BodyDecoder`] finds the end of a body; [`ChunkWriter`] writes chunks.
//!
//! Strictness here is a security property: two parties that read the same bytes differently are
//! what request smuggling is made of (RFC 9112 section 11.2).

#![forbid(unsafe_code)]

mod body;
mod chunked;
mod fields;
mod lines;
mod name;
mod request;
mod response;
mod syntax;
mod target;

#[cfg(test)]
mod tests;

pub use body::{BadBody, BodyDecoder, BodyStep, Framing};
pub use chunked::ChunkWriter;
pub use fields::{Field, Fields};
pub use name::Name;
pub use request::{HeadError, RequestBody, RequestHead, RequestParser};
pub use response::{Asked, BadAnswer, ResponseHead, ResponseParser};
pub use syntax::{is_authority, is_field_name};

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As in an access log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}
