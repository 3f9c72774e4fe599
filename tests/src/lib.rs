//! What the end-to-end tests are told with: a proxy, origins behind it, and clients in front, each in a line.
//!
//! ```ignore
//! let api = Origin::start(|_| Reply::text("hello")).await;
//! let weir = Weir::before(&[&api]).with("[timeouts]\nread = '300ms'").start().await;
//! assert_eq!(weir.get("/").await.text(), "hello");
//! ```
//!
//! Everything binds loopback addresses and ports that the system chooses, waits for conditions with a bound, and stops
//! what it started when dropped. When a test fails, the logs of its processes are printed.
#![forbid(unsafe_code)]
// A harness reports what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

pub mod admin;
pub mod authority;
pub mod backlog;
pub mod browser;
pub mod client;
pub mod clients;
pub mod dns;
pub mod frames;
pub mod http2;
pub mod message;
pub mod nginx;
pub mod origin;
pub mod process;
pub mod raw;
pub mod replica;
pub mod reply;
pub mod rpc;
pub mod wait;
pub mod weir;

pub use admin::Admin;
pub use authority::Authority;
pub use backlog::FullBacklog;
pub use client::Conn;
pub use clients::Clients;
pub use dns::Dns;
pub use frames::Frames;
pub use http2::{FrameOrigin, Http2Origin};
pub use message::{Framing, Headers, Request, Response};
pub use nginx::Nginx;
pub use origin::Origin;
pub use replica::Replica;
pub use reply::{Gate, Reply};
pub use wait::{BOUND, eventually, within};
pub use weir::Weir;
