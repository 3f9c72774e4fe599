//! One health check of one server.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use http::{Method, Request};
use weir_api::settings::{HealthCheck, Statuses, UpstreamProtocol};

use super::shared::Shared;
use super::slots::Side;
use super::snapshot::UpstreamPlan;
use super::upstream::{
    AnswerError, ConnectError, Connected, Dial, Http1Conn, Http2Stream, IdlePool, Place,
    UpstreamConn, open_http2,
};
use crate::proxy_protocol::Origin;
use crate::upstream::Endpoint;
use crate::upstream::health::CheckResult;
use weir_http1::{Asked, Framing, RequestBody, ResponseHead};

/// Most informational answers before the final one.
const MAX_INTERIMS: u32 = 16;
/// The most of a body that is read, so that the server can finish its answer in peace.
const MAX_BODY: usize = 64 * 1024;

/// The request of a check, in the version of HTTP that the upstream speaks.
#[derive(Debug)]
enum Ask {
    Http1(Vec<u8>),
    Http2(Request<()>),
}

/// What is asked of a server, and which answers are good.
#[derive(Debug)]
pub(super) struct Probe {
    address: Endpoint,
    /// As written in the settings.
    name: String,
    ask: Ask,
    timeout: Duration,
    status: Statuses,
}

impl Probe {
    /// The check of the server that is written as `name` in the settings; none: `check` has no path.
    pub(super) fn new(
        check: &HealthCheck,
        protocol: UpstreamProtocol,
        name: &str,
        mut address: Endpoint,
    ) -> Option<Self> {
        let path = check.path.as_deref()?;
        let mut host = name.to_owned();
        if let Some(port) = check.port {
            address.set_port(port);
            let bare = name.rsplit_once(':').map_or(name, |(host, _)| host);
            host = format!("{bare}:{port}");
        }
        if matches!(address, Endpoint::Unix(_)) {
            "localhost".clone_into(&mut host);
        }
        let host = check.host.as_ref().unwrap_or(&host);
        let agent = concat!("weir/", env!("CARGO_PKG_VERSION"), " (health check)");
        let ask = match protocol {
            UpstreamProtocol::Http1 => Ask::Http1(
                format!(
                    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
                )
                .into_bytes(),
            ),
            UpstreamProtocol::Http2 => Ask::Http2(
                Request::get(format!("http://{host}{path}"))
                    .version(http::Version::HTTP_2)
                    .header("user-agent", agent)
                    .header("accept", "*/*")
                    .body(())
                    .ok()?,
            ),
        };
        Some(Self {
            address,
            name: name.to_owned(),
            ask,
            timeout: check.timeout,
            status: check.status.clone(),
        })
    }

    /// Connects, asks, and waits for an answer's head, all within the time for it. The rest of the answer is read
    /// as far as that time and a bound allow. Returns what came of it, and when.
    pub(super) async fn run(
        &self,
        shared: &Shared,
        upstream: &UpstreamPlan,
    ) -> (CheckResult, Duration) {
        let started = tokio::time::Instant::now();
        let until = started + self.timeout;
        let asked = tokio::time::timeout_at(until, self.ask(shared, upstream)).await;
        let took = started.elapsed();
        let result = match asked {
            Err(_) => CheckResult::Timeout(self.timeout),
            Ok(Err(result)) => result,
            Ok(Ok((conn, head))) => {
                let status = head.status;
                // Nothing depends on it.
                let _ = tokio::time::timeout_at(until, read_out(conn, head.framing)).await;
                match self.status.contains(status) {
                    true => CheckResult::Passed(status),
                    false => CheckResult::Status(status),
                }
            }
        };
        (result, took)
    }

