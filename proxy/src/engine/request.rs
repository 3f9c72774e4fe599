//! A request from its head to its log line.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use http::{Method, Version, header};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;

use super::client::{Client, ClientError, ClientTimeouts};
use super::exchange::{Done, Failure, Plan, Progress, exchange};
use super::forward::{Forward, Origin, RequestBody, origin_form, write_head};
use super::respond::respond;
use super::slots::{Side, Slots};
use super::snapshot::{Compiler, RoutePlan, Snapshot, UpstreamPlan};
use super::upstream::{ConnectError, Connector, UpstreamConn};
use crate::http1::HeadSummary;
use crate::limit::{Decision, KeySource, check_request, monotonic_ms};
use crate::observe::access_log::{AccessLog, Entry};
use crate::observe::metrics::Metrics;
use crate::observe::{RequestId, RequestIds};
use crate::upstream::{Pick, Tried};

/// Unread request bodies up to this size are read and thrown away to keep a connection.
const SMALL_BODY: u64 = 64 * 1024;
/// nginx's status for a client that closed the connection before its answer.
const CLIENT_CLOSED: u16 = 499;

/// What all requests share.
pub(super) struct Shared {
    pub(super) compiler: Compiler,
    pub(super) snapshot: ArcSwap<Snapshot>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) slots: Arc<Slots>,
    pub(super) connector: Connector,
    pub(super) ids: RequestIds,
    /// The process is about to end: connections close after the answer at hand.
    pub(super) draining: AtomicBool,
}

/// How a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) peer: SocketAddr,
    pub(super) wall: SystemTime,
    pub(super) at: Instant,
    pub(super) summary: HeadSummary,
}

/// A request under way, as far as the log and the metrics are concerned.
struct Record {
    id: RequestId,
    client: IpAddr,
    status: u16,
    body_bytes: u64,
    route: Option<Arc<RoutePlan>>,
    server: Option<SocketAddr>,
    tries: u32,
    connect: Option<Duration>,
    first_byte: Option<Duration>,
    limit: Option<(&'static str, usize)>,
    error: Option<String>,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Close,
}

/// Handles one request. Returns the connection if it can carry another, with what has been read of it.
pub(super) async fn serve(
    shared: &Shared,
    stream: Stream,
    input: BytesMut,
    arrival: Arrival,
) -> Option<(Stream, BytesMut)> {
    let snapshot = shared.snapshot.load_full();
    let timeouts = &snapshot.settings.timeouts;
    let limits = ClientTimeouts { body: timeouts.client_body, send: timeouts.send };
    let mut client = match Client::http1(stream, input, limits).await {
        Ok(client) => client,
        Err((mut client, e)) => {
            if e == ClientError::Malformed {
                shared.metrics.bad_request(400);
                client.close_after();
            }
            client.shutdown().await;
            return None;
        }
    };
    let _in_flight = InFlight::new(shared);
    let (fate, record) = {
        let mut call = Call::new(shared, &snapshot, &mut client, arrival);
        let fate = call.run().await;
        call.settle(fate)
    };
    finish_record(shared, &snapshot, &client, &record, arrival);
    match fate {
        Fate::Keep => client.finish().await,
        Fate::Close => {
            client.shutdown().await;
            None
        }
    }
}

/// Counts a request in flight until dropped.
struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.metrics.in_flight.inc();
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

/// One request at work.
struct Call<'a> {
    shared: &'a Shared,
    snapshot: &'a Snapshot,
    client: &'a mut Client,
    arrival: Arrival,
    origin: Origin,
    record: Record,
}

