//! One request at work: routed, limited, forwarded, or answered here.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use weir_http1::{Fields, Name, RequestBody};

use super::downstream::{ClientError, Downstream};
use super::forward::Origin;
use super::grpc;
use super::peer::Peer;
use super::request::Arrival;
use super::respond::Own;
use super::shared::Shared;
use super::snapshot::{RoutePlan, Snapshot};
use crate::limit::{Decision, KeySource, check_request, monotonic_ms, retry_after};
use crate::observe::{RequestId, Stages};
use crate::route::path::{self, PathError};
use crate::route::{Asked, NoRoute, host};
use crate::upstream::Endpoint;

/// nginx's status for a client that closed the connection before its answer.
const CLIENT_CLOSED: u16 = 499;

/// A request under way, as far as the log and the metrics are concerned.
pub(super) struct Record {
    pub(super) id: RequestId,
    pub(super) client: IpAddr,
    pub(super) status: u16,
    pub(super) body_bytes: u64,
    pub(super) route: Option<Arc<RoutePlan>>,
    pub(super) server: Option<Endpoint>,
    pub(super) tries: u32,
    pub(super) connect: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) stages: Option<Stages>,
    pub(super) limit: Option<(&'static str, usize)>,
    pub(super) error: Option<String>,
    /// How a call of gRPC went, as the client was told.
    pub(super) grpc_status: Option<u16>,
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
    pub(super) client: &'a mut Downstream,
    pub(super) arrival: Arrival,
    pub(super) peer: &'a Peer,
    pub(super) origin: Origin,
    /// It is a call of gRPC.
    pub(super) grpc: bool,
    pub(super) record: Record,
    /// What 405 says is allowed, if that is less than this proxy passes on.
    allow: Option<String>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        snapshot: &'a Snapshot,
        client: &'a mut Downstream,
        arrival: Arrival,
        peer: &'a Peer,
    ) -> Self {
        let trusted = &snapshot.settings.client.trusted_proxies;
        let fields = &client.head().fields;
        let origin = Origin::find(peer.address.ip().to_canonical(), trusted, fields);
        let given = fields
            .get(Name::XRequestId)
            .filter(|_| origin.trusted)
            .and_then(RequestId::parse);
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
            grpc_status: None,
        };
        let grpc = grpc::is_call(client.head());
        Self {
            grpc,
            shared,
            snapshot,
            client,
            arrival,
            peer,
            origin,
            record,
            allow: None,
        }
    }

    pub(super) fn settle(self, fate: Fate) -> (Fate, Record) {
        (fate, self.record)
    }

    pub(super) async fn run(&mut self) -> Fate {
        let head = self.client.head();
        if head.method == Method::CONNECT {
            // What follows is meant for a tunnel, and must not be taken for another request.
            return self.refuse(405).await;
        }
        if head.method == Method::TRACE {
            return self.local(405, None).await;
        }
        let route = match self.find_route() {
            Ok(Ok(route)) => route,
            Ok(Err(NoRoute::NotFound)) => return self.local(404, None).await,
            Ok(Err(NoRoute::Method(allowed))) => {
                self.allow = Some(allowed.join(", "));
                return self.local(405, None).await;
            }
            Err(e) => {
                self.record.error = Some(e.to_string());
                return self.local(400, None).await;
            }
        };
        self.record.route = Some(Arc::clone(&route));
        let max_body = self.snapshot.settings.client.max_body.as_u64();
        if max_body > 0 && matches!(self.client.head().body, RequestBody::Length(n) if n > max_body)
        {
            return self.refuse(413).await;
        }
        if let Some(fate) = self.limit(&route).await {
            return fate;
        }
        self.forward(&route).await
    }

    /// The route of the request, by its normalised host and path.
    fn find_route(&self) -> Result<Result<Arc<RoutePlan>, NoRoute>, PathError> {
        let head = self.client.head();
        let target = head.origin_form();
        if target == b"*" {
            // The server as a whole: no route is about it.
            return Ok(Err(NoRoute::NotFound));
        }
        let path = path::normalise(target)?;
        let asked = Asked {
            host: &host::normalise(head.authority()),
            path: &path,
            method: head.method.as_str(),
            has_field: &|name, value| {
                head.fields.iter().any(|field| {
                    field.name.eq_ignore_ascii_case(name.as_bytes())
                        && field.value == value.as_bytes()
                })
            },
        };
        Ok(self.snapshot.routes.find(&asked).cloned())
    }

    /// Applies the rate limits of the route; `Some` if the request ends here.
    async fn limit(&mut self, route: &RoutePlan) -> Option<Fate> {
        if route.limits.is_empty() {
            return None;
        }
        let source = Source {
            client: self.origin.client,
            fields: &self.client.head().fields,
            route: route.metrics.name(),
        };
        let verdict = check_request(&route.limits, &source, monotonic_ms());
        let by = verdict.by.unwrap_or_default();
        match verdict.decision {
            Decision::Admit => None,
            Decision::Reject => {
                self.record.limit = Some(("rejected", by));
                let limit = route.limits.get(by);
                let status = limit.map_or(429, |limit| limit.status);
                let wait = limit.and_then(|limit| retry_after(limit, &source, monotonic_ms()));
                Some(self.local(status, Some(wait.unwrap_or(1))).await)
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
        self.client.keep_if_small();
        if self.shared.draining.load(Ordering::Relaxed) {
            self.client.close_after();
        }
        let own = Own {
            status,
            id: self.record.id.as_str(),
            retry_after,
            allow: self.allow.as_deref(),
            grpc: self.grpc,
        };
        self.record.status = own.status();
        self.record.grpc_status = self.grpc.then(|| grpc::status_of(status));
        let limit = self.snapshot.settings.timeouts.send;
        self.record.body_bytes = own.send(self.client, limit).await;
        Fate::Keep
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
    fields: &'a Fields,
    route: &'a str,
}

impl KeySource for Source<'_> {
    fn client_ip(&self) -> IpAddr {
        self.client
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.fields.find(name.as_bytes())
    }

    fn route(&self) -> &str {
        self.route
    }
}
