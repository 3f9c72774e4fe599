//! What all requests share, and putting a snapshot in force.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::descriptors::Descriptors;
use super::slots::Slots;
use super::snapshot::{CompileError, Compiler, Snapshot};
use super::upstream::Connector;
use crate::observe::access_log::{AccessLog, Entry};
use crate::observe::metrics::Metrics;
use crate::observe::{RequestId, RequestIds};
use crate::settings::Published;

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
    /// Tells those who do not look at `draining` with each answer.
    pub(super) drain: Notify,
    /// Idle connections close now.
    pub(super) closing: AtomicBool,
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

    /// Connections close from now on.
    pub(super) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.drain.notify_waiters();
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
            grpc_status: None,
            user_agent: b"",
            referer: b"",
            tls: None,
            revision: self.snapshot.load().revision,
        });
    }
}