impl<'a> Call<'a> {
    fn new(shared: &'a Shared, snapshot: &'a Snapshot, client: &'a mut Client, arrival: Arrival) -> Self {
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
            limit: None,
            error: None,
        };
        Self { shared, snapshot, client, arrival, origin, record }
    }

    fn settle(self, fate: Fate) -> (Fate, Record) {
        (fate, self.record)
    }

    async fn run(&mut self) -> Fate {
        let method = &self.client.request().method;
        if *method == Method::CONNECT || *method == Method::TRACE {
            return self.local(405, None).await;
        }
        let req = self.client.request();
        let host = req.headers.get(header::HOST).map_or(&b""[..], |v| v.as_bytes());
        let Some(route) = self.snapshot.routes.find(host, path_of(req)).cloned() else {
            return self.local(404, None).await;
        };
        self.record.route = Some(Arc::clone(&route));
        let max_body = self.snapshot.settings.client.max_body.as_u64();
        if max_body > 0 && self.arrival.summary.content_length.is_some_and(|n| n > max_body) {
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
        let source = Source { client: self.origin.client, req: self.client.request(), route: route.metrics.name() };
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

    /// Tries servers until one has answered, or no further try is allowed.
    async fn forward(&mut self, route: &RoutePlan) -> Fate {
        let settings = &self.snapshot.settings;
        let plan = &*route.upstream;
        let body = match self.arrival.summary {
            HeadSummary { chunked: true, .. } => RequestBody::Chunked,
            HeadSummary { content_length: Some(n), .. } if n > 0 => RequestBody::Length(n),
            HeadSummary { content_length: Some(_), .. } if has_body_by_method(&self.client.request().method) => {
                RequestBody::Length(0)
            }
            _ => RequestBody::None,
        };
        let mut head = Vec::with_capacity(1024);
        write_head(&mut head, self.client.request(), &Forward {
            origin: self.origin,
            id: self.record.id.as_str(),
            scheme: "http",
            body,
            upgrade: self.client.wants_upgrade(),
            ops: &route.request_headers,
        });
        let max_body = match settings.client.max_body.as_u64() {
            0 => u64::MAX,
            n => n,
        };
        let id = self.record.id;
        let request = Plan {
            head: &head,
            body: if body == RequestBody::Length(0) { RequestBody::None } else { body },
            max_body,
            timeouts: &settings.timeouts,
            compression: &settings.compression,
            response_headers: &route.response_headers,
            id: id.as_str(),
            draining: self.shared.draining.load(Ordering::Relaxed),
        };
        self.try_servers(plan, &request).await
    }

    async fn try_servers(&mut self, plan: &UpstreamPlan, request: &Plan<'_>) -> Fate {
        let mut tried = Tried::new();
        let mut allow_kept = true;
        loop {
            let Some(pick) = plan.state.pick(&mut tried, monotonic_ms()) else {
                // The reason of the last try, if there was one, says more.
                let status = if self.record.status == 0 { 502 } else { self.record.status };
                self.record.error.get_or_insert_with(|| "no live upstream server".into());
                return self.local(status, None).await;
            };
            self.record.server = Some(pick.address());
            let mut conn = match self.connection(plan, &pick, allow_kept).await {
                Ok(conn) => conn,
                Err(Trouble::Retry(status)) => {
                    if !self.may_retry(plan, true) {
                        return self.local(status, None).await;
                    }
                    self.record.status = status;
                    plan.metrics.retried.inc();
                    continue;
                }
                Err(Trouble::Full) => return self.local(503, None).await,
                Err(Trouble::Client(e)) => return self.client_lost(e),
            };
            let mut progress = Progress::default();
            let result = exchange(self.client, &mut conn, request, &mut progress).await;
            self.record.first_byte = progress.first_byte;
            self.record.body_bytes = progress.body_bytes;
            match result {
                Ok(Done { keep_upstream }) => {
                    pick.succeed();
                    plan.metrics.answered.inc();
                    if let Some(first_byte) = progress.first_byte {
                        plan.metrics.latency.observe(first_byte.as_secs_f64());
                    }
                    if keep_upstream && plan.keepalive > 0 {
                        plan.pool.put(conn, plan.keepalive);
                    }
                    self.record.status = progress.status.unwrap_or(502);
                    self.record.error = None;
                    return Fate::Keep;
                }
                Err(failure) => {
                    let stale = conn.is_reused() && failure.is_broken_connection() && progress.first_byte.is_none();
                    drop(conn);
                    if let Some(fate) = self
                        .after_failure(plan, &pick, &mut tried, &failure, &progress, stale)
                        .await
                    {
                        return fate;
                    }
                    allow_kept &= !stale;
                }
            }
        }
    }

    /// What to do after a failed exchange; `None`: try again.
    async fn after_failure(
        &mut self,
        plan: &UpstreamPlan,
        pick: &Pick,
        tried: &mut Tried,
        failure: &Failure,
        progress: &Progress,
        stale: bool,
    ) -> Option<Fate> {
        self.record.error = Some(failure.to_string());
        if let Failure::Client(e) = failure {
            self.record.status = progress.status.unwrap_or_default();
            return Some(match e {
                ClientError::Malformed if !self.client.answer_started() => self.refuse(400).await,
                ClientError::Timeout if !self.client.answer_started() => self.refuse(408).await,
                e => self.client_lost(*e),
            });
        }
        if failure.is_upstream() && !stale {
            pick.fail(monotonic_ms());
            plan.metrics.failed.inc();
        }
        if self.client.answer_started() {
            // Too late for another answer: the client learns of it from the broken body.
            self.record.status = progress.status.unwrap_or(502);
            return Some(Fate::Close);
        }
        let status = match failure {
            Failure::Timeout => 504,
            Failure::BodyTooLarge => return Some(self.refuse(413).await),
            _ => 502,
        };
        let untouched = failure.is_broken_connection() && progress.first_byte.is_none() && !progress.body_taken;
        if untouched && is_idempotent(&self.client.request().method) {
            if stale {
                // The server closed a kept connection meanwhile: no fault of its, and no try.
                pick.allow_again(tried);
                return None;
            }
            if self.may_retry(plan, false) {
                self.record.status = status;
                plan.metrics.retried.inc();
                return None;
            }
        }
        Some(self.local(status, None).await)
    }

    /// A connection to the picked server: a kept one, or a new one.
    async fn connection(&mut self, plan: &UpstreamPlan, pick: &Pick, allow_kept: bool) -> Result<UpstreamConn, Trouble> {
        let counters = &pick.server().connections;
        if allow_kept && let Some(conn) = plan.pool.take(pick.address()) {
            self.record.connect = Some(Duration::ZERO);
            counters.reused.fetch_add(1, Ordering::Relaxed);
            plan.metrics.reused.inc();
            return Ok(conn);
        }
        self.record.tries += 1;
        let settings = &self.snapshot.settings;
        let Some(slot) = self.shared.slots.take(Side::Upstream, settings.connections.max) else {
            self.record.error = Some("connections.max reached".into());
            return Err(Trouble::Full);
        };
        let started = Instant::now();
        let connecting = self.shared.connector.connect(pick.address(), settings.timeouts.connect, slot);
        let connected = if self.client.is_body_done() {
            tokio::select! {
                biased;
                connected = connecting => connected,
                e = self.client.gone() => return Err(Trouble::Client(e)),
            }
        } else {
            connecting.await
        };
        self.record.connect = Some(started.elapsed());
        match connected {
            Ok(conn) => {
                counters.opened.fetch_add(1, Ordering::Relaxed);
                plan.metrics.opened.inc();
                Ok(conn)
            }
            Err(e) => {
                pick.fail(monotonic_ms());
                plan.metrics.failed.inc();
                self.record.error = Some(e.to_string());
                Err(Trouble::Retry(match e {
                    ConnectError::Timeout => 504,
                    ConnectError::Failed(_) => 502,
                }))
            }
        }
    }

    /// Whether another server may be tried. `unsent`: nothing of the request has left this proxy,
    /// so that any method may be tried elsewhere.
    fn may_retry(&self, plan: &UpstreamPlan, unsent: bool) -> bool {
        let in_time = plan.retry.timeout.is_zero() || self.arrival.at.elapsed() < plan.retry.timeout;
        let method_ok = unsent || is_idempotent(&self.client.request().method);
        self.record.tries < plan.retry.tries && in_time && method_ok
    }

    /// An answer of the proxy's own.
    async fn local(&mut self, status: u16, retry_after: Option<u64>) -> Fate {
        self.record.status = status;
        let small = self.arrival.summary.content_length.is_none_or(|n| n <= SMALL_BODY);
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
        self.record.body_bytes = respond(self.client, status, self.record.id.as_str(), retry_after).await;
        fate
    }

    /// An answer of the proxy's own after which the connection is of no use.
    async fn refuse(&mut self, status: u16) -> Fate {
        self.client.close_after();
        self.local(status, None).await;
        Fate::Close
    }

    /// The client is gone: logged as nginx does, unless an answer had begun.
    fn client_lost(&mut self, e: ClientError) -> Fate {
        self.record.error = Some(e.to_string());
        if self.record.status == 0 || !self.client.answer_started() {
            self.record.status = CLIENT_CLOSED;
        }
        Fate::Close
    }
}

/// Why there is no connection to the server.
enum Trouble {
    /// The server could not be reached; the status, should no other be tried.
    Retry(u16),
    /// `connections.max` is reached.
    Full,
    Client(ClientError),
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
    memchr::memchr(b'?', target).and_then(|at| target.get(..at)).unwrap_or(target)
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}

/// Methods for which a length of zero is worth stating (RFC 9110 section 8.6).
fn has_body_by_method(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn finish_record(shared: &Shared, snapshot: &Snapshot, client: &Client, record: &Record, arrival: Arrival) {
    let duration = arrival.at.elapsed();
    match &record.route {
        Some(route) => route.metrics.count(record.status, duration, record.body_bytes),
        None => shared.metrics.bad_request(record.status),
    }
    let Some(log) = &shared.access_log else { return };
    let req = client.request();
    let text = |name: header::HeaderName| req.headers.get(name).map_or(&b""[..], |v| v.as_bytes());
    let limit = record.limit.and_then(|(what, at)| {
        let limit = record.route.as_ref()?.limits.get(at)?;
        Some((what, limit.name.as_str()))
    });
    log.log(&Entry {
        at: arrival.wall,
        id: record.id.as_str(),
        client: record.client,
        method: req.method.as_str(),
        host: text(header::HOST),
        target: req.raw_path(),
        protocol: protocol(req.version),
        status: record.status,
        bytes: record.body_bytes,
        duration,
        route: record.route.as_ref().map(|route| route.metrics.name()),
        server: record.server,
        tries: record.tries.max(1),
        connect: record.connect,
        first_byte: record.first_byte,
        limit,
        error: record.error.as_deref(),
        user_agent: text(header::USER_AGENT),
        referer: text(header::REFERER),
        revision: snapshot.revision,
    });
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
