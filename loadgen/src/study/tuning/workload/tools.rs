//! What several workloads need.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::study::rig::{
    RigError,
    client::{Asked, Connection, End},
};

/// A request that takes longer than this counts as not answered.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A loopback address that no trial of this process has used: a client that the proxy never saw.
pub(super) fn fresh_client() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // 127.1.0.1 to 127.240.…: loopback is 127.0.0.0/8 (RFC 1122, 3.2.1.3).
    Ipv4Addr::from(0x7F01_0001 + number % 0x00EF_0000)
}

/// Opens connections one after the other.
pub(super) async fn open(
    to: SocketAddr,
    from: Option<Ipv4Addr>,
    count: u32,
) -> Result<Vec<Connection>, RigError> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let connection = Connection::open(to, from).await;
        connections.push(connection.map_err(RigError::io("cannot connect to the proxy"))?);
    }
    Ok(connections)
}

/// How one of several simultaneous requests went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shot {
    pub(super) end: End,
    /// From the beginning of the volley.
    pub(super) answered: Duration,
    pub(super) took: Duration,
}

/// Sends one request on every connection at once; the connections come back.
pub(super) async fn volley(
    connections: Vec<Connection>,
    asked: &Asked,
) -> (Vec<Connection>, Vec<Shot>) {
    let begun = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let asked = asked.clone();
            tokio::spawn(async move {
                let sent = Instant::now();
                let end = connection.get(&asked, ANSWER_WITHIN).await;
                let shot = Shot {
                    end,
                    answered: begun.elapsed(),
                    took: sent.elapsed(),
                };
                (connection, shot)
            })
        })
        .collect();
    let mut back = (Vec::new(), Vec::new());
    for task in tasks {
        if let Ok((connection, shot)) = task.await {
            back.0.push(connection);
            back.1.push(shot);
        }
    }
    back
}

/// The middle of some durations, milliseconds.
pub(super) fn median_ms(times: impl IntoIterator<Item = Duration>) -> f64 {
    quantile_ms(times, 0.5)
}

/// A quantile of some durations (nearest rank), milliseconds; 0 if there is none.
pub(crate) fn quantile_ms(times: impl IntoIterator<Item = Duration>, share: f64) -> f64 {
    let mut sorted: Vec<_> = times.into_iter().collect();
    sorted.sort_unstable();
    let rank = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted
        .get(rank)
        .map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Rate and burst of the documented limit in these settings.
pub(super) fn limit_of(settings: &Value) -> (f64, u32) {
    let at = |name: &str| settings.pointer(&format!("/rate_limit/api_limit/{name}"));
    let rate = at("rate")
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<weir_api::units::Rate>().ok())
        .map_or(10.0, weir_api::units::Rate::requests_per_second);
    let burst = at("burst").and_then(Value::as_u64).unwrap_or(0);
    (rate, u32::try_from(burst).unwrap_or(u32::MAX))
}
