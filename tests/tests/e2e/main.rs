//! The real binaries, driven from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod backup;
mod bad_input;
mod balancing;
mod balancing_like_nginx;
mod bench;
mod bodies;
mod capacity;
mod compression;
mod connections;
mod containers;
mod ctl;
mod dashboard;
mod edge;
mod headers;
mod keepalive;
mod kubernetes;
mod lifecycle;
mod limits;
mod limits_like_nginx;
mod monitoring;
mod observing;
mod overrides;
mod protocol;
mod replaying;
mod retries;
mod routing;
mod settings;
mod strictness;
mod systemd;
mod timeouts;
mod torture;
mod tuning;
mod tuning_table;
mod watching;
