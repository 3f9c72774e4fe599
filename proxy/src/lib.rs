//! Weir: a reverse-proxy load balancer on pingora that can be tuned while it runs.
//!
//! Data flows one way: configuration file → [`settings`] → snapshot → request → observation. Only
//! [`engine`] knows pingora; everything that decides is plain Rust.

#![forbid(unsafe_code)]

pub mod admin;
pub mod compress;
pub mod config;
pub mod engine;
pub mod limit;
pub mod observe;
pub mod proxy_protocol;
pub mod route;
pub mod settings;
pub mod tls;
pub mod upstream;
