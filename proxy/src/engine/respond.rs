//! Answers of the proxy's own.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use weir_http1::{Fields, Version};

use super::clock;
use super::downstream::{AnswerBody, AnswerHead, Downstream};
use super::grpc;

/// What this proxy calls itself in its own answers.
const SERVER: &[u8] = b"weir";
/// Methods that are passed on, as 405 has to say.
const ALLOWED: &[u8] = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// An answer of the proxy's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) status: u16,
    pub(super) id: &'a str,
    /// In how many seconds another try makes sense.
    pub(super) retry_after: Option<u64>,
    /// What 405 says is allowed; without it, all that this proxy passes on.
    pub(super) allow: Option<&'a str>,
    /// The client speaks gRPC: it is told in trailers (docs/guide/grpc.md).
    pub(super) grpc: bool,
}

// === impl Own ===

impl Own<'_> {
    /// The status that the client sees.
    pub(super) fn status(&self) -> u16 {
        match self.grpc {
            true => 200,
            false => self.status,
        }
    }

    fn reason(&self) -> &'static str {
        StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Error")
    }

    fn body(&self) -> String {
        format!("{} {}\n", self.status, self.reason())
    }

    /// An answer of gRPC that is nothing but trailers.
    fn grpc_fields(&self, client: Version) -> Fields {
        let mut fields = Fields::new();
        fields.push(b"Server", SERVER);
        clock::with_date(SystemTime::now(), |date| fields.push(b"Date", date));
        fields.push(b"Content-Type", b"application/grpc");
        if client != Version::Http2 {
            fields.push(b"Content-Length", b"0");
        }
        let status = grpc::status_of(self.status).to_string();
        fields.push(b"grpc-status", status.as_bytes());
        let message = format!("weir: {} {}", self.status, self.reason());
        fields.push(b"grpc-message", message.as_bytes());
        if let Some(seconds) = self.retry_after {
            fields.push(b"Retry-After", seconds.to_string().as_bytes());
        }
        fields.push(b"X-Request-Id", self.id.as_bytes());
        fields
    }

    fn fields(&self, body: &str) -> Fields {
        let mut fields = Fields::new();
        fields.push(b"Server", SERVER);
        clock::with_date(SystemTime::now(), |date| fields.push(b"Date", date));
        fields.push(b"Content-Type", b"text/plain; charset=utf-8");
        fields.push(b"Content-Length", body.len().to_string().as_bytes());
        if self.status == 405 {
            fields.push(b"Allow", self.allow.map_or(ALLOWED, str::as_bytes));
        }
        if let Some(seconds) = self.retry_after {
            fields.push(b"Retry-After", seconds.to_string().as_bytes());
        }
        fields.push(b"X-Request-Id", self.id.as_bytes());
        fields
    }

    /// Sends the answer, within `limit` without progress. Returns how much of the body.
    ///
    /// A client that cannot be reached any more is no error here: there is nobody to tell.
    pub(super) async fn send(&self, client: &mut Downstream, limit: Duration) -> u64 {
        let body = self.body();
        let with_body = client.head().method != http::Method::HEAD && !self.grpc;
        client.send_head(&AnswerHead {
            status: self.status(),
            reason: None,
            fields: match self.grpc {
                true => self.grpc_fields(client.head().version),
                false => self.fields(&body),
            },
            body: match with_body {
                true => AnswerBody::Sized,
                false => AnswerBody::None,
            },
        });
        let deadline = Instant::now() + limit;
        let mut rest = if with_body { body.as_bytes() } else { &[] };
        let mut finished = false;
        let sent = poll_fn(|cx| {
            while !rest.is_empty() {
                match client.poll_send(cx, rest) {
                    Poll::Ready(Ok(n)) => rest = rest.get(n..).unwrap_or_default(),
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => return client.poll_until(cx, deadline).map(|()| false),
                }
            }
            if !finished {
                client.finish(None);
                finished = true;
            }
            match client.poll_flush(cx) {
                Poll::Ready(done) => Poll::Ready(done.is_ok()),
                Poll::Pending => client.poll_until(cx, deadline).map(|()| false),
            }
        })
        .await;
        match sent && with_body {
            true => body.len() as u64,
            false => 0,
        }
    }

    /// The same as HTTP/1 text, for a head that never became a request. The connection closes after it.
    pub(super) fn text(&self) -> Vec<u8> {
        let body = self.body();
        let mut out = format!("HTTP/1.1 {}", body.replace('\n', "\r\n")).into_bytes();
        self.fields(&body).write(&mut out);
        out.extend_from_slice(b"Connection: close\r\n\r\n");
        out.extend_from_slice(body.as_bytes());
        out
    }
}
