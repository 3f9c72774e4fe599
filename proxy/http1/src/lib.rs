//! HTTP/1 on the wire, apart from any engine: what a request head must look like before anything
//! routes on it, how an upstream's answer is read, and how bodies are framed.
//!
//! Strictness here is a security property: two parties that read the same bytes differently are
//! what request smuggling is made of (RFC 9112 section 11.2).

mod body;
mod chunked;
mod request_head;
mod response_head;

pub use body::{BadBody, BodyDecoder, BodyStep, Framing};
pub use chunked::ChunkWriter;
pub use request_head::{HeadError, HeadSummary, check_head, head_end};
pub use response_head::{BadAnswer, ResponseHead, parse_response};
