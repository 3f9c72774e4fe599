//! The tries of a request at the servers of its upstream. What a failure means is decided by
//! [`crate::upstream::retry`].

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::Method;
use weir_api::settings::UpstreamProtocol;
use weir_http1::{RequestBody, Version};

use super::call::{Call, Fate};
use super::downstream::{ClientError, Downstream};
use super::exchange::{Done, Failure, Plan, Progress, Replay, exchange};
use super::forward::Forward;
use super::grpc;
use super::room::NoConnection;
use super::snapshot::{RoutePlan, UpstreamPlan};
use super::upstream::{ConnectError, Dial, Http1Conn, UpstreamConn};
use crate::limit::{monotonic_ms, monotonic_ms_at};
use crate::upstream::retry::{self, AttemptFailure, Attempted, FailedAttempt, Next, Verdict};
use crate::upstream::{Pick, Tried};

/// The tries so far.
struct Tries {
    tried: Tried,
    /// Kept connections may be used: the last one had not been closed meanwhile.
    allow_kept: bool,
    /// Another server is to be tried; the status, should there be none.
    again: Option<u16>,
}

impl Call<'_> {
    /// Tries servers until one has answered, or no further try is allowed.
    pub(super) async fn forward(&mut self, route: &RoutePlan) -> Fate {
        let settings = &self.snapshot.settings;
        let head = self.client.head();
        let body = match head.body {
            // Methods for which a length of zero is worth stating (RFC 9110 section 8.6).
            RequestBody::Length(0) if !has_body_by_method(&head.method) => RequestBody::None,
            body => body,
        };
        let id = self.record.id;
        let plan = Plan {
            forward: Forward {
                origin: self.origin,
                id: id.as_str(),
                scheme: self.peer.scheme(),
                identity: self.peer.identity(),
                upstream: route.upstream.state.name(),
                body,
                upgrade: head.upgrades().next().is_some(),
                ops: &route.request_headers,
            },
            max_body: match settings.client.max_body.as_u64() {
                0 => u64::MAX,
                n => n,
            },
            timeouts: &settings.timeouts,
            compression: &settings.compression,
            response_headers: &route.response_headers,
            server_timing: settings.client.server_timing,
            began: self.arrival.wall,
            grpc: self.grpc,
            deadline: match self.grpc {
                true => grpc::timeout(head).map(|timeout| self.arrival.at + timeout),
                false => None,
            },
            draining: &self.shared.draining,
        };
        let http2 = route.upstream.protocol == UpstreamProtocol::Http2;
        if http2 && plan.forward.upgrade && head.version == Version::Http2 {
            // Whatever the server answered would be taken for the start of the tunnel.
            return self.local(501, None).await;
        }
        self.try_servers(&route.upstream, &plan).await
    }

    async fn try_servers(&mut self, plan: &UpstreamPlan, request: &Plan<'_>) -> Fate {
        let mut tries = Tries {
            tried: Tried::new(),
            allow_kept: true,
            again: None,
        };
        let mut replay = Replay::default();
        loop {
            let now = Instant::now();
            let Some(pick) = plan.state.pick(&mut tries.tried, monotonic_ms_at(now)) else {
                self.record
                    .error
                    .get_or_insert_with(|| "no live upstream server".into());
                // The reason of the last try, if there was one, says more.
                return self.local(tries.again.unwrap_or(502), None).await;
            };
            if tries.again.take().is_some() {
                plan.metrics.retried.inc();
            }
            self.record.server = Some(pick.address());
            self.record.stages = None;
            let chosen = now.duration_since(self.arrival.at);
            let mut conn = match self.connection(plan, &pick, tries.allow_kept).await {
                Ok(conn) => conn,
                Err(Trouble::Failed(failure)) => {
                    let attempt = FailedAttempt {
                        failure,
                        kept: false,
                        sent: false,
                        body_taken: false,
                        answered: false,
                    };
                    if let Some(fate) = self.after(plan, &pick, &mut tries, &attempt).await {
                        return fate;
                    }
                    continue;
                }
                Err(Trouble::Full) => return self.give_way().await,
                Err(Trouble::Client(e)) => return self.client_lost(e),
            };
            // Taking a kept connection takes no time worth a look at the clock.
            let now = if conn.is_reused() {
                now
            } else {
                Instant::now()
            };
            let mut progress = Progress {
                chosen,
                connected: now.duration_since(self.arrival.at),
                ..Progress::default()
            };
            let result = exchange(
                self.client,
                &mut conn,
                request,
                &mut progress,
                &mut replay,
                now,
            )
            .await;
            self.record.first_byte = progress.first_byte;
            self.record.stages = progress.stages();
            self.record.body_bytes = progress.body_bytes;
            self.record.grpc_status = progress.grpc_status;
            match result {
                Ok(done) => return self.answered(plan, &pick, conn, done, &progress),
                Err(failure) => {
                    // A second one in a row has not just been unlucky.
                    let kept = conn.is_reused() && tries.allow_kept;
                    drop(conn);
                    if let Some(fate) = self
                        .failed(plan, &pick, &mut tries, &failure, &progress, kept)
                        .await
                    {
                        return fate;
                    }
                }
            }
        }
    }

    /// The server has answered.
    fn answered(
        &mut self,
        plan: &UpstreamPlan,
        pick: &Pick,
        conn: UpstreamConn,
        done: Done,
        progress: &Progress,
    ) -> Fate {
        pick.succeed();
        plan.metrics.answered.inc();
        if let Some(first_byte) = progress.first_byte {
            plan.metrics.latency.observe(first_byte.as_secs_f64());
        }
        // A stream has given its place back when it is dropped.
        if done.keep_upstream
            && plan.keepalive > 0
            && plan.transport.is_reusable()
            && let UpstreamConn::Http1(conn) = conn
        {
            plan.pool.put(conn, plan.keepalive);
        }
        self.record.status = progress.status.unwrap_or(502);
        self.record.error = None;
        match done.keep_client {
            true => Fate::Keep,
            false => Fate::Close,
        }
    }

    /// What to do after a failed exchange; `None`: try again.
    async fn failed(
        &mut self,
        plan: &UpstreamPlan,
        pick: &Pick,
        tries: &mut Tries,
        failure: &Failure,
        progress: &Progress,
        kept: bool,
    ) -> Option<Fate> {
        self.record.error = Some(failure.to_string());
        let begun = self.client.answer_started();
        let kind = match failure {
            Failure::Client(e) => {
                self.record.status = progress.status.unwrap_or_default();
                return Some(match e {
                    ClientError::Malformed if !begun => self.refuse(400).await,
                    ClientError::Timeout if !begun => self.refuse(408).await,
                    e => self.client_lost(*e),
                });
            }
            Failure::BodyTooLarge if !begun => return Some(self.refuse(413).await),
            Failure::BodyTooLarge => AttemptFailure::BadAnswer,
            Failure::Closed | Failure::Io(_) => AttemptFailure::Broken,
            Failure::Timeout => AttemptFailure::Timeout,
            Failure::BadAnswer(_) => AttemptFailure::BadAnswer,
            Failure::Unprocessed { leaving: true } => AttemptFailure::Leaving,
            Failure::Unprocessed { leaving: false } => AttemptFailure::Refused,
            Failure::Reset(_) => AttemptFailure::Reset,
            Failure::Deadline => AttemptFailure::Deadline,
        };
        let bodiless = !progress.body_taken && self.client.is_body_done();
        let attempt = FailedAttempt {
            failure: kind,
            kept,
            sent: (progress.sent || bodiless) && !matches!(failure, Failure::BodyTooLarge),
            body_taken: progress.body_taken,
            answered: progress.first_byte.is_some(),
        };
        if begun {
            // Too late for another answer: the client learns of it from the broken body.
            if self.judge(plan, &attempt).blame {
                pick.fail(monotonic_ms());
                plan.metrics.failed.inc();
            }
            self.record.status = progress.status.unwrap_or(502);
            return Some(Fate::Close);
        }
        self.after(plan, pick, tries, &attempt).await
    }

    /// What follows from a failed attempt; `None`: try again.
    async fn after(
        &mut self,
        plan: &UpstreamPlan,
        pick: &Pick,
        tries: &mut Tries,
        attempt: &FailedAttempt,
    ) -> Option<Fate> {
        let Verdict { blame, next } = self.judge(plan, attempt);
        if blame {
            pick.fail(monotonic_ms());
            plan.metrics.failed.inc();
        }
        match next {
            Next::Again => {
                if plan.protocol == UpstreamProtocol::Http2 {
                    // There each stream counts, and this one does not.
                    self.record.tries = self.record.tries.saturating_sub(1);
                }
                pick.allow_again(&mut tries.tried);
                tries.allow_kept = false;
                None
            }
            Next::Another(status) => {
                tries.again = Some(status);
                None
            }
            Next::Answer(status) => Some(self.local(status, None).await),
        }
    }

    fn judge(&self, plan: &UpstreamPlan, attempt: &FailedAttempt) -> Verdict {
        let request = Attempted {
            idempotent: is_idempotent(&self.client.head().method),
            tries: self.record.tries,
            elapsed: self.arrival.at.elapsed(),
        };
        retry::decide(&plan.retry, &request, attempt)
    }

    /// A connection to the picked server: a kept one, or a new one.
    async fn connection(
        &mut self,
        plan: &UpstreamPlan,
        pick: &Pick,
        allow_kept: bool,
    ) -> Result<UpstreamConn, Trouble> {
        if plan.protocol == UpstreamProtocol::Http2 {
            return self.stream(plan, pick).await;
        }
        let counters = &pick.server().connections;
        if allow_kept && let Some(conn) = plan.pool.take(pick.address()) {
            self.record.connect = Some(Duration::ZERO);
            counters.reused.fetch_add(1, Ordering::Relaxed);
            plan.metrics.reused.inc();
            return Ok(UpstreamConn::Http1(conn));
        }
        self.record.tries += 1;
        // Boxed: most requests find a kept connection.
        let conn = Box::pin(self.connect(plan, pick)).await?;
        counters.opened.fetch_add(1, Ordering::Relaxed);
        plan.metrics.opened.inc();
        Ok(UpstreamConn::Http1(Box::new(conn)))
    }

    async fn connect(&mut self, plan: &UpstreamPlan, pick: &Pick) -> Result<Http1Conn, Trouble> {
        let settings = &self.snapshot.settings;
        let started = Instant::now();
        let dial = Dial {
            address: pick.address(),
            name: pick.name(),
            transport: &plan.transport,
            client: self.peer.origin(),
            http2: false,
        };
        let connecting = self
            .shared
            .connect(&dial, settings.timeouts.connect, self.snapshot);
        let connected = until_gone(self.client, connecting).await?;
        self.record.connect = Some(started.elapsed());
        let connected = connected.map_err(|e| self.unconnected(&e))?;
        Ok(Http1Conn::new(connected, pick.address()))
    }

    /// What it means that there is no connection.
    pub(super) fn unconnected(&mut self, e: &NoConnection) -> Trouble {
        let e = match e {
            NoConnection::Full => {
                self.record.error = Some("connections.max reached".into());
                return Trouble::Full;
            }
            NoConnection::Connect(e) => e,
        };
        self.record.error = Some(e.to_string());
        match e {
            // This client gives way to others.
            ConnectError::Exhausted(_) => Trouble::Full,
            ConnectError::NoPort(_) => Trouble::Failed(AttemptFailure::NoPort),
            ConnectError::Timeout => Trouble::Failed(AttemptFailure::ConnectTimeout),
            ConnectError::Failed(_) | ConnectError::Tls(_) => {
                Trouble::Failed(AttemptFailure::Unreachable)
            }
        }
    }

    /// There is no place for a connection to the server, and nobody is idle: this client's own place goes to the next
    /// request that needs one.
    async fn give_way(&mut self) -> Fate {
        self.refuse(503).await
    }
}

/// Waits for `what` for as long as the client does.
pub(super) async fn until_gone<T>(
    client: &mut Downstream,
    what: impl Future<Output = T>,
) -> Result<T, Trouble> {
    if !client.is_body_done() {
        return Ok(what.await);
    }
    tokio::select! {
        biased;
        done = what => Ok(done),
        e = client.gone() => Err(Trouble::Client(e)),
    }
}

/// Why there is no connection to the server.
pub(super) enum Trouble {
    Failed(AttemptFailure),
    /// `connections.max` is reached, or there are no descriptors.
    Full,
    Client(ClientError),
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
