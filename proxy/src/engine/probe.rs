//! One health check of one server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use weir_api::settings::{HealthCheck, Statuses};

use super::request::Shared;
use super::slots::Side;
use super::upstream::{ConnectError, UpstreamConn};
use crate::upstream::health::CheckResult;
use weir_http1::{BodyDecoder, Framing, ResponseHead, parse_response};

/// Largest head of an answer.
const MAX_HEAD: usize = 64 * 1024;
/// The most of a body that is read, so that the server can finish its answer in peace.
const MAX_BODY: usize = 64 * 1024;

/// What is asked of a server, and which answers are good.
#[derive(Debug)]
pub(super) struct Probe {
    address: SocketAddr,
    request: Vec<u8>,
    timeout: Duration,
    status: Statuses,
}

impl Probe {
    /// The check of the server that is written as `name` in the settings; none: `check` has no path.
    pub(super) fn new(check: &HealthCheck, name: &str, mut address: SocketAddr) -> Option<Self> {
        let path = check.path.as_deref()?;
        let mut host = name.to_owned();
        if let Some(port) = check.port {
            address.set_port(port);
            let bare = name.rsplit_once(':').map_or(name, |(host, _)| host);
            host = format!("{bare}:{port}");
        }
        let host = check.host.as_ref().unwrap_or(&host);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir/{} (health check)\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        Some(Self {
            address,
            request: request.into_bytes(),
            timeout: check.timeout,
            status: check.status.clone(),
        })
    }

    /// Connects, asks, and waits for an answer's head, all within the time for it. The rest of the answer is read
    /// as far as that time and a bound allow. Returns what came of it, and when.
    pub(super) async fn run(&self, shared: &Shared) -> (CheckResult, Duration) {
        let started = tokio::time::Instant::now();
        let until = started + self.timeout;
        let asked = tokio::time::timeout_at(until, self.ask(shared)).await;
        let took = started.elapsed();
        let result = match asked {
            Err(_) => CheckResult::Timeout(self.timeout),
            Ok(Err(result)) => result,
            Ok(Ok((conn, head))) => {
                let status = head.status.as_u16();
                // Nothing depends on it.
                let _ = tokio::time::timeout_at(until, read_out(conn, head.framing, self.timeout))
                    .await;
                match self.status.contains(status) {
                    true => CheckResult::Passed(status),
                    false => CheckResult::Status(status),
                }
            }
        };
        (result, took)
    }

    async fn ask(&self, shared: &Shared) -> Result<(UpstreamConn, ResponseHead), CheckResult> {
        // Counted like every connection, and never refused: a proxy that is full must not find its servers ill.
        let slot = shared.slots.take_anyway(Side::Upstream);
        let connecting = shared.connector.connect(self.address, self.timeout, slot);
        let mut conn = connecting.await.map_err(|e| match e {
            ConnectError::Timeout => CheckResult::Timeout(self.timeout),
            ConnectError::Failed(why) => {
                CheckResult::Connect(format!("cannot connect: {}", cause(&why)))
            }
            ConnectError::Exhausted(why) | ConnectError::NoPort(why) => {
                CheckResult::Skipped(cause(&why).to_owned())
            }
        })?;
        let broken = |e: io::Error| match e.kind() {
            io::ErrorKind::TimedOut => CheckResult::Timeout(self.timeout),
            _ => CheckResult::Broken(format!("connection broke: {e}")),
        };
        conn.write(&self.request, self.timeout)
            .await
            .map_err(broken)?;
        loop {
            let parsed = match conn.input() {
                [] => None,
                input => parse_response(input, &Method::GET, false)
                    .map_err(|e| CheckResult::Broken(e.to_string()))?,
            };
            if let Some(head) = parsed {
                conn.consume(head.len);
                if !head.status.is_informational() {
                    return Ok((conn, head));
                }
                continue;
            }
            if conn.input().len() > MAX_HEAD {
                return Err(CheckResult::Broken("response head too large".to_owned()));
            }
            if conn.fill(self.timeout).await.map_err(broken)? == 0 {
                return Err(CheckResult::Broken(
                    "closed the connection without an answer".to_owned(),
                ));
            }
        }
    }
}

/// The end of a chain of causes: what the system said. Who was asked and how is known here.
fn cause(chain: &str) -> &str {
    chain.rsplit("cause: ").next().unwrap_or(chain).trim()
}

/// Reads a body to its end, or as much of it as is worth it.
async fn read_out(mut conn: UpstreamConn, framing: Framing, limit: Duration) {
    let mut body = BodyDecoder::new(framing);
    let mut read = 0;
    while !body.is_done() && read < MAX_BODY {
        let Ok(step) = body.step(conn.input()) else {
            return;
        };
        conn.consume(step.consumed);
        read += step.consumed;
        if step.done || step.data > 0 {
            continue;
        }
        match conn.fill(limit).await {
            Ok(1..) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(check: HealthCheck, name: &str) -> (SocketAddr, String) {
        let probe = Probe::new(&check, name, "127.0.0.1:8000".parse().unwrap()).unwrap();
        (probe.address, String::from_utf8(probe.request).unwrap())
    }

    fn health() -> HealthCheck {
        HealthCheck {
            path: Some("/health?full=0".to_owned()),
            ..HealthCheck::default()
        }
    }

    #[test]
    fn the_server_is_asked_by_its_own_name_unless_another_is_wanted() {
        let (address, text) = request(health(), "api:8000");
        assert!(
            text.starts_with("GET /health?full=0 HTTP/1.1\r\nHost: api:8000\r\n"),
            "{text}"
        );
        assert_eq!(address.port(), 8000);
        let other = HealthCheck {
            host: Some("api.example.org".to_owned()),
            ..health()
        };
        assert!(
            request(other, "api:8000")
                .1
                .contains("\r\nHost: api.example.org\r\n")
        );
    }

    #[test]
    fn another_port_may_be_asked() {
        let other = HealthCheck {
            port: Some(9000),
            ..health()
        };
        let (address, text) = request(other, "[::1]:8000");
        assert_eq!(address.port(), 9000);
        assert!(text.contains("\r\nHost: [::1]:9000\r\n"), "{text}");
    }

    #[test]
    fn of_a_chain_of_causes_the_last_is_told() {
        let chain =
            "ConnectRefused context: to 127.0.0.1:1 cause: Connection refused (os error 111)";
        assert_eq!(cause(chain), "Connection refused (os error 111)");
        assert_eq!(cause("unreachable"), "unreachable");
    }

    #[test]
    fn without_a_path_nothing_is_asked() {
        let address = "127.0.0.1:1".parse().unwrap();
        assert!(Probe::new(&HealthCheck::default(), "a:1", address).is_none());
    }
}
