#![allow(clippy::unwrap_used, clippy::panic)]

mod authority;
mod files;
mod handshakes;