    async fn ask(
        &self,
        shared: &Shared,
        upstream: &UpstreamPlan,
    ) -> Result<(UpstreamConn, ResponseHead), CheckResult> {
        // Counted like every connection, and never refused: a proxy that is full must not find its servers ill.
        let slot = shared.slots.take_anyway(Side::Upstream);
        let dial = Dial {
            address: self.address,
            name: &self.name,
            transport: &upstream.transport,
            client: Origin::Local,
            http2: matches!(self.ask, Ask::Http2(_)),
        };
        let connecting = shared.connector.connect(&dial, self.timeout, slot);
        let connected = connecting.await.map_err(|e| self.unconnected(e))?;
        let mut conn = match &self.ask {
            Ask::Http1(request) => {
                let mut conn = Box::new(Http1Conn::new(connected, self.address));
                conn.send_head(RequestBody::None, |out| out.extend_from_slice(request));
                let flushed = poll_fn(|cx| conn.poll_flush(cx)).await;
                flushed.map_err(broken)?;
                UpstreamConn::Http1(conn)
            }
            Ask::Http2(request) => {
                let mut stream = self.stream(connected).await?;
                let mut request = request.clone();
                if upstream.transport.is_tls() {
                    let uri = request.uri().to_string().replacen("http:", "https:", 1);
                    *request.uri_mut() = uri.parse().unwrap_or_default();
                }
                stream.start(request, true);
                UpstreamConn::Http2(Box::new(stream))
            }
        };
        let asked = Asked {
            method: &Method::GET,
            upgrade: false,
        };
        for _ in 0..MAX_INTERIMS {
            let head = poll_fn(|cx| conn.poll_head(cx, asked)).await;
            let head = head.map_err(|e| match e {
                AnswerError::Closed => {
                    CheckResult::Broken("closed the connection without an answer".to_owned())
                }
                AnswerError::Io(e) => broken(e),
                e => CheckResult::Broken(e.to_string()),
            })?;
            if !head.is_informational() {
                return Ok((conn, head));
            }
        }
        Err(CheckResult::Broken(
            "too many informational answers".to_owned(),
        ))
    }
}

fn broken(e: io::Error) -> CheckResult {
    CheckResult::Broken(format!("connection broke: {e}"))
}

impl Probe {
    /// A stream on a connection of its own.
    async fn stream(&self, connected: Connected) -> Result<Http2Stream, CheckResult> {
        let conns = IdlePool::default();
        if let Place::Open(permit) = conns.place(self.address) {
            let mut opened = permit.watch();
            // It ends with the stream.
            tokio::spawn(open_http2(permit, connected, self.timeout));
            if let Ok(opened) = opened.wait_for(Option::is_some).await
                && let Some(Err(e)) = &*opened
            {
                return Err(self.unconnected(e.clone()));
            }
        }
        match conns.place(self.address) {
            Place::Free(lease) => Ok(Http2Stream::new(lease, false)),
            _ => Err(CheckResult::Broken(
                "closed the connection at once".to_owned(),
            )),
        }
    }

    fn unconnected(&self, e: ConnectError) -> CheckResult {
        match e {
            ConnectError::Timeout => CheckResult::Timeout(self.timeout),
            ConnectError::Failed(why) => CheckResult::Connect(format!("cannot connect: {why}")),
            ConnectError::Tls(why) => CheckResult::Connect(format!("TLS: {why}")),
            ConnectError::Exhausted(why) | ConnectError::NoPort(why) => CheckResult::Skipped(why),
        }
    }
}

/// Reads a body to its end, or as much of it as is worth it.
async fn read_out(mut conn: UpstreamConn, framing: Framing) {
    conn.begin_body(framing);
    let mut read = 0;
    while read < MAX_BODY {
        match poll_fn(|cx| conn.poll_body(cx)).await {
            Ok(true) => {
                let n = conn.piece().len();
                conn.consume(n);
                read += n;
            }
            Ok(false) | Err(_) => return,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(check: HealthCheck, name: &str) -> (Endpoint, String) {
        let address = "127.0.0.1:8000".parse().unwrap();
        let probe = Probe::new(&check, UpstreamProtocol::Http1, name, address).unwrap();
        let Ask::Http1(request) = probe.ask else {
            return (probe.address, String::new());
        };
        (probe.address, String::from_utf8(request).unwrap())
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
    fn without_a_path_nothing_is_asked() {
        let address = "127.0.0.1:1".parse().unwrap();
        assert!(
            Probe::new(
                &HealthCheck::default(),
                UpstreamProtocol::Http1,
                "a:1",
                address
            )
            .is_none()
        );
    }
}
