//! The requests of a connection, each a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use http::request::Parts;
use weir_http1::{Fields, RequestBody, RequestHead, Version};

use super::super::downstream::Downstream;
use super::super::downstream::http2::{Refusal, Session, head_of};
use super::super::request::{Arrival, serve};
use super::super::respond::Own;
use super::super::shared::Shared;
use super::Driver;
use crate::observe::RequestId;

/// A connection as its streams know it.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Requests under way.
    active: AtomicU32,
    /// Wakes the task of the connection when the last one has ended.
    pub(super) waker: AtomicWaker,
}

/// One request under way, until dropped.
struct Active(Arc<Link>);

// === impl Link ===

impl Link {
    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.active.load(Ordering::Acquire) == 0
    }

    fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        Active(Arc::clone(self))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waker.wake();
        }
    }
}

impl Driver<'_> {
    /// Begins to serve a request.
    pub(super) fn begin(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let arrival = Arrival {
            wall: SystemTime::now(),
            at: Instant::now(),
        };
        let max = self.shared.snapshot.load().settings.client.max_header;
        let (parts, recv) = request.into_parts();
        let (head, refused) = match head_of(&parts, recv.is_end_stream(), max.as_u64()) {
            Ok(head) => (head, None),
            Err(refusal) => match self.refuse(parts, refusal) {
                Some((head, status, id)) => (head, Some((status, id))),
                None => {
                    respond.send_reset(Reason::PROTOCOL_ERROR);
                    return;
                }
            },
        };
        let mut client = Downstream::Http2(Box::new(Session::new(head, recv, respond)));
        let active = self.link.begin();
        let transport = Arc::downgrade(&self.transport);
        let (shared, peer) = (Arc::clone(self.shared), Arc::clone(&self.peer));
        tokio::spawn(async move {
            let _active = active;
            match refused {
                None => {
                    serve(&shared, &mut client, arrival, &peer).await;
                }
                Some((status, id)) => refused_with(&shared, &mut client, status, id).await,
            }
            if let Downstream::Http2(session) = client
                && session.end()
                && let Some(transport) = transport.upgrade()
            {
                transport.lock().answered();
            }
        });
    }

    /// Logs a head that does not become a request. Returns what it is answered with; none: the stream is reset.
    fn refuse(&self, parts: Parts, refusal: Refusal) -> Option<(RequestHead, u16, RequestId)> {
        let line = format!("{} {} HTTP/2.0", parts.method, parts.uri);
        let status = match refusal {
            Refusal::Malformed => 400,
            Refusal::Status(status) => status,
        };
        let id = self.shared.ids.next();
        let peer = self.peer.address;
        self.shared.log_refused(peer, status, id, line.as_bytes());
        if refusal == Refusal::Malformed {
            return None;
        }
        let head = RequestHead::new(
            Version::Http2,
            parts.method,
            b"/",
            None,
            Fields::new(),
            RequestBody::None,
        );
        Some((head, status, id))
    }
}

async fn refused_with(shared: &Shared, client: &mut Downstream, status: u16, id: RequestId) {
    let own = Own {
        status,
        id: id.as_str(),
        retry_after: None,
        allow: None,
        grpc: false,
    };
    let limit = shared.snapshot.load().settings.timeouts.send;
    own.send(client, limit).await;
}
