//! Which route a request takes: by host, then by path, then by method and header fields.

pub mod client;
pub mod host;
pub mod path;
mod prefixes;
mod table;

pub use table::{Asked, NoRoute, RouteTable};

#[cfg(test)]
mod tests;
