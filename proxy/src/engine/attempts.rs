//! The tries of a request at the servers of its upstream.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::Method;

use super::call::{Call, Fate};
use super::client::ClientError;
use super::exchange::{Done, Failure, Plan, Progress, exchange};
use super::forward::{Forward, RequestBody, write_head};
use super::room::NoConnection;
use super::snapshot::{RoutePlan, UpstreamPlan};
use super::upstream::{ConnectError, UpstreamConn};
use crate::limit::monotonic_ms;
use crate::upstream::{Pick, Tried};
use weir_http1::HeadSummary;

impl Call<'_> {
    /// Tries servers until one has answered, or no further try is allowed.
    pub(super) async fn forward(&mut self, route: &RoutePlan) -> Fate {
        let settings = &self.snapshot.settings;
        let plan = &*route.upstream;
        let body = match self.arrival.summary {
            HeadSummary { chunked: true, .. } => RequestBody::Chunked,
            HeadSummary {
                content_length: Some(n),
                ..
            } if n > 0 => RequestBody::Length(n),
            HeadSummary {
                content_length: Some(_),
                ..
            } if has_body_by_method(&self.client.request().method) => RequestBody::Length(0),
            _ => RequestBody::None,
        };
        let mut head = Vec::with_capacity(1024);
        write_head(
            &mut head,
            self.client.request(),
            &Forward {
                origin: self.origin,
                id: self.record.id.as_str(),
                scheme: "http",
                upstream: plan.state.name(),
                body,
                upgrade: self.client.wants_upgrade(),
                ops: &route.request_headers,
            },
        );
        let max_body = match settings.client.max_body.as_u64() {
            0 => u64::MAX,
            n => n,
        };
        let id = self.record.id;
        let request = Plan {
            head: &head,
            body: if body == RequestBody::Length(0) {
                RequestBody::None
            } else {
                body
            },
            max_body,
            timeouts: &settings.timeouts,
            compression: &settings.compression,
            response_headers: &route.response_headers,
            id: id.as_str(),
            server_timing: settings.client.server_timing,
            draining: &self.shared.draining,
        };
        self.try_servers(plan, &request).await
    }

    async fn try_servers(&mut self, plan: &UpstreamPlan, request: &Plan<'_>) -> Fate {
        let mut tried = Tried::new();
        let mut allow_kept = true;
        loop {
            let Some(pick) = plan.state.pick(&mut tried, monotonic_ms()) else {
                // The reason of the last try, if there was one, says more.
                let status = if self.record.status == 0 {
                    502
                } else {
                    self.record.status
                };
                self.record
                    .error
                    .get_or_insert_with(|| "no live upstream server".into());
                return self.local(status, None).await;
            };
            self.record.server = Some(pick.address());
            self.record.stages = None;
            let chosen = self.arrival.at.elapsed();
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
                Err(Trouble::Full) => return self.give_way().await,
                Err(Trouble::Client(e)) => return self.client_lost(e),
            };
            let mut progress = Progress {
                chosen,
                connected: self.arrival.at.elapsed(),
                ..Progress::default()
            };
            let result = exchange(self.client, &mut conn, request, &mut progress).await;
            self.record.first_byte = progress.first_byte;
            self.record.stages = progress.stages();
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
                    let stale = conn.is_reused()
                        && failure.is_broken_connection()
                        && progress.first_byte.is_none();
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
        let untouched =
            failure.is_broken_connection() && progress.first_byte.is_none() && !progress.body_taken;
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
    async fn connection(
        &mut self,
        plan: &UpstreamPlan,
        pick: &Pick,
        allow_kept: bool,
    ) -> Result<UpstreamConn, Trouble> {
        let counters = &pick.server().connections;
        if allow_kept && let Some(conn) = plan.pool.take(pick.address()) {
            self.record.connect = Some(Duration::ZERO);
            counters.reused.fetch_add(1, Ordering::Relaxed);
            plan.metrics.reused.inc();
            return Ok(conn);
        }
        self.record.tries += 1;
        let settings = &self.snapshot.settings;
        let started = Instant::now();
        let connecting =
            self.shared
                .connect(pick.address(), settings.timeouts.connect, self.snapshot);
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
            Err(NoConnection::Full) => {
                self.record.error = Some("connections.max reached".into());
                Err(Trouble::Full)
            }
            Err(NoConnection::Connect(e)) => {
                self.record.error = Some(e.to_string());
                // What this machine lacks is no failure of the server.
                let status = match e {
                    ConnectError::Exhausted(_) => return Err(Trouble::Full),
                    ConnectError::NoPort(_) => return Err(Trouble::Retry(502)),
                    ConnectError::Timeout => 504,
                    ConnectError::Failed(_) => 502,
                };
                pick.fail(monotonic_ms());
                plan.metrics.failed.inc();
                Err(Trouble::Retry(status))
            }
        }
    }

    /// There is no place for a connection to the server, and nobody is idle: this client's own place goes to the next
    /// request that needs one.
    async fn give_way(&mut self) -> Fate {
        self.client.close_after();
        if self.local(503, None).await == Fate::Keep {
            // Or the client's system would throw the answer away, should more of the request arrive.
            self.client.drain().await;
        }
        Fate::Close
    }

    /// Whether another server may be tried. `unsent`: nothing of the request has left this proxy,
    /// so that any method may be tried elsewhere.
    fn may_retry(&self, plan: &UpstreamPlan, unsent: bool) -> bool {
        let in_time =
            plan.retry.timeout.is_zero() || self.arrival.at.elapsed() < plan.retry.timeout;
        let method_ok = unsent || is_idempotent(&self.client.request().method);
        self.record.tries < plan.retry.tries && in_time && method_ok
    }
}

/// Why there is no connection to the server.
enum Trouble {
    /// The server could not be reached; the status, should no other be tried.
    Retry(u16),
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
