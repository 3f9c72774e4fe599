//! A stream to a server that speaks HTTP/2, on a connection that is there or on a new one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::attempts::{Trouble, until_gone};
use super::call::Call;
use super::room::NoConnection;
use super::snapshot::UpstreamPlan;
use super::upstream::{
    ConnectError, Dial, Http2Stream, Opened, Permit, Place, UpstreamConn, open_http2,
};
use crate::upstream::Pick;

/// How often a request waits for a connection whose streams others were faster to take.
const MAX_WAITS: usize = 100;

impl Call<'_> {
    /// A stream to the picked server.
    pub(super) async fn stream(
        &mut self,
        plan: &UpstreamPlan,
        pick: &Pick,
    ) -> Result<UpstreamConn, Trouble> {
        self.record.tries += 1;
        let started = Instant::now();
        let mut waited = 0;
        // A connection that tells the server who the client is carries nobody else.
        let pool = match plan.transport.is_reusable() {
            true => Arc::clone(&plan.pool),
            false => Arc::default(),
        };
        loop {
            let opened = match pool.place(pick.address()) {
                Place::Free(lease) => {
                    let counters = &pick.server().connections;
                    if lease.is_reused() {
                        counters.reused.fetch_add(1, Ordering::Relaxed);
                        plan.metrics.reused.inc();
                    }
                    self.record.connect = Some(match waited {
                        0 => Duration::ZERO,
                        _ => started.elapsed(),
                    });
                    let stream = Http2Stream::new(lease, plan.transport.is_tls());
                    return Ok(UpstreamConn::Http2(Box::new(stream)));
                }
                Place::Wait(opened) => opened,
                Place::Open(permit) => self.open(plan, pick, permit).await?,
            };
            waited += 1;
            if waited > MAX_WAITS {
                self.record.error = Some("no stream to the server is free".into());
                return Err(Trouble::Full);
            }
            if let Err(e) = until_gone(self.client, ended(opened)).await? {
                self.record.connect = Some(started.elapsed());
                return Err(self.unconnected(&NoConnection::Connect(e)));
            }
        }
    }

    /// Connects, and leaves the start of HTTP/2 to a task of its own: others wait for it too, and it goes on
    /// as the connection's task. If this client leaves meanwhile, whoever waits connects anew.
    async fn open(
        &mut self,
        plan: &UpstreamPlan,
        pick: &Pick,
        permit: Permit,
    ) -> Result<watch::Receiver<Opened>, Trouble> {
        let limit = self.snapshot.settings.timeouts.connect;
        let dial = Dial {
            address: pick.address(),
            name: pick.name(),
            transport: &plan.transport,
            client: self.peer.origin(),
            http2: true,
        };
        let connecting = self.shared.connect(&dial, limit, self.snapshot);
        match until_gone(self.client, connecting).await? {
            Ok(connected) => {
                let counters = &pick.server().connections;
                counters.opened.fetch_add(1, Ordering::Relaxed);
                plan.metrics.opened.inc();
                let opened = permit.watch();
                tokio::spawn(open_http2(permit, connected, limit));
                Ok(opened)
            }
            Err(e) => {
                if let NoConnection::Connect(e) = &e {
                    permit.finish(Err(e.clone()));
                }
                Err(self.unconnected(&e))
            }
        }
    }
}

/// Waits until a connection is there.
async fn ended(mut opened: watch::Receiver<Opened>) -> Result<(), ConnectError> {
    match opened.wait_for(Option::is_some).await {
        Ok(opened) => opened.clone().unwrap_or(Ok(())),
        // Whoever was to open it has gone: the next one does.
        Err(_) => Ok(()),
    }
}
