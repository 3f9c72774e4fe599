//! Asking a stand-in how many requests it has had.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde::Deserialize;

/// Longest wait for an answer on loopback.
const WITHIN: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Stats {
    requests: u64,
}

/// Requests that the stand-in at this address has had since it was started; none when it does not
/// answer. Its own statistics do not count.
pub(super) fn requests_served(address: SocketAddr) -> Option<u64> {
    let mut stream = TcpStream::connect_timeout(&address, WITHIN).ok()?;
    stream.set_read_timeout(Some(WITHIN)).ok()?;
    let request = format!("GET /__stats HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let stats: Stats = serde_json::from_str(body).ok()?;
    Some(stats.requests)
}
