//! The client's side of a request: pingora's server session behind the few things a proxy does with it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::server::HttpSession as SessionV1;
use pingora::{Error, ErrorType};

/// How long the rest of a request body is read so that the connection can be used again.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// The client can no longer be written to, or sent something that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientError {
    /// The client closed the connection.
    #[error("client closed the connection")]
    Gone,
    /// The client took or sent nothing for too long.
    #[error("client timed out")]
    Timeout,
    /// The body broke its framing.
    #[error("malformed request body")]
    Malformed,
}

impl From<Box<Error>> for ClientError {
    fn from(e: Box<Error>) -> Self {
        match e.etype() {
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => Self::Timeout,
            ErrorType::InvalidHTTPHeader | ErrorType::Custom(_) => Self::Malformed,
            _ if is_invalid_data(&e) => Self::Malformed,
            _ => Self::Gone,
        }
    }
}

/// The strict reader under the session has refused the body.
fn is_invalid_data(e: &Error) -> bool {
    e.root_cause()
        .downcast_ref::<std::io::Error>()
        .is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData)
}

/// Time limits on the client's side.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientTimeouts {
    /// Between two reads of the body.
    pub(super) body: Duration,
    /// Between two writes.
    pub(super) send: Duration,
}

/// One request's session.
pub(super) struct Client {
    session: ServerSession,
}

impl Client {
    /// A session on an HTTP/1 connection of which `input` (a complete head and maybe more) has
    /// been read already.
    ///
    /// # Errors
    /// [`ClientError::Malformed`] if pingora refuses the head.
    pub(super) async fn http1(
        stream: Stream,
        input: BytesMut,
        limits: ClientTimeouts,
    ) -> Result<Self, (Self, ClientError)> {
        let mut session = SessionV1::new(stream);
        session.set_pipelining_enabled(true);
        session.set_pipelined_prefix(input);
        session.set_read_timeout(Some(limits.body));
        session.set_write_timeout(Some(limits.send));
        session.set_total_drain_timeout(Some(DRAIN_LIMIT));
        let read = session.read_request().await;
        let client = Self {
            session: ServerSession::H1(session),
        };
        match read {
            Ok(Some(_)) => Ok(client),
            Ok(None) => Err((client, ClientError::Gone)),
            Err(_) => Err((client, ClientError::Malformed)),
        }
    }

    /// Answers a head that pingora has refused, and of which it therefore knows nothing.
    pub(super) async fn refuse_head(&mut self, status: u16) {
        // Whoever sent it may be gone.
        let _ = self.session.respond_error(status).await;
    }

    pub(super) fn request(&self) -> &RequestHeader {
        self.session.req_header()
    }

    /// HTTP/1.1 or later: chunked and informational answers are understood.
    pub(super) fn is_modern(&self) -> bool {
        !matches!(self.request().version, Version::HTTP_10 | Version::HTTP_09)
    }

    pub(super) fn wants_upgrade(&self) -> bool {
        self.session.is_upgrade_req()
    }

    /// The client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1).
    pub(super) fn expects_continue(&self) -> bool {
        self.is_modern()
            && self
                .request()
                .headers
                .get(header::EXPECT)
                .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    pub(super) async fn send_continue(&mut self) -> Result<(), ClientError> {
        // Writing any head before the body is there would otherwise end the connection after it.
        self.session
            .set_close_on_response_before_downstream_finish(false);
        let sent = self.session.write_continue_response().await;
        self.session
            .set_close_on_response_before_downstream_finish(true);
        Ok(sent?)
    }

    pub(super) fn is_body_done(&mut self) -> bool {
        self.session.is_body_done()
    }

    /// The next piece of the body, or `None` at its end. Safe to cancel.
    pub(super) async fn read_body(&mut self) -> Result<Option<Bytes>, ClientError> {
        Ok(self.session.read_request_body().await?)
    }

    /// Waits until the client goes away. Safe to cancel; only after the whole body was read.
    pub(super) async fn gone(&mut self) -> ClientError {
        match self.session.read_body_or_idle(true).await {
            Err(e) => e.into(),
            Ok(_) => ClientError::Gone,
        }
    }

    /// The connection closes after this answer.
    pub(super) fn close_after(&mut self) {
        self.session.set_keepalive(None);
    }

    /// The connection may be used again even though the answer goes out before the request body
    /// has been read; the rest is then read and thrown away.
    pub(super) fn keep_despite_unread_body(&mut self) {
        self.session
            .set_close_on_response_before_downstream_finish(false);
    }

    /// Reads what is left of the request body and throws it away, for some seconds at most.
    pub(super) async fn drain(&mut self) {
        // The connection ends after this in any case.
        let _ = self.session.drain_request_body().await;
    }

    pub(super) fn answer_started(&self) -> bool {
        self.session
            .response_written()
            .is_some_and(|head| !head.status.is_informational())
    }

    pub(super) async fn write_head(
        &mut self,
        head: Box<ResponseHeader>,
    ) -> Result<(), ClientError> {
        Ok(self.session.write_response_header(head).await?)
    }

    /// Writes body bytes, in the framing that the head declared.
    pub(super) async fn write_body(&mut self, data: &[u8]) -> Result<(), ClientError> {
        match &mut self.session {
            ServerSession::H1(session) => {
                session.write_body(data).await?;
            }
            other => {
                other
                    .write_response_body(Bytes::copy_from_slice(data), false)
                    .await?
            }
        }
        Ok(())
    }

    /// Ends the body and sends whatever is still buffered.
    pub(super) async fn end_body(&mut self) -> Result<(), ClientError> {
        match &mut self.session {
            ServerSession::H1(session) => {
                session.finish_body().await?;
            }
            other => other.finish_body().await?,
        }
        Ok(())
    }

    /// Gives the connection back for the next request, with what was already read of it, or closes it.
    pub(super) async fn finish(self) -> Option<(Stream, BytesMut)> {
        let reusable = self.session.finish().await.ok().flatten()?;
        let (stream, prefix) = reusable.into_parts();
        Some((stream, prefix.unwrap_or_default()))
    }

    /// Closes the connection.
    pub(super) async fn shutdown(mut self) {
        self.session.shutdown().await;
    }

    pub(super) fn is_head(&self) -> bool {
        self.request().method == Method::HEAD
    }
}
