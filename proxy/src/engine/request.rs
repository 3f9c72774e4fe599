//! A request from its head to its log line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::call::{Call, Fate, Record};
use super::descriptors::Descriptors;
use super::downstream::Downstream;
use super::slots::Slots;
use super::snapshot::{CompileError, Compiler, Snapshot};
use super::upstream::Connector;
use crate::observe::access_log::{AccessLog, Entry};
use crate::observe::metrics::Metrics;
use crate::observe::{RequestId, RequestIds};
use crate::settings::Published;
use weir_http1::Name;

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

    /// Logs a head that never became a request, with its first line.
    pub(super) fn log_refused(&self, peer: SocketAddr, status: u16, id: RequestId, input: &[u8]) {
        self.metrics.bad_request(status);
        let Some(log) = &self.access_log else { return };
        let line = input
            .split(|&b| b == b'\r' || b == b'\n')
            .next()
            .unwrap_or_default();
        log.log(&Entry {
            at: SystemTime::now(),
            id: id.as_str(),
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

/// Handles one request, from its head to its log line. Returns what becomes of the connection.
pub(super) async fn serve(shared: &Shared, client: &mut Downstream, arrival: Arrival) -> Fate {
    let snapshot = shared.snapshot.load_full();
    let _in_flight = InFlight::new(shared);
    let (fate, record) = {
        let mut call = Call::new(shared, &snapshot, client, arrival);
        let fate = call.run().await;
        call.settle(fate)
    };
    finish_record(shared, &snapshot, client, &record, arrival);
    fate
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
    client: &Downstream,
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
    let head = client.head();
    let text = |name: Name| head.fields.get(name).unwrap_or_default();
    let limit = record.limit.and_then(|(what, at)| {
        let limit = record.route.as_ref()?.limits.get(at)?;
        Some((what, limit.name.as_str()))
    });
    log.log(&Entry {
        at: arrival.wall,
        id: record.id.as_str(),
        client: record.client,
        method: head.method.as_str(),
        host: head.authority(),
        target: head.target(),
        protocol: head.version.as_str(),
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
        user_agent: text(Name::UserAgent),
        referer: text(Name::Referer),
        revision: snapshot.revision,
    });
}
