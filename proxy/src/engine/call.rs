//! One request at work: routed, limited, forwarded, or answered here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, header};
use pingora::http::RequestHeader;

use super::client::{Client, ClientError};
use super::forward::{Origin, origin_form};
use super::request::{Arrival, Shared};
use super::respond::respond;
use super::snapshot::{RoutePlan, Snapshot};
use crate::limit::{Decision, KeySource, check_request, monotonic_ms};
use crate::observe::{RequestId, Stages};

/// Unread request bodies up to this size are read and thrown away to keep a connection.
const SMALL_BODY: u64 = 64 * 1024;
/// nginx's status for a client that closed the connection before its answer.
const CLIENT_CLOSED: u16 = 499;

/// A request under way, as far as the log and the metrics are concerned.
pub(super) struct Record {
    pub(super) id: RequestId,
    pub(super) client: IpAddr,
    pub(super) status: u16,
    pub(super) body_bytes: u64,
    pub(super) route: Option<Arc<RoutePlan>>,
    pub(super) server: Option<SocketAddr>,
    pub(super) tries: u32,
    pub(super) connect: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) stages: Option<Stages>,
    pub(super) limit: Option<(&'static str, usize)>,
    pub(super) error: Option<String>,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Close,
}

/// One request at work.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) snapshot: &'a Snapshot,
    pub(super) client: &'a mut Client,
    pub(super) arrival: Arrival,
    pub(super) origin: Origin,
    pub(super) record: Record,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        snapshot: &'a Snapshot,
        client: &'a mut Client,
        arrival: Arrival,
    ) -> Self {
        let trusted = &snapshot.settings.client.trusted_proxies;
        let origin = Origin::find(arrival.peer.ip().to_canonical(), trusted, client.request());
        let given = client
            .request()
            .headers
            .get("x-request-id")
            .filter(|_| origin.trusted)
            .and_then(|v| RequestId::parse(v.as_bytes()));
        let record = Record {
            id: given.unwrap_or_else(|| shared.ids.next()),
            client: origin.client,
            status: 0,
            body_bytes: 0,
            route: None,
            server: None,
            tries: 0,
            connect: None,
            first_byte: None,
            stages: None,
            limit: None,
            error: None,
        };
        Self {
            shared,
            snapshot,
            client,
            arrival,
            origin,
            record,
        }
    }

    pub(super) fn settle(self, fate: Fate) -> (Fate, Record) {
        (fate, self.record)
    }

    pub(super) async fn run(&mut self) -> Fate {
        let method = &self.client.request().method;
        if *method == Method::CONNECT || *method == Method::TRACE {
            return self.local(405, None).await;
        }
        let req = self.client.request();
        let host = req
            .headers
            .get(header::HOST)
            .map_or(&b""[..], |v| v.as_bytes());
        let Some(route) = self.snapshot.routes.find(host, path_of(req)).cloned() else {
            return self.local(404, None).await;
        };
        self.record.route = Some(Arc::clone(&route));
        let max_body = self.snapshot.settings.client.max_body.as_u64();
        if max_body > 0
            && self
                .arrival
                .summary
                .content_length
                .is_some_and(|n| n > max_body)
        {
            self.client.close_after();
            return self.local(413, None).await;
        }
        if let Some(fate) = self.limit(&route).await {
            return fate;
        }
        self.forward(&route).await
    }

    /// Applies the rate limits of the route; `Some` if the request ends here.
    async fn limit(&mut self, route: &RoutePlan) -> Option<Fate> {
        if route.limits.is_empty() {
            return None;
        }
        let source = Source {
            client: self.origin.client,
            req: self.client.request(),
            route: route.metrics.name(),
        };
        let verdict = check_request(&route.limits, &source, monotonic_ms());
        let by = verdict.by.unwrap_or_default();
        match verdict.decision {
            Decision::Admit => None,
            Decision::Reject => {
                self.record.limit = Some(("rejected", by));
                let status = route.limits.get(by).map_or(429, |limit| limit.status);
                Some(self.local(status, Some(1)).await)
            }
            Decision::Delay(wait) => {
                self.record.limit = Some(("delayed", by));
                let gone = if self.client.is_body_done() {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => None,
                        e = self.client.gone() => Some(e),
                    }
                } else {
                    tokio::time::sleep(wait).await;
                    None
                };
                gone.map(|e| self.client_lost(e))
            }
        }
    }

    /// An answer of the proxy's own.
    pub(super) async fn local(&mut self, status: u16, retry_after: Option<u64>) -> Fate {
        self.record.status = status;
        let small = self
            .arrival
            .summary
            .content_length
            .is_none_or(|n| n <= SMALL_BODY);
        let mut fate = Fate::Keep;
        if !self.client.is_body_done() {
            if small && !self.client.expects_continue() && !self.arrival.summary.chunked {
                self.client.keep_despite_unread_body();
            } else {
                self.client.close_after();
                fate = Fate::Close;
            }
        }
        if self.shared.draining.load(Ordering::Relaxed) {
            self.client.close_after();
        }
        self.record.body_bytes =
            respond(self.client, status, self.record.id.as_str(), retry_after).await;
        fate
    }

    /// An answer of the proxy's own after which the connection is of no use.
    pub(super) async fn refuse(&mut self, status: u16) -> Fate {
        self.client.close_after();
        self.local(status, None).await;
        Fate::Close
    }

    /// The client is gone: logged as nginx does, unless an answer had begun.
    pub(super) fn client_lost(&mut self, e: ClientError) -> Fate {
        self.record.error = Some(e.to_string());
        if self.record.status == 0 || !self.client.answer_started() {
            self.record.status = CLIENT_CLOSED;
        }
        Fate::Close
    }
}

/// Where limit keys come from.
struct Source<'a> {
    client: IpAddr,
    req: &'a RequestHeader,
    route: &'a str,
}

impl KeySource for Source<'_> {
    fn client_ip(&self) -> IpAddr {
        self.client
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.req.headers.get(name).map(|v| v.as_bytes())
    }

    fn route(&self) -> &str {
        self.route
    }
}

fn path_of(req: &RequestHeader) -> &[u8] {
    let target = origin_form(req);
    memchr::memchr(b'?', target)
        .and_then(|at| target.get(..at))
        .unwrap_or(target)
}
