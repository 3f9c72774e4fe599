//! Processes that an experiment starts: each is watched, and stopped when its guard is dropped.

mod child;
pub mod confine;
pub mod owned;

pub use self::{
    child::{Child, Ports},
    confine::Bounds,
};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A loopback address whose port is free at this moment.
///
/// # Errors
///
/// When no port can be had.
pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
