//! A request from its head to its log line.

use std::time::{Instant, SystemTime};

use weir_http1::Name;

use super::call::{Call, Fate, Record};
use super::downstream::Downstream;
use super::grpc;
use super::peer::{Peer, Secure};
use super::shared::Shared;
use super::snapshot::Snapshot;
use crate::observe::access_log::Entry;

/// How a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) wall: SystemTime,
    pub(super) at: Instant,
}

/// Handles one request, from its head to its log line. Returns what becomes of the connection.
pub(super) async fn serve(
    shared: &Shared,
    client: &mut Downstream,
    arrival: Arrival,
    peer: &Peer,
) -> Fate {
    let snapshot = shared.snapshot.load_full();
    let _in_flight = InFlight::new(shared);
    let (fate, record) = {
        let mut call = Call::new(shared, &snapshot, client, arrival, peer);
        let fate = call.run().await;
        call.settle(fate)
    };
    finish_record(shared, &snapshot, client, &record, arrival, peer);
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
    peer: &Peer,
) {
    let duration = arrival.at.elapsed();
    match &record.route {
        Some(route) => route
            .metrics
            .count(record.status, duration, record.body_bytes),
        None => shared.metrics.bad_request(record.status),
    }
    if grpc::is_call(client.head()) {
        let route = record.route.as_ref().map(|route| route.metrics.name());
        let metrics = &shared.metrics.grpc;
        metrics.count(route.unwrap_or_default(), record.grpc_status);
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
        grpc_status: record.grpc_status,
        user_agent: text(Name::UserAgent),
        referer: text(Name::Referer),
        tls: peer.tls.as_deref().map(Secure::entry),
        revision: snapshot.revision,
    });
}
