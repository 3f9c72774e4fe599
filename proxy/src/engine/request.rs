//! A request from its head to its log line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use http::{Version, header};
use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::sync::Notify;

use super::call::{Call, Fate, Record};
use super::client::{Client, ClientError, ClientTimeouts};
use super::descriptors::Descriptors;
use super::slots::Slots;
use super::snapshot::{CompileError, Compiler, Snapshot};
use super::upstream::Connector;
use crate::observe::RequestIds;
use crate::observe::access_log::{AccessLog, Entry};
use crate::observe::metrics::Metrics;
use crate::settings::Published;
use weir_http1::HeadSummary;

/// How much of the first line of a refused head is logged, in bytes.
const MAX_REFUSED_LINE: usize = 1024;

/// What all requests share.
pub(super) struct Shared {
    pub(super) compiler: Compiler,
    pub(super) snapshot: ArcSwap<Snapshot>,
    /// Wakes who follows the snapshots: another one is in force.
    pub(super) published: Notify,
    /// Held from compiling a snapshot to putting it in force, so that an older one never replaces a
    /// newer one.
    pub(super) publishing: Mutex<()>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) slots: Arc<Slots>,
    pub(super) descriptors: Descriptors,
    pub(super) connector: Connector,
    pub(super) ids: RequestIds,
    /// The process is about to end: connections close after their next answer.
    pub(super) draining: AtomicBool,
    /// Idle connections close now.
    pub(super) closing: AtomicBool,
}

/// How a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) peer: SocketAddr,
    pub(super) wall: SystemTime,
    pub(super) at: Instant,
    pub(super) summary: HeadSummary,
}

impl Shared {
    /// Compiles settings and routes, and puts them in force.
    pub(super) fn publish(&self, next: &Published) -> Result<(), CompileError> {
        let _turn = self.publishing.lock();
        let next = self.compiler.compile(next)?;
        self.put_in_force(next);
        Ok(())
    }

    /// Compiles what is in force anew, because names stand for other addresses.
    pub(super) fn refresh(&self) {
        let _turn = self.publishing.lock();
        let now = self.snapshot.load();
        match self.compiler.compile(&now.published()) {
            Ok(next) => self.put_in_force(next),
            Err(e) => tracing::error!(error = %e, "cannot follow a change of addresses"),
        }
    }

    fn put_in_force(&self, next: Snapshot) {
        self.compiler.follow(&next);
        self.snapshot.store(Arc::new(next));
        self.published.notify_one();
    }

    /// Logs a head that never became a request.
    pub(super) fn log_refused(&self, peer: SocketAddr, status: u16, input: &[u8]) {
        self.metrics.bad_request(status);
        let Some(log) = &self.access_log else { return };
        let line = input
            .split(|&b| b == b'\r' || b == b'\n')
            .next()
            .unwrap_or_default();
        log.log(&Entry {
            at: SystemTime::now(),
            id: self.ids.next().as_str(),
            client: peer.ip().to_canonical(),
            method: "",
            host: b"",
            target: line.get(..MAX_REFUSED_LINE).unwrap_or(line),
            protocol: "",
            status,
            bytes: 0,
            duration: Duration::ZERO,
            route: None,
            server: None,
            tries: 0,
            connect: None,
            first_byte: None,
            stages: None,
            limit: None,
            error: Some("request refused before routing"),
            user_agent: b"",
            referer: b"",
            revision: self.snapshot.load().revision,
        });
    }
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
    let limits = ClientTimeouts {
        body: timeouts.client_body,
        send: timeouts.send,
    };
    let mut client = match Client::http1(stream, input, limits).await {
        Ok(client) => client,
        Err((mut client, e)) => {
            if e == ClientError::Malformed {
                shared.log_refused(arrival.peer, 400, b"");
                client.refuse_head(400).await;
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

fn finish_record(
    shared: &Shared,
    snapshot: &Snapshot,
    client: &Client,
    record: &Record,
    arrival: Arrival,
) {
    let duration = arrival.at.elapsed();
    match &record.route {
        Some(route) => route
            .metrics
            .count(record.status, duration, record.body_bytes),
        None => shared.metrics.bad_request(record.status),
    }
    let Some(log) = &shared.access_log else {
        return;
    };
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
        stages: record.stages,
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
