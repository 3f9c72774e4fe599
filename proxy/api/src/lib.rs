//! What the proxy `weir` and its tools share: the settings, the configuration file and the admin API.
//!
//! - [`units`]: rates, sizes and durations as people write them;
//! - [`settings`]: everything that may change while the proxy runs;
//! - [`schema`]: one definition of every setting (unit, range, default, nginx's name), from which
//!   checks, error messages and the reference tables come;
//! - [`config`]: the TOML file, with errors that name line and column;
//! - [`admin`], [`events`] and [`client`]: the admin API's bodies, and a client that speaks them;
//! - [`endpoints`] and [`openapi`]: one table of the admin API's requests, and the document made from it;
//! - [`text`]: what others wrote, made safe to show;
//! - [`tls`]: the cryptography that every client of this workspace uses.
//!
//! Nothing here knows the engine, so that the load generator can use it without building a proxy.
#![forbid(unsafe_code)]

pub mod admin;
pub mod client;
pub mod config;
pub mod endpoints;
pub mod events;
pub mod openapi;
pub mod schema;
pub mod settings;
pub mod text;
pub mod tls;
pub mod units;
